"""Worker processes: what they say to their agent, and that the death of one loses and doubles nothing."""

import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import Pipe
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from agent.adapters.ddl import ddl
from agent.answers import (
    BROKE_OFF,
    FactsRead,
    RepairFinished,
    StepRecord,
    StepRecorded,
    why_it_broke_off,
)
from agent.config import Configuration, load
from agent.envelope import new_id
from agent.errors import StoppedError
from agent.fixers.attempt import STOOD_STILL
from agent.fixers.plan import PAYOUTS, READ_BACK
from agent.journal import Journal
from agent.message import Message
from agent.orders import Holder
from agent.outbox import Outbox
from agent.ports import Cancellation
from agent.processes.messages import (
    Broken,
    Cancel,
    Ended,
    FromWorker,
    Halt,
    Halted,
    Noted,
    Order,
    ToWorker,
    decode_from_worker,
    encode,
)
from agent.processes.pool import (
    MOST_LATE_SECONDS,
    ProcessPool,
    WorkBrokeOffError,
    WorkerDiedError,
    WorkerProcess,
)
from agent.processes.worker import Worker
from agent.protocol import Repair, Verify
from agent.runner import Runner
from agent.standstill import Seen, Watch
from agent.wiring import production_work
from sandbox.bank.server import RunningBank
from sandbox.cases import LoadedCase
from sandbox.database import writing
from sandbox.statements import split_statements
from sandbox.world import World

PATIENCE = 60.0
TRADE = "PW20260901000001"
CONFIGURATION = """
[agent]
name = "pbap-1"
sys_code = "PBAP"
journal = "journal.db"
workers = 2
pool = "processes"
[server]
url = "ws://127.0.0.1:9"
token = "never-used"
[trades]
url = "{trades}"
[trades.names]
table = "TPBAP_TRD_ACC_TRADE"
requests = "TPBAP_BANK_REQUEST"
[ledger]
url = "{ledger}"
[bank]
base_url = "{bank}"
token = "{token}"
[bank.names]
failure_settles_s = 60
[guard]
stuck_after = 0
quiet_for = 0
"""


def repair_of(trade_no: str, fixer_code: str = "any", row_hash: str = "h", fence: int = 1) -> Repair:
    return Repair(
        id=new_id(),
        command_id="command",
        trade_no=trade_no,
        fixer_code=fixer_code,
        row_hash=row_hash,
        fence=fence,
        deadline_ms=600_000,
    )


def step(name: str, state: str = "done") -> StepRecord:
    return StepRecord(seq=1, name=name, key=f"PCL:{name}", state=state, started_at="2026-09-01T00:00:00Z")


def ended(command: Repair, command_id: str) -> RepairFinished:
    return RepairFinished(
        id="result",
        command_id=command_id,
        trade_no=command.trade_no,
        fence=command.fence,
        outcome="repaired",
        reason="",
        is_confirmed_failed=False,
        money_moved=True,
        before={"TRD_ID": 2**70, "FAILED_MSG": None},
        after=None,
        facts_before=None,
        facts_after=None,
        steps=(step("write_row"),),
        row_hash="h",
        started_at="2026-09-01T00:00:00Z",
        duration_ms=1,
    )


class ScriptedWork:
    """Work that goes through ``steps``, waiting behind each until the test lets it go on."""

    fixer_codes = ("any",)

    def __init__(self, steps: tuple[str, ...] = (), *, error: Exception | None = None) -> None:
        self.steps = steps
        self.error = error
        self.go_on = threading.Semaphore(0)
        self.cancelled_at: list[str] = []

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        for name in self.steps:
            assert self.go_on.acquire(timeout=PATIENCE)
            if cancellation.is_set():
                self.cancelled_at.append(name)
            note(step(name))
        return ended(command, command_id)

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        return FactsRead(
            id="result",
            command_id=command_id,
            trade_no=command.trade_no,
            outcome="missing",
            fixer_code=None,
            reason="",
            row=None,
            row_hash="",
            facts=None,
        )

    def collect(self, *_: object) -> Iterator[list[object]]:
        raise AssertionError("collections are not for a worker process")

    def leave(self, *_: object) -> RepairFinished:
        raise AssertionError("what is left is looked at by the agent itself")


