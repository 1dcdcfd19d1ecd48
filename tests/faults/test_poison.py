"""A poison trade: it crashes its fixer, or its agent, every time. It is set aside and the others go on."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from agent.answers import BROKE_OFF, RepairFinished
from agent.facts import Facts
from agent.fixers import FIXERS, Fixer
from agent.journal import Journal
from app.executions.poison import ALIKE_LIMIT, CRASH_LIMIT
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.agent.test_commands import Desk, repair
from tests.agent.world import AMOUNT, CASES, load_case, wait_for_days_to_close
from tests.app.machines.server_machine import result_of
from tests.app.machines.stage import Stage
from tests.factories import make_anomaly
from tests.faults.conftest import Scene
from tests.faults.staged_agent import RealScene

ANOTHER: Final = "WD160731140732100999"


def work(scene: Scene, poison: str, reason: str, outcome: str = "unknown") -> None:
    """Every agent does what it has in hand; at the poison trade it ends so."""
    for agent, command_id in scene.held():
        command = agent.journal[command_id].command
        agent.begin(command_id)
        if type(command).__name__ == "Verify":
            agent.finish(command_id, result_of(agent, command_id, "repair"))
        elif command.trade_no == poison:  # type: ignore[union-attr]
            agent.finish(command_id, result_of(agent, command_id, outcome, reason=reason))
        else:
            agent.finish(command_id, result_of(agent, command_id, "repaired"))


def test_a_trade_that_crashes_its_fixer_every_time_is_set_aside_and_the_others_go_on(scene: Scene) -> None:
    poison = scene.break_trade()
    others = [scene.break_trade() for _ in range(3)]
    for _ in range(30):
        scene.pass_time(125)
        work(scene, poison, f"{BROKE_OFF}: ZeroDivisionError: in the fixer")
    assert scene.state_of(poison) == "needs_human"
    assert [scene.state_of(one) for one in others] == ["repaired"] * 3
    attempts = scene.stage.rows("SELECT count(*) FROM attempt WHERE outcome = 'unknown'")
    assert attempts == [(CRASH_LIMIT,)]
    ((reason,),) = scene.stage.rows("SELECT reason FROM anomaly WHERE trade_no = :t", t=poison)
    assert reason.startswith("crashed_too_often: internal error: ZeroDivisionError")


def stumbling(code: str, poison: str, where: str) -> Mapping[str, Fixer]:
    """The fixers, but this one raises an error that nobody expects when it is asked of the trade."""
    work: Callable[[Facts], object] = getattr(FIXERS[code], where)

    def stumble(facts: Facts) -> object:
        if facts.trade_no == poison:
            raise ZeroDivisionError("in the fixer")
        return work(facts)

    return {**FIXERS, code: replace(FIXERS[code], **{where: stumble})}


@pytest.fixture
def two(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealScene]:
    """Two trades of one plan, and a real agent."""
    real = RealScene(stage, tmp_path)
    monkeypatch.setitem(CASES["S2"]["before"], "TRD_ID", 999)
    load_case(real.desk, "S2", trade_no=ANOTHER)
    wait_for_days_to_close(real.desk)

    def report(session: WorkSession) -> None:
        group = session.scalars(select(SystemGroup)).one()
        known = {"row_hash": real.desk.row_hash(ANOTHER), "amount_minor": AMOUNT}
        make_anomaly(session, group, trade_no=ANOTHER, fixer_code=real.code, kind="withdraw", **known)

    stage.ask(report)
    yield real
    real.agent.leave()


@pytest.mark.parametrize(("where", "attempts"), [("diagnose", CRASH_LIMIT), ("steps", 1)])
def test_a_real_fixer_that_stumbles_over_a_trade_every_time_leaves_it_to_a_person(
    two: RealScene, where: str, attempts: int
) -> None:
    """One that stumbles when it is asked for its steps breaks each look at the trade off, too."""
    poison = two.trade_no
    two.desk.fixers = stumbling(two.code, poison, where)
    two.kill_both()
    for _ in range(12):
        two.pass_time(125)
    told = two.stage.rows("SELECT trade_no, state, attempts FROM anomaly ORDER BY id")
    assert told == [(poison, "needs_human", attempts), (ANOTHER, "repaired", 1)]
    ((reason,),) = two.stage.rows("SELECT reason FROM anomaly WHERE trade_no = :t", t=poison)
    assert reason == "crashed_too_often: internal error: ZeroDivisionError: in the fixer"
    assert two.effects() == {"postings": 1, "payouts": 1, "rows written": 1}


def test_a_trade_whose_agent_never_comes_back_is_set_aside(scene: Scene) -> None:
    """It kills the whole process: no result, only deadlines that pass."""
    poison = scene.break_trade()
    for _ in range(60):
        scene.pass_time(125)
        for agent, command_id in scene.held():
            agent.begin(command_id)
            if type(agent.journal[command_id].command).__name__ == "Verify":
                agent.finish(command_id, result_of(agent, command_id, "repair"))
            else:
                agent.die(is_noticed=True)
                del agent.journal[command_id]
                agent.connect()
        if scene.state_of(poison) == "needs_human":
            break
    assert scene.state_of(poison) == "needs_human"
    assert scene.stage.rows("SELECT count(*) FROM attempt") == [(CRASH_LIMIT,)]


@pytest.mark.parametrize("outcome", ["unknown", "wait"])
def test_what_only_waits_for_the_bank_is_never_set_aside_as_a_crash(scene: Scene, outcome: str) -> None:
    waiting = scene.break_trade()
    for _ in range(20):
        scene.pass_time(125)
        for agent, command_id in scene.held():
            agent.begin(command_id)
            is_verify = type(agent.journal[command_id].command).__name__ == "Verify"
            said = "repair" if is_verify else outcome
            agent.finish(command_id, result_of(agent, command_id, said, reason="bank"))
    assert scene.state_of(waiting) != "needs_human"
    ((attempts,),) = scene.stage.rows("SELECT count(*) FROM attempt")
    assert attempts > CRASH_LIMIT


def test_a_command_that_ends_its_agent_at_every_start_is_given_up(tmp_path: Path) -> None:
    """The process dies at the same work again and again: at last it is answered without being begun."""
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.receive(repair(1), "boot-1")
    journal.receive(repair(2), "boot-1")
    for _ in range(5):
        journal.start(("command-1", 1))
        journal.take_up()
    journal.start(("command-1", 1))
    journal.close()
    desk = Desk(path, "boot-7")
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(2, sending=2))
    desk.wait(lambda: len(desk.delivered()) == 2)
    poison, other = sorted(desk.delivered(), key=lambda message: str(message.command_id))
    assert isinstance(poison, RepairFinished)
    assert isinstance(other, RepairFinished)
    assert (poison.outcome, poison.money_moved) == ("unknown", True)
    assert poison.reason == f"{BROKE_OFF}: the agent ended 6 times at this command"
    assert other.outcome == "repaired"
    assert desk.work.repaired == [("T00000002", 1, "boot-7")]
    desk.settle()
    desk.leave()


def test_starts_that_began_nothing_give_nothing_up(tmp_path: Path) -> None:
    """A start that only waits for the server is no sign that the work ends the agent."""
    journal = Journal(tmp_path / "journal.db")
    journal.receive(repair(), "boot-1")
    journal.start(("command-1", 1))
    for _ in range(9):
        [entry] = journal.take_up()
    assert entry.starts == 1
    journal.close()


def test_that_work_was_begun_again_outlives_the_next_crash(tmp_path: Path) -> None:
    """A start is usually written with the next change; of work taken up again it is written at once."""
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.receive(repair(), "boot-1")
    journal.close()
    desk = Desk(path, "boot-2")
    desk.work.may_go_on.clear()
    desk.dispatcher.resume()
    desk.dispatcher.handle(repair(sending=2))
    assert desk.work.is_working.wait(20)
    stored = desk.journal._file.rows("SELECT state FROM command")
    assert stored == [("started",)]
    assert not desk.journal._file._deferred
    desk.work.may_go_on.set()
    desk.settle()
    desk.leave()


def test_a_journal_of_an_older_agent_is_brought_up(tmp_path: Path) -> None:
    """It lacks the count of starts and who they were; the older agent can still use what the newer wrote."""
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.receive(repair(), "boot-1")
    for column in ("starts", "taken_up_by"):
        journal._file.connection.execute(f"ALTER TABLE command DROP COLUMN {column}")
    journal.close()
    again = Journal(path)
    (entry,) = again.take_up()
    assert (entry.state, entry.starts, entry.taken_up_by) == ("received", 0, ())
    again.close()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("refused", "another entry holds the leg"),
        ("unknown", "write the trade row: permission denied for this row"),
    ],
)
def test_a_trade_whose_attempts_end_alike_every_time_is_set_aside(
    scene: Scene, outcome: str, reason: str
) -> None:
    poison = scene.break_trade()
    others = [scene.break_trade() for _ in range(3)]
    for _ in range(30):
        scene.pass_time(125)
        work(scene, poison, reason, outcome)
    assert scene.state_of(poison) == "needs_human"
    assert [scene.state_of(one) for one in others] == ["repaired"] * 3
    attempts = scene.stage.rows("SELECT count(*) FROM attempt WHERE outcome = :o", o=outcome)
    assert attempts == [(ALIKE_LIMIT,)]
    ((told,),) = scene.stage.rows("SELECT reason FROM anomaly WHERE trade_no = :t", t=poison)
    assert told == f"ended_alike_too_often: {reason}"


def test_refusals_of_different_kinds_do_not_set_a_trade_aside(scene: Scene) -> None:
    """A row that production keeps changing is refused each time in another way, and is looked at again."""
    busy = scene.break_trade()
    reasons = ["the row has changed since it was reported", "another repair of this trade came between"]
    refused = 0
    for _ in range(40):
        scene.pass_time(125)
        work(scene, busy, reasons[refused % 2], "refused")
        ((refused,),) = scene.stage.rows("SELECT count(*) FROM attempt WHERE outcome = 'refused'")
    assert refused > ALIKE_LIMIT
    assert scene.state_of(busy) in ("open", "repairing")
