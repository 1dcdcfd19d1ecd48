"""Commands: journal first, then Ack, then the work; duplicates answered, not run; results that arrive."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from agent.answers import (
    AnomaliesReported,
    Cancelled,
    CollectFinished,
    CollectProgress,
    FactsRead,
    Outcome,
    RepairFinished,
    ReportedTrade,
    Started,
    StepRecord,
    StepRecorded,
)
from agent.commands import MAX_IN_HAND, Dispatcher, Identity
from agent.errors import PortError, ProtocolError
from agent.facts import BankFact, BankState, Facts, Kind, LegFact, LegState, Row, Status
from agent.failpoints import armed
from agent.journal import Journal
from agent.message import Message
from agent.orders import Holder
from agent.outbox import LONGEST_PAUSE, QUIET_RETRIES, Outbox
from agent.ports import Cancellation
from agent.protocol import (
    MAX_FRAME_BYTES,
    REFUSED_FOR_GOOD,
    Ack,
    Cancel,
    Collect,
    Command,
    Heartbeat,
    Log,
    Rejected,
    Repair,
    Verify,
    Welcome,
    encode,
)
from agent.reporting import cut
from agent.runner import Runner

PATIENCE = 20.0
CODES = ("interRecharge", "rechargeFailed")


class Clock:
    """Seconds that only pass when told."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


class Bench:
    """Work that does what a test says and notes what it was asked."""

    fixer_codes = CODES

    def __init__(self) -> None:
        self.repaired: list[tuple[str, int, str]] = []
        self.holders: list[Holder] = []
        self.commands: list[Repair] = []
        self.is_working = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.steps: list[StepRecord] = []
        self.pages: list[list[ReportedTrade]] = []
        self.fault: Exception | None = None
        self.facts: Facts | None = None
        self.row: Row | None = None
        self.reason = ""
        self.was_cancelled: list[bool] = []

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        self.repaired.append((command.trade_no, command.fence, holder.boot_id))
        self.holders.append(holder)
        self.commands.append(command)
        for step in self.steps:
            note(step)
        self._work()
        self.was_cancelled.append(cancellation.is_set())
        outcome = "cancelled" if cancellation.is_set() else "repaired"
        return self._finished(command, command_id, outcome, self.reason)

    def _finished(self, command: Repair, command_id: str, outcome: Outcome, reason: str) -> RepairFinished:
        return RepairFinished(
            id=f"finished-{command_id}-{command.fence}-{len(self.repaired)}",
            command_id=command_id,
            trade_no=command.trade_no,
            fence=command.fence,
            outcome=outcome,
            reason=reason,
            is_confirmed_failed=False,
            money_moved=True,
            before=self.row,
            after=self.row,
            facts_before=self.facts,
            facts_after=self.facts,
            steps=(),
            row_hash="h",
            started_at="",
            duration_ms=0,
        )

    def leave(self, command: Repair, command_id: str, holder: Holder, reason: str) -> RepairFinished:
        if self.fault is not None:
            raise self.fault
        return self._finished(command, command_id, "unknown", reason)

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        self._work()
        return FactsRead(
            id=f"read-{command_id}",
            command_id=command_id,
            trade_no=command.trade_no,
            outcome="consistent",
            fixer_code=None,
            reason="",
            row=self.row,
            row_hash="",
            facts=None,
        )

    def collect(
        self, command: Collect, progress: Callable[[int, int, int], None], cancellation: Cancellation
    ) -> Iterator[Sequence[ReportedTrade]]:
        for number, page in enumerate(self.pages, 1):
            self._work()
            if cancellation.is_set():
                return
            progress(number * 10, number, 100)
            yield page

    def _work(self) -> None:
        self.is_working.set()
        assert self.may_go_on.wait(PATIENCE)
        if self.fault is not None:
            raise self.fault