class Served:
    """A Worker on a thread, and the agent's end of its line."""

    def __init__(self, work: ScriptedWork) -> None:
        self.line, other = Pipe()
        self.has_left = threading.Event()
        self.watch = Watch()
        self.worker = Worker(other, self.has_left.set, self.watch)
        self._thread = threading.Thread(target=self.worker.serve, args=(work,), daemon=True)
        self._thread.start()

    def say(self, *messages: ToWorker) -> None:
        for message in messages:
            self.line.send_bytes(encode(message))

    def hear(self) -> FromWorker:
        assert self.line.poll(PATIENCE), "the worker says nothing"
        return decode_from_worker(self.line.recv_bytes())

    def close(self) -> None:
        self.line.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture
def served() -> Iterator[Callable[[ScriptedWork], Served]]:
    made: list[Served] = []

    def serve(work: ScriptedWork) -> Served:
        made.append(Served(work))
        return made[-1]

    yield serve
    for one in made:
        one.close()


ORDER = Order(repair_of(TRADE), "command", Holder("boot"))


def test_a_worker_tells_each_step_and_then_the_result(served: Callable[[ScriptedWork], Served]) -> None:
    work = ScriptedWork(("post_1", READ_BACK))
    at = served(work)
    work.go_on.release(2)
    at.say(ORDER)
    assert [at.hear(), at.hear()] == [Noted(step("post_1")), Noted(step(READ_BACK))]
    assert isinstance(ORDER.command, Repair)
    assert at.hear() == Ended(ended(ORDER.command, "command"))


def test_a_look_comes_back_too(served: Callable[[ScriptedWork], Served]) -> None:
    at = served(ScriptedWork())
    at.say(Order(Verify(id="1", trade_no=TRADE, fence=1, deadline_ms=1), "command", Holder("")))
    answer = at.hear()
    assert isinstance(answer, Ended)
    assert isinstance(answer.result, FactsRead)


def test_a_cancel_reaches_the_work_that_is_under_way_and_no_later_one(
    served: Callable[[ScriptedWork], Served],
) -> None:
    work = ScriptedWork(("post_1", "post_2"))
    at = served(work)
    at.say(ORDER)
    work.go_on.release()
    assert isinstance(at.hear(), Noted)
    at.worker.take(Cancel())
    work.go_on.release()
    assert [type(at.hear()) for _ in range(2)] == [Noted, Ended]
    assert work.cancelled_at == ["post_2"]
    at.worker.take(Cancel())  # late: the order has ended
    at.worker.take(Halt())
    at.say(ORDER)
    work.go_on.release(2)
    assert [type(at.hear()) for _ in range(3)] == [Noted, Noted, Ended]
    assert work.cancelled_at == ["post_2"]


def test_an_order_cancelled_while_it_waited_is_cancelled_from_the_start(
    served: Callable[[ScriptedWork], Served],
) -> None:
    work = ScriptedWork(("post_1",))
    at = served(work)
    at.say(msgspec.structs.replace(ORDER, is_cancelled=True))
    work.go_on.release()
    assert [type(at.hear()) for _ in range(2)] == [Noted, Ended]
    assert work.cancelled_at == ["post_1"]


@pytest.mark.parametrize(
    ("steps", "answers"),
    [
        (("post_1", "write_row", READ_BACK), [Noted, Halted]),
        ((READ_BACK,), [Noted, Ended]),
    ],
)
def test_a_halt_stops_behind_a_step_but_never_behind_the_last(
    served: Callable[[ScriptedWork], Served], steps: tuple[str, ...], answers: list[type]
) -> None:
    work = ScriptedWork(steps)
    at = served(work)
    at.worker.take(ORDER)
    at.worker.take(Halt())
    work.go_on.release(len(steps))
    assert [type(at.hear()) for _ in answers] == answers


@pytest.mark.parametrize(("told", "as_heard"), [("a fixer's own", "a fixer's own"), ("\udc80", "?")])
def test_an_unexpected_error_ends_its_order_only(
    served: Callable[[ScriptedWork], Served], caplog: pytest.LogCaptureFixture, told: str, as_heard: str
) -> None:
    caplog.set_level(
        logging.CRITICAL, "agent.processes"
    )  # what is of no encoding cannot be reported of a test
    at = served(ScriptedWork(error=ZeroDivisionError(told)))
    at.say(ORDER)
    assert at.hear() == Broken(f"ZeroDivisionError: {as_heard}")
    at.say(ORDER)
    assert isinstance(at.hear(), Ended)


