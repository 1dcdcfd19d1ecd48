"""The local stop: what a file on the agent's host holds back, and what it lets end."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.__main__ import main
from agent.answers import RepairFinished
from agent.errors import AgentError
from agent.protocol import Rejected, Repair, Verify, encode
from agent.stop_file import NO_REASON, StopFile
from tests.agent.test_commands import Desk as Office
from tests.agent.test_commands import repair
from tests.agent.test_main import CONFIGURATION
from tests.agent.world import Desk, load_case, nothing_was_touched
from tests.fakes.faults import Crash

WHY = "the bank is being changed"
STOPPED = f"stopped on the agent: {WHY}"


# ---- the file


def test_its_content_is_the_reason(tmp_path: Path) -> None:
    file = StopFile(tmp_path / "below" / "stop")
    assert file.reason() is None
    file.set(f"  {WHY}\nsince noon ")
    assert file.reason() == f"{WHY} since noon"
    assert (file.lift(), file.lift(), file.reason()) == (True, False, None)


def test_an_empty_file_stops_too(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    assert StopFile(tmp_path / "stop").reason() == NO_REASON


def test_what_cannot_be_read_is_a_stop(tmp_path: Path) -> None:
    (tmp_path / "stop").mkdir()
    file = StopFile(tmp_path / "stop")
    assert (file.reason() or "").startswith("the stop file cannot be read: ")
    with pytest.raises(AgentError, match="cannot be written"):
        file.set(WHY)


# ---- a repair


class Stop:
    """A stop that a test sets and lifts."""

    def __init__(self, why: str | None = WHY) -> None:
        self.why = why

    def __call__(self) -> str | None:
        return self.why


def test_nothing_begins_and_nothing_is_read() -> None:
    desk = Desk(rules={"stopped": Stop()})
    trade_no, code = load_case(desk, "S2")
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("cancelled", STOPPED, False)
    assert nothing_was_touched(desk, trade_no)
    assert desk.production.faults.calls == ["trades.find_repair"]


def test_a_stop_set_while_facts_are_read_comes_before_the_first_effect() -> None:
    stop = Stop(None)
    desk = Desk(rules={"stopped": stop})
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.on("trades.claim_repair", lambda: setattr(stop, "why", WHY))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("cancelled", STOPPED, False)
    assert desk.production.trades.repairs[trade_no].state == "abandoned"
    assert (desk.production.ledger.entries, desk.production.bank.asked) == ([], [])


def test_once_money_has_moved_it_runs_to_its_end() -> None:
    stop = Stop(None)
    desk = Desk(rules={"stopped": stop})
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.on("bank.pay", lambda: setattr(stop, "why", WHY))
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_a_repair_half_done_waits_and_goes_on_when_the_stop_is_lifted() -> None:
    stop = Stop(None)
    desk = Desk(rules={"stopped": stop})
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("bank.pay", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    stop.why = WHY
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("wait", STOPPED, True)
    assert [step.name for step in report.steps] == ["post_both", "pay"]
    assert desk.production.bank.payments == []
    stop.why = None
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("by", ["stop", "cancel"])
@pytest.mark.parametrize("call", ["trades.claim_repair", "trades.renew_repair"])
def test_a_repair_half_done_that_has_moved_nothing_is_stopped_like_a_new_one(by: str, call: str) -> None:
    stop = Stop(None)
    desk = Desk(rules={"stopped": stop})
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("ledger.post")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()

    def say_so() -> None:
        stop.why, desk.cancellation.is_on = (WHY, False) if by == "stop" else (None, True)

    for minutes, outcome, state in ((1, "wait", "open"), (19, "cancelled", "abandoned")):
        stop.why, desk.cancellation.is_on = None, False
        desk.production.clock.advance(minutes=minutes)
        desk.production.faults.on(call, say_so)
        assert desk.attempt(trade_no, code).outcome == outcome
        assert desk.production.trades.repairs[trade_no].state == state
        desk.production.faults.heal()
    assert (desk.production.ledger.entries, desk.production.bank.asked) == ([], [])
    stop.why, desk.cancellation.is_on = None, False
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("by", ["stop", "cancel"])
def test_a_payout_never_asked_for_is_stopped_like_a_new_one(by: str) -> None:
    stop = Stop(None)
    desk = Desk(rules={"stopped": stop})
    trade_no, code = load_case(desk, "S7b")
    desk.production.faults.down("trades.open_bank_request")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()

    def say_so() -> None:
        stop.why, desk.cancellation.is_on = (WHY, False) if by == "stop" else (None, True)

    desk.production.faults.on("trades.claim_repair", say_so)
    assert (desk.attempt(trade_no, code).outcome, desk.production.bank.asked) == ("wait", [])
    stop.why, desk.cancellation.is_on = None, False
    desk.production.clock.advance(minutes=20)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved, desk.production.bank.asked) == ("cancelled", False, [])
    desk.production.faults.heal()
    stop.why, desk.cancellation.is_on = None, False
    assert desk.attempt(trade_no, code).outcome == "repaired"


# ---- commands


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "journal.db")


def test_a_repair_is_refused_and_a_look_is_not(office: Office, tmp_path: Path) -> None:
    file = StopFile(tmp_path / "stop")
    office.dispatcher._stopped = file.reason
    file.set(WHY)
    office.dispatcher.handle(repair())
    office.dispatcher.handle(Verify(id="frame-v", command_id="look", trade_no="T1"))
    office.wait(lambda: bool(office.delivered()))
    (refused,) = office.said(Rejected)
    assert isinstance(refused, Rejected)
    assert (refused.of, refused.code, refused.reason) == ("frame-1-1-1", "stopped", WHY)
    assert office.journal.find("command-1") is None
    assert (office.dispatcher.hello().stopped, office.dispatcher.heartbeat().stopped) == (WHY, WHY)
    file.lift()
    office.dispatcher.handle(repair())
    office.result(RepairFinished)
    assert office.dispatcher.heartbeat().stopped is None
    office.leave()


def test_hello_names_what_the_agent_can_be_asked(office: Office) -> None:
    assert office.dispatcher.hello().features == ("by_person", "max_amount_minor", "pay_again", "reverse")
    office.leave()


def test_a_repair_nobody_asked_for_carries_no_word_of_a_person() -> None:
    silent = repair()
    assert isinstance(silent, Repair)
    assert b"by_person" not in encode(silent)
    assert b'"by_person":true' in encode(repair(by_person=True))


# ---- the command line


def call(folder: Path, *arguments: str) -> Result:
    file = folder / "agent.toml"
    file.write_text(CONFIGURATION.format(folder=folder))
    return CliRunner().invoke(main, ["--config", str(file), *arguments])


def test_the_command_line_sets_shows_and_lifts_it(tmp_path: Path) -> None:
    done = call(tmp_path, "stop", "--reason", WHY)
    assert (done.exit_code, done.stdout) == (0, f"stopped: {tmp_path}/stop stands\n")
    assert f"STOPPED by {tmp_path}/stop: {WHY}" in call(tmp_path, "check").stdout
    assert call(tmp_path, "start").stdout == f"goes on: {tmp_path}/stop is removed\n"
    assert call(tmp_path, "start").stdout == "was not stopped\n"
    assert f"no; a file {tmp_path}/stop would stop repairs" in call(tmp_path, "check").stdout


def test_a_stop_that_cannot_be_set_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "stop").mkdir()
    done = call(tmp_path, "stop", "--reason", WHY)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [f"agent: {tmp_path}/stop cannot be written: Is a directory"]
