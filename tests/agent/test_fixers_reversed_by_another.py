"""A 冲正 written down whose entry no longer stands: taken back by itself, its reply lost, or by another."""

import pytest

from agent.facts import Leg
from agent.fixers.base import verify
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY
from agent.fixers.reversal_unmade import ANOTHER_ENTRY
from agent.fixers.reversing import PAID_MEANWHILE
from tests.agent.test_fixers_offered import dies, nothing_can_come
from tests.agent.test_fixers_world_changed import BANKS, row_of, take_the_debit_back
from tests.agent.test_fixers_world_reversed import SHAPE, WORLDS, entries, gone_on_with
from tests.agent.test_limits_ordered import GOING_ON, state_of
from tests.agent.test_limits_reversed import written_down
from tests.agent.unpaid_trades import load_unpaid
from tests.agent.world import Desk, numbers


@GOING_ON
@SHAPE
@BANKS
def test_a_debit_taken_back_by_hand_needs_only_its_row(shape: str, by: str, deduplicates: bool) -> None:
    """Left as it is, a plan would debit and pay what people have ordered to be given back."""
    desk = Desk()
    case = written_down(desk, shape)
    desk.production.bank.deduplicates = deduplicates
    seen, paid = desk.facts_hash(case[0]), numbers(desk)
    take_the_debit_back(desk, case[0])
    before = entries(desk, case[0])
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.is_confirmed_failed) == ("repaired", True)
    assert (entries(desk, case[0]), numbers(desk)) == (before, paid)
    desk.production.clock.advance(hours=1)
    assert verify(case[0], desk.production.ports, desk.settings).outcome == "consistent"


@GOING_ON
@pytest.mark.parametrize("world", ["row changed", "paid meanwhile"])
@SHAPE
def test_a_debit_taken_back_by_hand_in_another_world_ends_without_effect(
    shape: str, world: str, by: str
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    seen = desk.facts_hash(case[0])
    take_the_debit_back(desk, case[0])
    WORLDS[world](desk, case[0])
    before = entries(desk, case[0])
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by, seen)
    assert report.outcome in ("refused", "needs_human")
    assert (state_of(desk, case), desk.production.trades.corrections) == ("abandoned", [])
    assert entries(desk, case[0]) == before


@GOING_ON
@SHAPE
def test_a_trade_settled_by_hand_is_told_as_consistent(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    seen = desk.facts_hash(case[0])
    take_the_debit_back(desk, case[0])
    cells = {f"{leg}_TRD_NUM": None for leg in ("ACC", "E_ACC")}
    booked = {f"{leg}_TRD_STATUS": 0 for leg in ("ACC", "E_ACC")}
    row_of(desk, case[0]).update(TRD_STATUS=9, FAILED_MSG="人工退回", **cells, **booked)
    nothing_can_come(desk)
    assert gone_on_with(desk, case, by, seen).outcome == "already_consistent"
    assert state_of(desk, case) == "abandoned"


@GOING_ON
@pytest.mark.parametrize("world", ["row changed", "paid meanwhile", "row malformed"])
def test_a_reversal_whose_reply_was_lost_is_never_closed_as_if_it_had_not_been(world: str, by: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "reverse", "ledger.reverse_entry", "after")
    seen = desk.facts_hash(trade_no)
    WORLDS[world](desk, trade_no)
    nothing_can_come(desk)
    report = gone_on_with(desk, (trade_no, code), by, seen)
    assert (report.outcome, report.money_moved) == ("needs_human", True)
    assert state_of(desk, (trade_no, code)) == "open"
    assert desk.production.trades.corrections == []
    why = {"row changed": ROW_CHANGED_AFTER_MONEY, "paid meanwhile": PAID_MEANWHILE}
    assert why.get(world, report.reason) == report.reason
    assert desk.order(trade_no, code, "pay_again", seen=seen).outcome == "refused"


@GOING_ON
def test_a_debit_posted_anew_is_not_taken_back_by_an_order_of_the_former(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    seen = desk.facts_hash(case[0])
    take_the_debit_back(desk, case[0])
    desk.production.book(case[0], Leg.BOTH)
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.reason, state_of(desk, case)) == (
        "needs_human",
        ANOTHER_ENTRY,
        "abandoned",
    )
    assert desk.order(*case, "reverse").outcome == "repaired"