class Gate(threading.Event):
    """A session that stands or not; ``is_awaited`` is set once someone waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_awaited.set()
        return super().wait(timeout)


class Desk:
    """An agent without a connection: what it says is kept here, what it must deliver is in its outbox."""

    def __init__(self, path: Path, boot_id: str = "boot-1", workers: int = 2) -> None:
        self.clock = Clock()
        self.journal = Journal(path, self.clock)
        self.work = Bench()
        self.hints: list[Message] = []
        self._told = threading.Condition()
        self.outbox = Outbox(self.journal, self._tell)
        self.is_live = Gate()
        self.is_live.set()
        self.runner = Runner(
            self.journal,
            self.outbox,
            self.work,
            self._hint,
            self.is_live,
            workers=workers,
            monotonic=self.clock,
            wall=self.clock,
        )
        who = Identity(name="pbap-1", boot_id=boot_id, version="0", host="h")
        self.dispatcher = Dispatcher(who, self.journal, self.outbox, self.runner, CODES, self._hint)

    def _hint(self, message: Message) -> None:
        self.hints.append(message)
        self._tell()

    def _tell(self) -> None:
        with self._told:
            self._told.notify_all()

    def delivered(self) -> list[Message]:
        """What lies in the outbox."""
        decode = msgspec.json.Decoder(
            RepairFinished | FactsRead | AnomaliesReported | CollectFinished | Cancelled | Log | Rejected
        ).decode
        return [decode(unsent.frame) for unsent in self.journal.unsent(0, 10_000)]

    def wait(self, is_so: Callable[[], bool]) -> None:
        with self._told:
            assert self._told.wait_for(is_so, PATIENCE), (self.hints, self.delivered())

    def result(self, kind: type[Message] = Message) -> Message:
        """The last message of the outbox, once it is of this kind and nothing is in hand any more."""
        self.wait(lambda: bool(self.delivered()) and isinstance(self.delivered()[-1], kind))
        self.settle()
        return self.delivered()[-1]

    def settle(self) -> None:
        """Wait until no work is running."""
        assert self.runner._wait_until_idle(PATIENCE)

    def said(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.hints if isinstance(message, kind)]

    def leave(self) -> bool:
        is_idle = self.runner.stop(PATIENCE, PATIENCE)
        self.journal.close()
        return is_idle


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.db")
    yield desk
    desk.work.may_go_on.set()
    desk.leave()


def repair(number: int = 1, fence: int = 1, sending: int = 1, **changes: object) -> Repair:
    fields = {
        "id": f"frame-{number}-{fence}-{sending}",
        "command_id": f"command-{number}",
        "trade_no": f"T{number:08}",
        "fixer_code": "interRecharge",
        "row_hash": "h",
        "fence": fence,
        "deadline_ms": 60_000,
    }
    return msgspec.convert(fields | changes, Repair)


def collect(**changes: object) -> Collect:
    fields = {
        "id": "frame-c",
        "command_id": "collection",
        "run_id": 7,
        "fixer_codes": ["interRecharge"],
        "window_start": "2026-03-01T00:00:00Z",
        "window_end": "2026-03-02T00:00:00Z",
        "shard": 0,
        "shards": 2,
        "deadline_ms": 600_000,
    }
    return msgspec.convert(fields | changes, Collect)


def cancel(command_id: str) -> Cancel:
    return Cancel(id="frame-cancel", command_id=command_id, reason="wrong trade")


def trade(number: int, padding: int = 0) -> ReportedTrade:
    return ReportedTrade(
        trade_no=f"T{number:08}",
        trade_id=number,
        kind="recharge",
        bookkeeping=None,
        amount_minor=100 + number,
        currency="CNY",
        channel=None,
        row={"FAILED_MSG": "x" * padding},
        row_hash="h",
        row_changed_at=None,
        fixer_code="interRecharge",
        outcome="repair",
        reason="",
    )


def step(state: str = "done", moves_money: bool = False) -> StepRecord:
    fields = {
        "seq": 1,
        "name": "post_first",
        "key": "k",
        "state": state,
        "moves_money": moves_money,
        "started_at": "",
    }
    return msgspec.convert(fields, StepRecord)


# ---- taking


def test_a_repair_is_acknowledged_run_and_its_result_kept(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    assert isinstance(finished, RepairFinished)
    assert (finished.command_id, finished.outcome, finished.fence) == ("command-1", "repaired", 1)
    assert [type(message) for message in desk.hints] == [Ack, Started]
    assert desk.said(Ack)[0] == Ack(id=desk.hints[0].id, command_id="command-1", of="frame-1-1-1")
    assert desk.work.repaired == [("T00000001", 1, "boot-1")]


def test_the_ack_comes_only_after_the_journal_holds_the_command(desk: Desk) -> None:
    held: list[bool] = []
    original = desk._hint

    def look(message: Message) -> None:
        if isinstance(message, Ack):
            held.append(desk.journal.find("command-1") is not None)
        original(message)

    desk.dispatcher._hint = look
    desk.dispatcher.handle(repair())
    assert held == [True]


def test_commands_that_come_together_share_one_write_and_are_acknowledged_after_it(desk: Desk) -> None:
    seen: list[str] = []
    original = desk._hint

    def look(message: Message) -> None:
        if isinstance(message, Ack):
            seen.append(message.of)
        original(message)

    desk.dispatcher._hint = look
    with armed(lambda name: seen.append(name) if name.startswith("agent.journal.receive") else None):
        desk.dispatcher.handle(repair(2), Ack(id="a", of="nothing"), repair(1), repair(3))
    assert seen == [
        "agent.journal.receive.before",
        "agent.journal.receive.commit",
        "agent.journal.receive.after",
        "frame-2-1-1",
        "frame-1-1-1",
        "frame-3-1-1",
    ]


def test_a_process_that_ends_in_the_write_of_several_commands_has_acknowledged_none(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")

    def die(name: str) -> None:
        if name == "agent.journal.receive.commit":
            raise KeyboardInterrupt

    with armed(die), pytest.raises(KeyboardInterrupt):
        desk.dispatcher.handle(repair(1), repair(2))
    assert (desk.said(Ack), desk.journal.unfinished(), desk.work.repaired) == ([], [], [])
    desk.dispatcher.handle(repair(1, sending=2), repair(2, sending=2))
    assert len(desk.said(Ack)) == 2
    desk.leave()


def test_of_commands_that_come_together_one_that_cannot_be_kept_is_refused_alone(desk: Desk) -> None:
    beyond = msgspec.structs.replace(repair(2), fence=2**70)
    desk.dispatcher.handle(repair(1), beyond, repair(3))
    assert [refusal.of for refusal in desk.said(Rejected)] == ["frame-2-1-1"]  # type: ignore[attr-defined]
    assert [ack.of for ack in desk.said(Ack)] == ["frame-1-1-1", "frame-3-1-1"]  # type: ignore[attr-defined]
    desk.settle()
    desk.wait(lambda: len(desk.delivered()) == 2)


def test_what_came_before_a_message_that_ends_the_session_is_taken(desk: Desk) -> None:
    words: list[str | None] = [None]
    desk.dispatcher._stopped = words.pop
    with pytest.raises(IndexError):
        desk.dispatcher.handle(repair(1), repair(2), repair(3))
    assert [ack.of for ack in desk.said(Ack)] == ["frame-1-1-1"]  # type: ignore[attr-defined]
    desk.wait(lambda: len(desk.delivered()) == 1)


def test_a_command_that_comes_twice_at_once_is_run_once(desk: Desk) -> None:
    desk.dispatcher.handle(repair(), repair(sending=2))
    desk.wait(lambda: bool(desk.delivered()))
    assert [ack.of for ack in desk.said(Ack)] == ["frame-1-1-1", "frame-1-1-2"]  # type: ignore[attr-defined]
    assert len(desk.work.repaired) == 1


def test_a_cancel_that_comes_with_its_command_stays_behind_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2), cancel("command-2"), repair(3))
    (cancelled,) = desk.delivered()
    assert isinstance(cancelled, Cancelled)
    assert cancelled.command_id == "command-2"
    desk.work.may_go_on.set()
    desk.wait(lambda: len(desk.delivered()) == 3)
    assert [run[0] for run in desk.work.repaired] == ["T00000001", "T00000003"]
    desk.leave()


def test_commands_that_come_together_count_against_those_in_hand(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(*(repair(number) for number in range(MAX_IN_HAND + 2)))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["busy", "busy"]  # type: ignore[attr-defined]
    assert len(desk.runner.in_hand()) == MAX_IN_HAND
    desk.work.may_go_on.set()
    desk.leave()


def test_a_command_without_a_command_id_goes_by_its_frame(desk: Desk) -> None:
    desk.dispatcher.handle(repair(command_id=None))
    finished = desk.result(RepairFinished)
    assert finished.command_id == "frame-1-1-1"


def test_a_verify_is_answered_with_facts(desk: Desk) -> None:
    desk.dispatcher.handle(Verify(id="frame-v", command_id="look", trade_no="T1"))
    read = desk.result(FactsRead)
    assert (read.command_id, read.trade_no) == ("look", "T1")  # type: ignore[attr-defined]


# ---- duplicates


def test_a_duplicate_of_a_finished_command_is_answered_from_the_journal(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    first = desk.result(RepairFinished)
    desk.outbox.acknowledge(first.id)
    assert desk.delivered() == []
    desk.dispatcher.handle(repair(sending=2))
    assert desk.delivered() == [first]
    assert len(desk.work.repaired) == 1
    assert [ack.of for ack in desk.said(Ack)] == ["frame-1-1-1", "frame-1-1-2"]  # type: ignore[attr-defined]


def test_a_duplicate_of_a_running_command_is_not_run_again(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair())
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(sending=2, deadline_ms=59_000))
    desk.work.may_go_on.set()
    desk.result(RepairFinished)
    assert len(desk.work.repaired) == 1
    assert len(desk.said(Ack)) == len(desk.said(Started)) == 2


def test_a_duplicate_after_a_restart_is_answered_from_the_journal(tmp_path: Path) -> None:
    before = Desk(tmp_path / "journal.db")
    before.dispatcher.handle(repair())
    first = before.result(RepairFinished)
    before.leave()
    after = Desk(tmp_path / "journal.db", "boot-2")
    after.outbox.acknowledge(first.id)
    after.dispatcher.resume()
    after.dispatcher.handle(repair(sending=2))
    assert after.delivered() == [first]
    assert after.work.repaired == []
    after.leave()


def test_a_higher_fence_of_the_same_command_is_run_again(desk: Desk) -> None:
    desk.dispatcher.handle(repair(fence=1))
    desk.result(RepairFinished)
    desk.dispatcher.handle(repair(fence=2))
    desk.wait(lambda: len(desk.delivered()) == 2)
    assert [run[1] for run in desk.work.repaired] == [1, 2]


def test_an_order_that_waits_is_replaced_by_a_higher_fence(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2, fence=1))
    desk.dispatcher.handle(repair(2, fence=2))
    desk.work.may_go_on.set()
    desk.wait(lambda: len(desk.delivered()) == 2)
    desk.settle()
    assert [run[:2] for run in desk.work.repaired] == [("T00000001", 1), ("T00000002", 2)]
    assert desk.journal.unfinished() == []
    desk.leave()


def test_a_late_frame_of_an_older_fence_is_refused(desk: Desk) -> None:
    desk.dispatcher.handle(repair(fence=2))
    desk.result(RepairFinished)
    desk.dispatcher.handle(repair(fence=1))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["conflict"]  # type: ignore[attr-defined]
    assert len(desk.work.repaired) == 1


def test_the_same_id_for_another_trade_is_refused(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    desk.result(RepairFinished)
    desk.dispatcher.handle(repair(trade_no="T99999999"))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["conflict"]  # type: ignore[attr-defined]


# ---- refusals


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (repair(fixer_code="withdrawTimeout"), "fixer"),
        (collect(fixer_codes=["interRecharge", "nobody"]), "fixer"),
        (collect(shard=2), "shard"),
        (collect(shard=-1), "shard"),
        (collect(window_start="yesterday"), "window"),
        (collect(window_start="2026-03-01T00:00:00"), "window"),
        (collect(window_end="2026-02-01T00:00:00Z"), "window"),
    ],
)
def test_what_cannot_be_done_is_refused_and_not_kept(desk: Desk, command: Repair, code: str) -> None:
    desk.dispatcher.handle(command)
    (refusal,) = desk.hints
    assert isinstance(refusal, Rejected)
    assert (refusal.of, refusal.code, refusal.command_id) == (command.id, code, command.command_id)
    assert desk.journal.unfinished() == []


def test_a_second_welcome_is_refused(desk: Desk) -> None:
    desk.dispatcher.handle(Welcome(id="w", epoch=1, server_time="", heartbeat_ms=1, group="g"))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["state"]  # type: ignore[attr-defined]


def test_a_full_journal_refuses_commands_and_says_so(desk: Desk) -> None:
    desk.journal._file.connection.execute("PRAGMA max_page_count = 1")
    desk.dispatcher.handle(repair(fixer_code="interRecharge", row_hash="x" * 100_000))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["journal"]  # type: ignore[attr-defined]
    assert [line.level for line in desk.said(Log)] == ["error"]  # type: ignore[attr-defined]
    assert desk.said(Ack) == []
    assert desk.work.repaired == []


def test_a_result_waits_for_a_journal_that_was_full(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(row_hash="x" * 50_000))
    assert desk.work.is_working.wait(PATIENCE)
    desk.journal._file.connection.execute("PRAGMA query_only = ON")
    desk.work.may_go_on.set()
    desk.settle()
    beat = desk.dispatcher.heartbeat()
    assert beat.journal_length == -1
    assert len(desk.said(Log)) == 1
    desk.journal._file.connection.execute("PRAGMA query_only = OFF")
    assert desk.dispatcher.heartbeat().journal_length == 1
    assert [type(message) for message in desk.delivered()] == [RepairFinished]
    assert desk.journal.unfinished() == []


# ---- cancelling


def test_a_cancel_reaches_the_running_repair(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair())
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(cancel("command-1"))
    desk.work.may_go_on.set()
    finished = desk.result(RepairFinished)
    assert finished.outcome == "cancelled"  # type: ignore[attr-defined]
    assert [ack.of for ack in desk.said(Ack)] == ["frame-1-1-1", "frame-cancel"]  # type: ignore[attr-defined]


def test_a_command_that_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2))
    desk.dispatcher.handle(cancel("command-2"))
    (cancelled,) = desk.delivered()
    assert isinstance(cancelled, Cancelled)
    assert (cancelled.command_id, cancelled.reason) == ("command-2", "wrong trade")
    desk.work.may_go_on.set()
    desk.result(RepairFinished)
    assert [run[0] for run in desk.work.repaired] == ["T00000001"]
    desk.leave()


def test_a_cancel_whose_words_fill_a_frame_ends_its_command(tmp_path: Path) -> None:
    """Told again in full they fitted none: it stayed in memory, and each heartbeat ended the session."""
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2))
    empty = Cancel(id="frame-cancel", command_id="command-2", reason="")
    words = "x" * (MAX_FRAME_BYTES - len(encode(empty)))
    desk.dispatcher.handle(msgspec.structs.replace(empty, reason=words))
    desk.dispatcher.heartbeat()
    (cancelled,) = desk.delivered()
    assert isinstance(cancelled, Cancelled)
    assert cancelled.reason == words[: len(cancelled.reason)] != ""
    desk.work.may_go_on.set()
    desk.result(RepairFinished)
    desk.leave()


def test_a_message_that_fits_no_frame_is_not_counted_as_one_to_come(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    too_large = Cancelled(id="cancelled", command_id="command-1", reason="x" * MAX_FRAME_BYTES)
    with pytest.raises(ProtocolError):
        desk.outbox.finish(("command-1", 1), too_large)
    assert desk.outbox.wait_until_empty(0)
    desk.leave()


def test_a_cancel_reaches_every_order_of_its_command(tmp_path: Path) -> None:
    """A newer order waits behind one still at work: it says nothing of a stop before it has looked."""
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1, 1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(1, 2))
    desk.dispatcher.handle(cancel("command-1"))
    assert desk.delivered() == []
    desk.work.may_go_on.set()
    desk.settle()
    assert desk.work.was_cancelled == [True, True]
    told = desk.delivered()
    assert [(type(one), one.fence) for one in told] == [(RepairFinished, 1), (RepairFinished, 2)]  # type: ignore[attr-defined]
    desk.leave()


def test_a_cancel_of_an_unknown_command_is_refused(desk: Desk) -> None:
    desk.dispatcher.handle(cancel("nothing"))
    assert [refusal.code for refusal in desk.said(Rejected)] == ["unknown_command"]  # type: ignore[attr-defined]


def test_a_cancel_of_a_finished_command_repeats_its_result(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    first = desk.result(RepairFinished)
    desk.outbox.acknowledge(first.id)
    desk.dispatcher.handle(cancel("command-1"))
    assert desk.delivered() == [first]


def test_a_command_past_its_deadline_is_not_begun(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2, deadline_ms=1_000))
    desk.clock.at += 2
    desk.work.may_go_on.set()
    desk.wait(lambda: len(desk.delivered()) == 2)
    last = desk.delivered()[-1]
    assert isinstance(last, Cancelled)
    assert "deadline" in last.reason
    assert len(desk.work.repaired) == 1
    desk.leave()


def test_a_running_repair_is_cancelled_by_its_deadline(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(deadline_ms=1_000))
    assert desk.work.is_working.wait(PATIENCE)
    desk.clock.at += 2
    desk.work.may_go_on.set()
    desk.result(RepairFinished)
    assert desk.work.was_cancelled == [True]


# ---- restarts and leaving


def test_an_unfinished_repair_is_run_again_under_a_name_of_its_own(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    assert desk.dispatcher.hello().boot_id == "boot-2"
    desk.dispatcher.handle(repair(sending=2))
    finished = desk.result(RepairFinished)
    assert finished.fence == 1  # type: ignore[attr-defined]
    assert desk.work.repaired == [("T00000001", 1, "boot-2")]
    assert [(one.boot_id, one.former) for one in desk.work.holders] == [("boot-2", ("boot-1",))]
    desk.leave()


def test_the_journal_keeps_each_start_that_went_on_with_an_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.receive(repair(), "boot-1")
    journal.start(("command-1", 1), "boot-2")
    journal.start(("command-1", 1), "boot-3")
    journal.close()
    [entry] = Journal(tmp_path / "journal.db").unfinished()
    assert (entry.boot_id, entry.taken_up_by) == ("boot-1", ("boot-2", "boot-3"))


def test_an_order_in_hand_is_not_queued_a_second_time(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair())
    assert desk.work.is_working.wait(PATIENCE)
    entry = desk.journal.find("command-1")
    assert entry is not None
    desk.runner.submit(entry, "boot-1", is_resumed=False)
    desk.work.may_go_on.set()
    desk.result(RepairFinished)
    assert len(desk.work.repaired) == 1


def test_hello_and_heartbeat_name_the_commands_in_hand(desk: Desk) -> None:
    desk.work.may_go_on.clear()
    for number in (1, 2, 3):
        desk.dispatcher.handle(repair(number))
    assert desk.dispatcher.hello().unfinished == ("command-1", "command-2", "command-3")
    assert isinstance(desk.dispatcher.heartbeat(), Heartbeat)
    assert desk.dispatcher.heartbeat().running == ("command-1", "command-2", "command-3")
    desk.work.may_go_on.set()
    desk.wait(lambda: len(desk.delivered()) == 3)
    desk.settle()
    assert desk.dispatcher.heartbeat().running == ()
    assert desk.dispatcher.heartbeat().journal_length == 3


def test_a_repair_of_an_earlier_start_that_was_cancelled_is_only_looked_at(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.cancel(("command-1", 1), "wrong trade")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    told = desk.result(RepairFinished)
    assert (told.outcome, told.reason) == ("unknown", "wrong trade")  # type: ignore[attr-defined]
    assert desk.work.repaired == []
    desk.leave()


def test_what_cannot_be_looked_at_may_have_moved_money(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.work.fault = PortError("the trade database does not answer")
    desk.dispatcher.resume()
    desk.dispatcher.handle(cancel("command-1"))
    told = desk.result(RepairFinished)
    assert (told.outcome, told.money_moved) == ("unknown", True)  # type: ignore[attr-defined]
    assert "not resumed: wrong trade" in told.reason  # type: ignore[attr-defined]
    desk.leave()


def test_a_repair_that_waits_for_the_server_renews_no_lease_and_ends_with_its_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    assert desk.dispatcher.hello().unfinished == ("command-1",)
    assert desk.dispatcher.heartbeat().running == ()
    desk.clock.at += 61
    desk.dispatcher.heartbeat()
    told = desk.result(RepairFinished)
    assert (told.outcome, "deadline" in told.reason) == ("unknown", True)  # type: ignore[attr-defined]
    assert desk.work.repaired == []
    desk.leave()


def test_the_time_left_is_what_the_server_says_when_it_sends_a_repair_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.clock.at += 61
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(sending=2, deadline_ms=5_000))
    assert desk.result(RepairFinished).outcome == "repaired"  # type: ignore[attr-defined]
    desk.leave()


def test_a_repair_sent_again_with_what_is_told_to_a_newer_agent_is_the_same_repair(tmp_path: Path) -> None:
    """The agent that took it did not name the feature yet; the one that starts now does."""
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(sending=2, by_person=True, max_amount_minor=5))
    assert desk.result(RepairFinished).outcome == "repaired"  # type: ignore[attr-defined]
    assert desk.work.commands == [repair(sending=2, by_person=True, max_amount_minor=5)]
    desk.leave()


def test_of_orders_that_wait_only_the_newest_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    for fence in (1, 2):
        journal.receive(repair(fence=fence), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(fence=2, sending=2))
    desk.result(RepairFinished)
    assert [run[1] for run in desk.work.repaired] == [2]
    assert desk.journal.unfinished() == []
    desk.leave()


def test_a_higher_fence_takes_the_place_of_an_order_that_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(repair(fence=1), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(fence=2))
    desk.result(RepairFinished)
    assert [run[1] for run in desk.work.repaired] == [2]
    assert desk.journal.unfinished() == []
    desk.leave()


def test_a_deadline_goes_on_while_the_agent_is_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", Clock())
    journal.receive(Verify(id="v", trade_no="T1", deadline_ms=5_000), "boot-1")
    journal.close()
    desk = Desk(tmp_path / "journal.db", "boot-2")
    desk.clock.at += 10
    desk.dispatcher.resume()
    assert isinstance(desk.result(Cancelled), Cancelled)
    desk.leave()


def test_leaving_waits_for_the_repair_in_hand_and_takes_nothing_more(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db", workers=1)
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(repair(2))
    leaving = threading.Thread(target=desk.runner.stop, args=(PATIENCE, PATIENCE))
    leaving.start()
    assert desk.runner._stopping.wait(PATIENCE)
    desk.dispatcher.handle(repair(3))
    desk.work.may_go_on.set()
    leaving.join(PATIENCE)
    assert [run[0] for run in desk.work.repaired] == ["T00000001"]
    assert [type(message) for message in desk.delivered()] == [RepairFinished]
    assert [entry.command for entry in desk.journal.unfinished()] == [repair(2)]
    assert len(desk.said(Ack)) == 2
    desk.journal.close()


def test_a_repair_that_takes_too_long_to_leave_stops_after_a_step(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.work.steps = [step("intended"), step("done"), step("intended")]
    desk.runner._halting.set()
    desk.dispatcher.handle(repair())
    desk.wait(lambda: len(desk.said(StepRecorded)) == 2)
    desk.settle()
    assert desk.delivered() == []
    assert [entry.command for entry in desk.journal.unfinished()] == [repair()]
    assert desk.leave()


def test_a_repair_read_back_is_told_of_however_long_leaving_takes(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.work.steps = [msgspec.structs.replace(step("done"), name="read_back")]
    desk.runner._halting.set()
    desk.dispatcher.handle(repair())
    assert isinstance(desk.result(RepairFinished), RepairFinished)
    assert desk.journal.unfinished() == []
    assert desk.leave()


# ---- what the server sees meanwhile, and faults


def test_steps_are_told_as_they_are_written(desk: Desk) -> None:
    desk.work.steps = [step("intended", True), step("done", True)]
    desk.dispatcher.handle(repair())
    desk.result(RepairFinished)
    told = desk.said(StepRecorded)
    assert [(hint.trade_no, hint.fence, hint.step.state) for hint in told] == [  # type: ignore[attr-defined]
        ("T00000001", 1, "intended"),
        ("T00000001", 1, "done"),
    ]


def test_a_fault_in_a_fixer_ends_that_command_as_unknown(desk: Desk) -> None:
    desk.work.fault = ZeroDivisionError("in the fixer")
    desk.work.steps = [step("intended", True)]
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    assert isinstance(finished, RepairFinished)
    assert (finished.outcome, finished.money_moved) == ("unknown", True)
    assert "in the fixer" in finished.reason
    desk.work.fault = None
    desk.dispatcher.handle(repair(2))
    desk.wait(lambda: len(desk.delivered()) == 2)


def test_a_result_too_large_for_a_frame_goes_without_its_facts(desk: Desk) -> None:
    nothing = LegFact(state=LegState.UNKNOWN, detail="x" * 200_000)
    desk.work.facts = Facts(
        trade_no="T00000001",
        kind=Kind.RECHARGE,
        bookkeeping=None,
        status=Status.SUCCESS,
        is_acc=False,
        is_e_acc=None,
        first=nothing,
        second=None,
        bank=BankFact(state=BankState.UNKNOWN),
        amount_minor=1,
    )
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    assert isinstance(finished, RepairFinished)
    assert (finished.outcome, finished.facts_before, finished.facts_after) == ("repaired", None, None)


def test_a_result_of_a_row_too_large_for_a_frame_tells_its_beginning(desk: Desk) -> None:
    desk.work.row = {"TRD_ID": 1, "FAILED_MSG": "长" * 200_000}
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    assert isinstance(finished, RepairFinished)
    assert finished.outcome == "repaired"
    assert finished.before == finished.after == {"TRD_ID": 1, "FAILED_MSG": "长" * 2_000 + "…"}


def test_facts_of_a_row_too_large_for_a_frame_are_read_all_the_same(desk: Desk) -> None:
    desk.work.row = {"TRD_ID": 1, "FAILED_MSG": "x" * 300_000}
    desk.dispatcher.handle(Verify(id="v", trade_no="T1"))
    read = desk.result(FactsRead)
    assert isinstance(read, FactsRead)
    assert (read.outcome, read.row) == ("consistent", {"TRD_ID": 1, "FAILED_MSG": "x" * 2_000 + "…"})


def test_a_result_that_fits_no_frame_at_all_is_unknown(desk: Desk) -> None:
    desk.work.reason = "x" * 300_000
    desk.dispatcher.handle(repair())
    assert desk.result(RepairFinished).outcome == "unknown"  # type: ignore[attr-defined]


@pytest.mark.parametrize("told", ["x" * 2 * MAX_FRAME_BYTES, "\ud800"], ids=["too long", "of no encoding"])
@pytest.mark.parametrize("command", [repair(), Verify(id="v", trade_no="T1")])
def test_whatever_an_error_says_its_end_arrives(
    desk: Desk, command: Command, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that could not be sent stayed in memory, and each heartbeat ended the session over it."""
    # What has no encoding fits no report of the tests either.
    caplog.set_level(logging.CRITICAL, "agent.runner")
    desk.work.fault = ZeroDivisionError(told)
    desk.dispatcher.handle(command)
    assert desk.work.is_working.wait(PATIENCE)
    desk.settle()
    desk.dispatcher.heartbeat()
    [ended] = desk.delivered()
    assert isinstance(ended, RepairFinished | FactsRead)
    assert ended.reason.startswith("internal error: ZeroDivisionError")


