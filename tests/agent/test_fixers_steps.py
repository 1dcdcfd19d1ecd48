"""When the steps of a repair are written down: before each effect, and no oftener than that takes."""

import msgspec
import pytest

from agent.errors import StoppedError
from agent.fixers import FIXERS
from agent.fixers.base import RepairOrder, repair
from agent.fixers.plan import FINISH
from agent.records import StepRow
from tests.agent.world import Desk, load_case

WRITES = ("claim_repair", "record_step", "post", "pay", "write_row", "close_repair")


def writes_of(desk: Desk) -> list[str]:
    """What the attempt has written, in order."""
    names = (call.rpartition(".")[2] for call in desk.production.faults.calls)
    return [name for name in names if name in WRITES]


def states_of(desk: Desk, trade_no: str) -> list[tuple[str, str]]:
    standing = desk.production.trades.find_repair(trade_no)
    assert standing is not None
    return [(step.name, step.state) for step in standing.steps]


def stop_at(name: str, desk: Desk, trade_no: str, code: str) -> None:
    """Attempt the trade; the agent leaves as soon as it has told that this step is done."""

    def tell(step: StepRow) -> None:
        if (step.name, step.state) == (name, "done"):
            raise StoppedError

    order = RepairOrder(
        trade_no=trade_no,
        fixer_code=code,
        row_hash=desk.row_hash(trade_no),
        fence=1,
        agent="agent-1",
        boot_id="boot-1",
    )
    with pytest.raises(StoppedError):
        repair(order, desk.production.ports, desk.settings, tell, desk.cancellation)
    desk.fence = 1


def test_an_ended_posting_is_written_down_with_what_comes_next() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert writes_of(desk) == [
        "claim_repair",
        "record_step",
        "post",
        "record_step",
        "write_row",
        "close_repair",
    ]


def test_the_debit_is_written_down_before_the_bank_is_to_be_asked() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    written = writes_of(desk)
    assert written[written.index("post") : written.index("pay") + 1] == [
        "post",
        "record_step",
        "record_step",
        "pay",
    ]


def test_an_agent_that_leaves_behind_the_debit_has_not_asked_the_bank() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    stop_at("post_both", desk, trade_no, code)
    assert states_of(desk, trade_no) == [("post_both", "done")]
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.bank.payments) == 1


def test_an_agent_that_leaves_behind_the_row_reads_back_when_it_returns() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    stop_at("write_row", desk, trade_no, code)
    assert states_of(desk, trade_no)[-2:] == [("write_row", "done"), ("read_back", "intended")]
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.trades.corrections) == 1


def test_all_steps_are_told_as_they_stand_in_productions_table() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    desk.attempt(trade_no, code)
    assert [(step.name, step.state) for step in desk.told] == [
        ("post_first", "intended"),
        ("post_first", "done"),
        ("write_row", "intended"),
        ("write_row", "done"),
        ("read_back", "intended"),
        ("read_back", "done"),
    ]
    assert states_of(desk, trade_no) == [("post_first", "done"), ("write_row", "done"), ("read_back", "done")]


def test_a_plan_that_forgets_to_post_writes_no_success() -> None:
    """Fixers of others bring plans of their own."""
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    desk.fixers = {code: msgspec.structs.replace(FIXERS[code], steps=lambda facts: FINISH)}
    before = desk.production.trades.row(trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "the ledger holds no entry for leg 1")
    assert (desk.production.trades.row(trade_no), desk.production.trades.corrections) == (before, [])
    assert report.money_moved is False