def test_a_worker_goes_by_what_its_agent_saw_and_tells_what_it_saw_itself(
    served: Callable[[ScriptedWork], Served],
) -> None:
    at = served(ScriptedWork())
    began = datetime(2026, 9, 1, tzinfo=UTC)
    at.say(msgspec.structs.replace(ORDER, seen=Seen(began, 100.0, 90.0)))
    assert at.hear() == Seen(began, 100.0, 90.0)
    assert isinstance(at.hear(), Ended)
    assert [at.watch.has_stood_still_since(own) for own in (90.0, 91.0)] == [True, False]
    at.watch.note(began + timedelta(hours=2), 110.0)
    at.say(ORDER)
    assert at.hear() == Seen(began + timedelta(hours=2), 110.0, 110.0)
    assert isinstance(at.hear(), Ended)


def test_a_worker_that_cannot_make_out_what_its_agent_says_works_for_nobody(
    served: Callable[[ScriptedWork], Served],
) -> None:
    work = ScriptedWork(("post_1",))
    at = served(work)
    at.say(ORDER)
    at.line.send_bytes(b"{}")
    assert at.has_left.wait(PATIENCE), "it hears nothing any more, its agent's end neither"
    work.go_on.release()


def test_a_worker_ends_at_once_when_its_agent_is_gone(served: Callable[[ScriptedWork], Served]) -> None:
    work = ScriptedWork(("post_1",))
    at = served(work)
    at.say(ORDER)
    at.line.close()
    assert at.has_left.wait(PATIENCE), "it goes on working for nobody"
    work.go_on.release()


# ---- real processes over the sandbox


@dataclass
class Beside:
    """A pool of real worker processes beside a sandbox."""

    world: World
    pool: ProcessPool
    workers: tuple[WorkerProcess, ...]
    configuration: Configuration
    bank: RunningBank
    watch: Watch
    halting: threading.Event
    notes: list[StepRecord] = field(default_factory=list)

    def order(self, trade_no: str, fixer_code: str, fence: int = 1) -> Repair:
        row_hash = self.pool.verify(
            Verify(id=new_id(), trade_no=trade_no, fence=0, deadline_ms=60_000), "look"
        ).row_hash
        return repair_of(trade_no, fixer_code, row_hash, fence)

    def repair(
        self, order: Repair, note: Callable[[StepRecord], None] | None = None, boot: str = "boot"
    ) -> RepairFinished:
        return self.pool.repair(order, "command", Holder(boot), note or self.notes.append, threading.Event())

    def wait_for_the_call(self) -> None:
        """Until the fault that is set has struck, so that a worker is in its call of the bank."""
        until = time.monotonic() + PATIENCE
        while self.bank.faults.all():
            assert time.monotonic() < until, "the bank was not called"

    def kill_all(self) -> None:
        """kill -9 of every worker process; they are dead on return."""
        for pid in [worker.pid for worker in self.workers if worker.pid is not None]:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    world = World.created(tmp_path, groups=("PBAP",))
    with writing(world.production().engine) as connection:
        for statement in split_statements(ddl("sqlite")):
            connection.execute(text(statement))
    with world.bank() as bank:
        file = tmp_path / "agent.toml"
        file.write_text(
            CONFIGURATION.format(
                trades=world.trade_url(), ledger=world.ledger_url(), bank=bank.url, token=bank.token
            )
        )
        configuration = load(file, {})
        work = production_work(configuration)
        workers = tuple(
            WorkerProcess(configuration, work.watch) for _ in range(configuration.tables.agent.workers)
        )
        halting = threading.Event()
        pool = ProcessPool(work, workers, halting)
        yield Beside(world, pool, workers, configuration, bank, work.watch, halting)
        pool.close()
    world.close()


def unpaid_withdrawal(world: World) -> LoadedCase:
    """A case whose repair pays."""
    return next(case for case in world.load_cases() if case.case.after_world["payouts_made"])


def test_the_ten_cases_are_repaired_by_processes(beside: Beside) -> None:
    cases = beside.world.load_cases()
    for case in cases:
        assert beside.repair(beside.order(case.trade_no, case.case.fixer)).outcome == "repaired"
    assert not beside.world.report().violations
    assert {note.state for note in beside.notes} >= {"intended", "done"}
    assert all(worker.pid not in (None, os.getpid()) for worker in beside.workers)


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_a_killed_worker_is_replaced_and_its_repair_gone_on_with(beside: Beside, fault: str) -> None:
    case = unpaid_withdrawal(beside.world)
    order = beside.order(case.trade_no, case.case.fixer)
    # So that it is killed in its call, whether the bank has carried that out or not.
    beside.bank.faults.set({"kind": fault, "operation": "payout", "seconds": PATIENCE, "next_calls": 1})

    def kill(note: StepRecord) -> None:
        if note.name in PAYOUTS:
            beside.wait_for_the_call()
            beside.kill_all()

    with pytest.raises(WorkerDiedError):
        beside.repair(order, kill)
    again = beside.order(case.trade_no, case.case.fixer, fence=2)
    beside.bank.faults.clear()
    result = beside.repair(again, boot="boot-2")
    assert (result.outcome, result.money_moved) == ("repaired", True)
    assert len([one for one in beside.world.payouts(case.trade_no) if one.status == "success"]) == 1
    assert not beside.world.report().violations