def test_a_fault_in_a_verification_is_an_error(desk: Desk) -> None:
    desk.work.fault = ZeroDivisionError()
    desk.dispatcher.handle(Verify(id="v", trade_no="T1"))
    assert desk.result(FactsRead).outcome == "error"  # type: ignore[attr-defined]


# ---- collections


def test_a_collection_reports_chunks_and_a_trailer_that_adds_them_up(desk: Desk) -> None:
    desk.work.pages = [[trade(number) for number in range(150)], [trade(150)]]
    desk.dispatcher.handle(collect())
    trailer = desk.result(CollectFinished)
    *chunks, _ = desk.delivered()
    assert isinstance(trailer, CollectFinished)
    assert [(part.chunk, len(part.rows)) for part in chunks] == [(0, 100), (1, 51)]  # type: ignore[attr-defined]
    assert (trailer.chunks, trailer.rows, trailer.scanned, trailer.unverified) == (2, 151, 20, 2)
    assert trailer.amount_minor == sum(100 + number for number in range(151))
    assert (trailer.run_id, trailer.shard, trailer.error) == (7, 0, None)


def test_an_empty_collection_has_a_trailer_only(desk: Desk) -> None:
    desk.dispatcher.handle(collect())
    trailer = desk.result(CollectFinished)
    assert desk.delivered() == [trailer]
    assert (trailer.chunks, trailer.rows) == (0, 0)  # type: ignore[attr-defined]


