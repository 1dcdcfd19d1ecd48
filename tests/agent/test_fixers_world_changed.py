"""A payout written down and never asked for, the row or the debit changed since: it is closed, not kept open.

Left open, no order could be given past it, and it would be paid once the world is as it was before.
"""

from collections.abc import Callable

import pytest

from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID
from agent.fixers.reading import IN_FLIGHT, ROW_CHANGED_AFTER_MONEY
from agent.fixers.world import REVERSED
from agent.money import Money
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_places import dies, is_closed_unasked, payout, refused, until_it_is_over
from tests.agent.test_limits_ordered import GOING_ON, SHAPE, gone_on_with, state_of, written_down
from tests.agent.unpaid_trades import OURS
from tests.agent.world import AMOUNT, Desk, numbers

BANKS = pytest.mark.parametrize("deduplicates", [True, False])


def row_of(desk: Desk, trade_no: str) -> dict[str, object]:
    return desk.production.trades._stored(trade_no)[0].row


def annotate(desk: Desk, trade_no: str, text: str = "客户来电") -> None:
    """Production writes something else into the row."""
    row_of(desk, trade_no)["FAILED_MSG"] = text


def take_the_debit_back(desk: Desk, trade_no: str) -> None:
    """People reverse the trade's entries by hand."""
    for entry in list(desk.production.ledger.of_trade(trade_no)):
        desk.production.ledger.reverse(entry.voucher_no)


WORLDS: dict[str, Callable[[Desk, str], None]] = {
    "row changed": annotate,
    "debit taken back": take_the_debit_back,
}
WORLD = pytest.mark.parametrize("world", WORLDS)


def behind_our_debit(*, deduplicates: bool = True) -> tuple[Desk, str, str]:
    """Our own debit, and its payout written down by an agent that died before the bank could be asked."""
    desk, trade_no, code = refused("S2", deduplicates=deduplicates)
    dies(desk, trade_no, code, "trades.open_bank_request")
    return desk, trade_no, code


# ---- an order


@GOING_ON
@WORLD
@SHAPE
@BANKS
def test_an_order_whose_world_has_changed_ends_without_effect(
    shape: str, world: str, by: str, deduplicates: bool
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    desk.production.bank.deduplicates = deduplicates
    WORLDS[world](desk, case[0])
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds() - 1)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", "bank", "open")
    desk.production.clock.advance(seconds=1)
    report = gone_on_with(desk, case, by)
    assert report.outcome in ("needs_human", "refused")
    assert report.money_moved == (shape in OURS and report.outcome == "needs_human")
    assert (desk.production.bank.asked, state_of(desk, case)) == ([], "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"


@GOING_ON
def test_an_order_told_as_ended_is_not_carried_out_once_the_row_is_as_it_was(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    before = row_of(desk, case[0])["FAILED_MSG"]
    annotate(desk, case[0])
    until_it_is_over(desk)
    assert gone_on_with(desk, case, by).outcome == "needs_human"
    annotate(desk, case[0], before)  # type: ignore[arg-type]
    desk.production.clock.advance(hours=30)
    desk.attempt(*case, by_person=True)
    assert (numbers(desk), desk.production.bank.asked) == ([], [])


@pytest.mark.parametrize("action", ACTIONS)
@GOING_ON
def test_another_order_may_be_given_of_the_changed_row(by: str, action: Action) -> None:
    desk = Desk()
    case = written_down(desk)
    annotate(desk, case[0])
    until_it_is_over(desk)
    gone_on_with(desk, case, by)
    assert desk.order(*case, action).outcome == "repaired"
    assert numbers(desk) == ([f"{case[0]}-P1"] if action == "pay_again" else [])


@GOING_ON
@WORLD
def test_an_order_the_bank_knows_stays_open_though_the_world_has_changed(world: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    account = desk.production.trade(case[0]).bank_account_no
    desk.production.bank.pay(f"{case[0]}-P1", Money(AMOUNT), account)
    WORLDS[world](desk, case[0])
    until_it_is_over(desk)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("needs_human", LINE_LOST, "open")
    assert numbers(desk) == [f"{case[0]}-P1"]


@GOING_ON
def test_an_order_waits_while_production_is_at_work_on_the_trade(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    until_it_is_over(desk)
    desk.production.trades._stored(case[0])[0].updated_at = desk.production.clock()
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", IN_FLIGHT, "open")
    until_it_is_over(desk)
    assert gone_on_with(desk, case, by).outcome == "repaired"
    assert numbers(desk) == [f"{case[0]}-P1"]


@GOING_ON
def test_an_order_of_a_row_that_cannot_be_read_is_not_told_as_ended(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    stored, seen = desk.production.trades._stored(case[0])[0], desk.facts_hash(case[0])
    before, stored.amount = stored.amount, "十"
    until_it_is_over(desk)
    is_ordered = by == "the order"
    report = desk.order(*case, "pay_again", seen=seen) if is_ordered else desk.attempt(*case)
    assert (report.outcome, state_of(desk, case)) == ("wait", "open")
    stored.amount = before
    assert gone_on_with(desk, case, by).outcome == "repaired"
    assert numbers(desk) == [f"{case[0]}-P1"]


# ---- behind our own debit


@BANKS
@pytest.mark.parametrize("action", ACTIONS)
def test_behind_our_debit_people_may_order_once_the_row_has_changed(
    action: Action, deduplicates: bool
) -> None:
    desk, trade_no, code = behind_our_debit(deduplicates=deduplicates)
    annotate(desk, trade_no)
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds() - 1)
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert payout(desk, trade_no).state == "intended"
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", ROW_CHANGED_AFTER_MONEY)
    assert is_closed_unasked(desk, trade_no)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", OWN_DEBIT_UNPAID)
    assert desk.order(trade_no, code, action).outcome == "repaired"
    assert numbers(desk) == ([f"{trade_no}-P1"] if action == "pay_again" else [])


@BANKS
def test_behind_our_debit_taken_back_by_hand_nothing_is_in_doubt(deduplicates: bool) -> None:
    desk, trade_no, code = behind_our_debit(deduplicates=deduplicates)
    take_the_debit_back(desk, trade_no)
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", REVERSED)
    assert is_closed_unasked(desk, trade_no)
    row_of(desk, trade_no)["TRD_STATUS"] = 9
    desk.production.clock.advance(hours=1)
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert (numbers(desk), desk.production.bank.asked) == ([], [])


@BANKS
def test_behind_our_debit_a_number_the_bank_knows_stays_open(deduplicates: bool) -> None:
    desk, trade_no, code = behind_our_debit(deduplicates=deduplicates)
    account = desk.production.trade(trade_no).bank_account_no
    desk.production.bank.pay(f"{trade_no}-P1", Money(AMOUNT), account)
    annotate(desk, trade_no)
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert payout(desk, trade_no).state == "intended"
    assert numbers(desk) == [f"{trade_no}-P1"]