def test_what_a_worker_says_of_an_order_that_was_given_up_answers_no_other(beside: Beside) -> None:
    first, second = beside.world.load_cases()[:2]
    order, other = (beside.order(case.trade_no, case.case.fixer) for case in (first, second))

    def stumble(_: StepRecord) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        beside.repair(order, stumble)
    for _ in beside.workers:  # each has its turn
        assert beside.repair(other).trade_no == second.trade_no


def test_a_worker_that_hangs_long_after_its_cancel_is_ended(beside: Beside) -> None:
    case = unpaid_withdrawal(beside.world)
    order = Order(beside.order(case.trade_no, case.case.fixer), "command", Holder("boot"))
    looks = itertools.count(0.0, MOST_LATE_SECONDS + 1)
    worker = WorkerProcess(beside.configuration, beside.watch, monotonic=lambda: next(looks))
    cancelled = threading.Event()

    def freeze(_: StepRecord) -> None:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        cancelled.set()

    with pytest.raises(WorkerDiedError, match="process hangs"):
        worker.carry_out(order, freeze, cancelled, beside.halting)
    assert worker.pid is None
    again = beside.order(case.trade_no, case.case.fixer, fence=2)
    assert beside.repair(again, boot="boot-2").outcome == "repaired"
    assert not beside.world.report().violations


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_worker_has_said_is_heard_before_its_end(beside: Beside, number: signal.Signals) -> None:
    case = unpaid_withdrawal(beside.world)
    order = Order(beside.order(case.trade_no, case.case.fixer), "command", Holder("boot"))
    looks = itertools.count(0.0, MOST_LATE_SECONDS + 1)
    worker = WorkerProcess(beside.configuration, beside.watch, monotonic=lambda: next(looks))
    cancelled = threading.Event()
    heard: list[StepRecord] = []

    def stand_still(note: StepRecord) -> None:
        """At the first note, until the bank has paid and the worker is gone, or stands still itself."""
        heard.append(note)
        if len(heard) > 1:
            return
        until = time.monotonic() + PATIENCE
        while not any(one.status == "success" for one in beside.world.payouts(case.trade_no)):
            assert time.monotonic() < until, "the bank has not paid"
        assert worker.pid is not None
        os.kill(worker.pid, number)
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        cancelled.set()

    with pytest.raises(WorkerDiedError):
        worker.carry_out(order, stand_still, cancelled, beside.halting)
    assert any(note.name in PAYOUTS for note in heard)


def test_a_worker_that_hangs_over_a_look_is_ended_too(beside: Beside) -> None:
    looks = itertools.count(0.0, MOST_LATE_SECONDS + 1)
    worker = WorkerProcess(beside.configuration, beside.watch, monotonic=lambda: next(looks))
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    pool = ProcessPool(production_work(beside.configuration), [worker], beside.halting)
    look = Verify(id=new_id(), trade_no=TRADE, fence=0, deadline_ms=0)
    with pytest.raises(WorkerDiedError, match="process hangs"):
        pool.verify(look, "look")
    assert worker.pid is None
    assert pool.verify(msgspec.structs.replace(look, deadline_ms=600_000), "look").outcome == "missing"
    pool.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_meant_for_the_agent_ends_no_worker_that_is_only_starting(
    beside: Beside, number: signal.Signals
) -> None:
    for worker in beside.workers:
        worker.start()
    pids = [worker.pid for worker in beside.workers]
    for pid in pids:
        assert pid is not None
        os.kill(pid, number)
    case = unpaid_withdrawal(beside.world)
    for _ in beside.workers:  # each has its turn
        beside.order(case.trade_no, case.case.fixer)
    assert [worker.pid for worker in beside.workers] == pids