def test_a_port_that_fails_makes_the_report_incomplete(desk: Desk) -> None:
    desk.work.pages = [[trade(1)]]
    desk.work.fault = PortError("the ledger timed out")
    desk.dispatcher.handle(collect())
    assert desk.result(CollectFinished).error == "the ledger timed out"  # type: ignore[attr-defined]


def test_a_fault_in_a_collector_makes_the_report_incomplete(desk: Desk) -> None:
    desk.work.pages = [[trade(1)]]
    desk.work.fault = ZeroDivisionError("in the collector")
    desk.dispatcher.handle(collect())
    assert "in the collector" in (desk.result(CollectFinished).error or "")  # type: ignore[attr-defined]


def test_a_collection_waits_while_too_many_chunks_are_unacknowledged(desk: Desk) -> None:
    desk.work.pages = [[trade(100 * page + row) for row in range(100)] for page in range(40)]
    desk.dispatcher.handle(collect())
    desk.wait(lambda: len(desk.delivered()) == 16)
    assert desk.runner.in_hand() == ("collection",)
    seen: set[str] = set()
    while len(seen) < 41:
        desk.wait(lambda: bool(desk.delivered()))
        waiting = desk.delivered()
        assert len(waiting) <= 16
        for message in waiting:
            seen.add(message.id)
            desk.dispatcher.handle(Ack(id="a", of=message.id))
    desk.settle()
    assert desk.runner.in_hand() == ()


def test_a_cancelled_collection_says_so(desk: Desk) -> None:
    desk.work.pages = [[trade(1)], [trade(2)]]
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(collect())
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(cancel("collection"))
    desk.work.may_go_on.set()
    cancelled = desk.result(Cancelled)
    assert cancelled.reason == "wrong trade"  # type: ignore[attr-defined]


def test_a_collection_past_its_deadline_is_incomplete(desk: Desk) -> None:
    desk.work.pages = [[trade(1)]]
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(collect(deadline_ms=1_000))
    assert desk.work.is_working.wait(PATIENCE)
    desk.clock.at += 2
    desk.work.may_go_on.set()
    assert desk.result(CollectFinished).error == "the deadline passed"  # type: ignore[attr-defined]


def test_progress_is_told_at_most_twice_a_second(desk: Desk) -> None:
    desk.work.pages = [[trade(number)] for number in range(50)]
    desk.dispatcher.handle(collect())
    desk.result(CollectFinished)
    assert len(desk.said(CollectProgress)) == 1
    first = desk.said(CollectProgress)[0]
    assert (first.scanned, first.estimated) == (10, 100)  # type: ignore[attr-defined]


def test_an_unfinished_collection_begins_again_without_its_old_chunks(tmp_path: Path) -> None:
    before = Desk(tmp_path / "journal.db")
    before.work.pages = [[trade(100 * page + row) for row in range(100)] for page in range(40)]
    before.dispatcher.handle(collect())
    before.wait(lambda: len(before.delivered()) == 16)
    assert before.leave()
    after = Desk(tmp_path / "journal.db", "boot-2")
    after.work.pages = [[trade(1)]]
    after.dispatcher.resume()
    after.result(CollectFinished)
    assert [type(message) for message in after.delivered()] == [AnomaliesReported, CollectFinished]
    after.leave()