def test_a_repair_whose_worker_died_is_in_doubt_never_failed(beside: Beside, tmp_path: Path) -> None:
    case = unpaid_withdrawal(beside.world)
    order = beside.order(case.trade_no, case.case.fixer)
    beside.bank.faults.set(
        {"kind": "timeout_after", "operation": "payout", "seconds": PATIENCE, "next_calls": 1}
    )
    journal, has_ended, is_live = Journal(tmp_path / "runner.db"), threading.Event(), threading.Event()

    def kill(message: Message) -> None:
        if isinstance(message, StepRecorded) and message.step.name in PAYOUTS:
            beside.wait_for_the_call()
            beside.kill_all()

    runner = Runner(journal, Outbox(journal, has_ended.set), beside.pool, kill, is_live, workers=1)
    entry = journal.receive(order, "boot")
    runner.submit(entry, "boot", is_resumed=False)
    assert has_ended.wait(PATIENCE), "it has no result"
    [unsent] = journal.unsent(0, 2)
    told = msgspec.json.decode(unsent.frame, type=RepairFinished)
    assert (told.outcome, told.money_moved) == ("unknown", True)
    assert told.reason == f"{BROKE_OFF}: WorkerDiedError: The worker process died."
    runner.stop(PATIENCE, PATIENCE)
    journal.close()


def test_work_that_broke_in_its_process_tells_what_broke_there() -> None:
    assert why_it_broke_off(WorkBrokeOffError("ValueError: x")) == (
        f"{BROKE_OFF}: WorkBrokeOffError: ValueError: x"
    )


def test_processes_started_after_a_pause_do_not_begin_what_was_ordered_before_it(beside: Beside) -> None:
    case, later = beside.world.load_cases()[:2]
    order = beside.order(case.trade_no, case.case.fixer)
    row, given_at, seen = beside.world.row(case.trade_no), time.monotonic(), beside.watch.seen
    assert seen is not None
    # Since the agent looked, production's clock has gone on for two hours, and this machine has stood still.
    watch = Watch()
    watch.note(seen.at - timedelta(hours=2), seen.own)
    workers = [WorkerProcess(beside.configuration, watch) for _ in range(2)]
    pool = ProcessPool(production_work(beside.configuration), workers, beside.halting)

    def repair(order: Repair, given_at: float) -> RepairFinished:
        return pool.repair(
            order, "command", Holder("boot", (), given_at), beside.notes.append, threading.Event()
        )

    for fence in (1, 2):  # each process has its turn
        result = repair(msgspec.structs.replace(order, fence=fence), given_at)
        assert (result.outcome, result.reason, result.money_moved) == ("unknown", STOOD_STILL, False)
    assert beside.world.row(case.trade_no) == row
    after_it_woke = beside.order(later.trade_no, later.case.fixer)
    assert repair(after_it_woke, time.monotonic()).outcome == "repaired"
    pool.close()


@pytest.mark.parametrize("is_event", [True, False])
def test_a_halted_repair_stops_between_two_steps_and_is_gone_on_with(beside: Beside, is_event: bool) -> None:
    case = unpaid_withdrawal(beside.world)
    order = beside.order(case.trade_no, case.case.fixer)
    # It hears that it is to stop while it waits for the bank.
    beside.bank.faults.set({"kind": "slow", "operation": "payout", "seconds": 1.0, "next_calls": 1})
    noted: list[StepRecord] = []

    def halt(note: StepRecord) -> None:
        noted.append(note)
        if note.name in PAYOUTS and is_event:
            beside.halting.set()
        elif note.name in PAYOUTS:
            raise StoppedError

    with pytest.raises(StoppedError):
        beside.repair(order, halt)
    assert (noted[-1].name in PAYOUTS, noted[-1].state) == (True, "done")
    beside.halting.clear()
    holder = Holder("boot-2", ("boot",))
    result = beside.pool.repair(order, "command", holder, beside.notes.append, threading.Event())
    assert result.outcome == "repaired"
    assert not beside.world.report().violations


def test_a_repair_cancelled_while_it_waited_moves_no_money(beside: Beside) -> None:
    case = unpaid_withdrawal(beside.world)
    entries, payouts = beside.world.entries(case.trade_no), beside.world.payouts(case.trade_no)
    order = beside.order(case.trade_no, case.case.fixer)
    cancelled = threading.Event()
    cancelled.set()
    result = beside.pool.repair(order, "command", Holder("boot"), beside.notes.append, cancelled)
    assert (result.outcome, result.money_moved) == ("cancelled", False)
    assert (beside.world.entries(case.trade_no), beside.world.payouts(case.trade_no)) == (entries, payouts)