def test_chunks_fit_a_frame_however_large_their_rows() -> None:
    rows = [trade(number, padding=9_000) for number in range(100)]
    chunks = list(cut([rows]))
    assert [row for chunk in chunks for row in chunk] == rows
    for chunk in chunks:
        message = AnomaliesReported(id="i" * 40, run_id=1, shard=0, chunk=0, rows=chunk)
        assert len(encode(message)) <= MAX_FRAME_BYTES
    assert len(chunks) < 10


def test_rows_read_before_a_port_fails_are_still_reported() -> None:
    def pages() -> Iterator[list[ReportedTrade]]:
        yield [trade(1), trade(2)]
        raise PortError("the trade database timed out")

    chunks = cut(pages())
    assert next(chunks) == (trade(1), trade(2))
    with pytest.raises(PortError):
        next(chunks)


def test_a_row_too_large_for_a_frame_is_still_reported() -> None:
    ((row,),) = cut([[trade(1, padding=300_000)]])
    assert (row.trade_no, row.row) == ("T00000001", {})


@pytest.mark.parametrize("long", ["trade_no", "currency", "channel"])
def test_a_row_whose_other_texts_are_too_large_is_still_reported_and_hides_none(long: str) -> None:
    odd = msgspec.structs.replace(trade(2), **{long: "x" * 300_000})
    rows = [row for chunk in cut([[trade(1), odd, trade(3)]]) for row in chunk]
    assert [row.trade_id for row in rows] == [1, 2, 3]
    assert getattr(rows[1], long) == "x" * 2_000
    for chunk in cut([[odd]]):
        encode(AnomaliesReported(id="a", command_id="c", run_id=1, shard=0, chunk=0, rows=chunk))


def test_a_collection_begins_only_in_a_session(desk: Desk) -> None:
    desk.is_live.clear()
    desk.work.pages = [[trade(1)]]
    desk.dispatcher.handle(collect())
    assert desk.is_live.is_awaited.wait(PATIENCE)
    assert desk.said(Started) == []
    desk.is_live.set()
    desk.result(CollectFinished)
    assert len(desk.said(Started)) == 1


def test_a_duplicate_of_a_running_collection_does_not_begin_it_anew(desk: Desk) -> None:
    desk.work.pages = [[trade(1)]]
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(collect())
    assert desk.work.is_working.wait(PATIENCE)
    desk.dispatcher.handle(collect(id="frame-c2"))
    desk.work.may_go_on.set()
    desk.result(CollectFinished)
    assert (len(desk.said(Started)), len(desk.said(Ack))) == (1, 2)


# ---- the server's answers


def test_an_ack_is_what_empties_the_outbox(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    desk.dispatcher.handle(Ack(id="a", of="something else"))
    assert desk.delivered() == [finished]
    desk.dispatcher.handle(Ack(id="a", of=finished.id))
    assert desk.delivered() == []
    assert desk.outbox.wait_until_empty(0)


@pytest.mark.parametrize("code", sorted(REFUSED_FOR_GOOD))
def test_a_message_the_server_can_never_take_is_not_sent_for_ever(desk: Desk, code: str) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    desk.dispatcher.handle(Rejected(id="r", of=finished.id, code=code, reason=""))
    assert desk.delivered() == []


@pytest.mark.parametrize("code", ["error", "order_over", "conflict", "a word of a later server"])
def test_a_result_refused_for_anything_else_stays_in_the_outbox(desk: Desk, code: str) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    desk.dispatcher.handle(Rejected(id="r", of=finished.id, code=code, reason=""))
    assert desk.delivered() == [finished]


def test_a_message_the_server_fails_over_is_sent_ever_more_seldom_and_never_given_up(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    (unsent,) = desk.outbox.next(10)
    pauses = []
    for _ in range(9):
        desk.outbox.sent(unsent)
        desk.dispatcher.handle(Rejected(id="r", of=finished.id, code="error", reason="the database is away"))
        beats = 0
        while not desk.outbox.next(10):
            desk.dispatcher.heartbeat()
            beats += 1
        pauses.append(beats)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert desk.delivered() == [finished]
    assert [log.level for log in desk.said(Log)] == ["error"]


def test_how_often_the_server_failed_over_hints_is_forgotten_once_nothing_waits(desk: Desk) -> None:
    """No Ack ever comes for a hint, so that these would be counted for as long as the agent runs."""
    assert [desk.outbox.try_again("hint") for _ in range(2)] == [1, 2]
    desk.dispatcher.heartbeat()
    assert desk.outbox.try_again("hint") == 1


def test_what_no_ack_comes_for_is_sent_again_on_the_same_connection(desk: Desk) -> None:
    desk.dispatcher.handle(repair())
    finished = desk.result(RepairFinished)
    (unsent,) = desk.outbox.next(10)
    desk.outbox.sent(unsent)
    for _ in range(QUIET_RETRIES):
        assert desk.outbox.next(10) == []
        desk.dispatcher.heartbeat()
    assert desk.outbox.next(10) == [unsent]
    desk.outbox.sent(unsent)
    desk.dispatcher.handle(Ack(id="a", of=finished.id))
    for _ in range(QUIET_RETRIES):
        desk.dispatcher.heartbeat()
    assert desk.outbox.next(10) == []


def test_what_no_ack_comes_for_is_sent_again_though_others_are_acknowledged(desk: Desk) -> None:
    """A server that is kept busy answers something at every moment: that hides no message which it lost."""
    for number in range(QUIET_RETRIES):
        desk.outbox.put(Log(id=f"log-{number}", level="info", text=""))
        for unsent in desk.outbox.next(10):
            desk.outbox.sent(unsent)
            if unsent.message_id != "log-0":
                desk.dispatcher.handle(Ack(id="a", of=unsent.message_id))
        assert desk.outbox.next(10) == []
        desk.dispatcher.heartbeat()
    assert [unsent.message_id for unsent in desk.outbox.next(10)] == ["log-0"]
