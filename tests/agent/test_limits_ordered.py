"""An ordered payout that nobody was let ask for keeps to the agent's limits when it is gone on with."""

from datetime import timedelta
from typing import Any

import pytest

from agent.fixers.base import RepairReport, verify
from agent.fixers.limits import OVER_HOUR, OVER_TRADE
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.order import Limits
from agent.fixers.unmoved import ORDER_TOO_OLD
from agent.money import Money
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_offered import dies, nothing_can_come
from tests.agent.test_limits import recharge
from tests.agent.unpaid_trades import OURS, load_unpaid
from tests.agent.world import AMOUNT, Desk, numbers
from tests.fakes.faults import Moment

CASE = tuple[str, str]
GOING_ON = pytest.mark.parametrize("by", ["the order", "its plan"])
SHAPES = ("ours", "processing", "processing two-step", "success, both on row")
SHAPE = pytest.mark.parametrize("shape", SHAPES)
CANCELLED = "cancelled before the first effect"


def written_down(desk: Desk, shape: str = "processing") -> CASE:
    """A trade whose 再付 was written down by an agent that died before it could have the bank asked."""
    trade_no, code = load_unpaid(desk, shape)
    dies(desk, trade_no, code, "pay_again", "trades.open_bank_request")
    return trade_no, code


def gone_on_with(desk: Desk, case: CASE, by: str) -> RepairReport:
    return desk.order(*case, "pay_again") if by == "the order" else desk.attempt(*case)


def limit(desk: Desk, **limits: Any) -> None:
    desk.rules = {"limits": Limits(**limits)}


def state_of(desk: Desk, case: CASE) -> str:
    return desk.production.trades.repairs[case[0]].state


# ---- held back


@GOING_ON
@SHAPE
@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_amount_minor": {"CNY": AMOUNT - 1}}, OVER_TRADE), ({"max_trades_per_hour": 0}, OVER_HOUR)],
    ids=["amount", "count"],
)
def test_an_order_that_is_yet_to_be_asked_for_is_held_back_by_limits(
    limits: dict[str, Any], reason: str, shape: str, by: str
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    limit(desk, **limits)
    desk.production.clock.advance(minutes=19)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", "bank", "open")
    desk.production.clock.advance(minutes=1)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", reason, shape in OURS)
    assert (desk.production.bank.asked, state_of(desk, case)) == ([], "abandoned")


@GOING_ON
@SHAPE
def test_an_order_that_is_yet_to_be_asked_for_is_cancelled_and_pays_no_more(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, report.money_moved) == ("cancelled", CANCELLED, False)
    assert (desk.production.bank.asked, state_of(desk, case)) == ([], "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"


@GOING_ON
@SHAPE
def test_an_order_that_cannot_be_closed_is_not_told_as_ended(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    desk.production.faults.down("trades.close_repair")
    report = gone_on_with(desk, case, by)
    desk.production.faults.heal()
    assert (report.outcome, report.money_moved, state_of(desk, case)) == ("unknown", True, "open")
    assert gone_on_with(desk, case, by).reason == CANCELLED
    desk.cancellation.is_on = False
    desk.attempt(*case, by_person=True)
    assert (desk.production.bank.asked, state_of(desk, case)) == ([], "abandoned")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", ["ours", "processing"])
def test_another_order_may_be_given_of_one_that_was_held_back(shape: str, action: Action) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    limit(desk, max_trades_per_hour=0)
    nothing_can_come(desk)
    assert desk.attempt(*case).reason == OVER_HOUR
    desk.rules = {}
    assert desk.attempt(*case).outcome == "needs_human"
    assert desk.order(*case, action).outcome == "repaired"
    assert len(numbers(desk)) == (action == "pay_again")


@GOING_ON
def test_it_counts_in_the_hour_in_which_it_is_paid(by: str) -> None:
    desk = Desk()
    limit(desk, max_trades_per_hour=1)
    case = written_down(desk)
    desk.production.clock.advance(hours=5)
    assert gone_on_with(desk, case, by).outcome == "repaired"
    assert desk.attempt(*recharge(desk, 1)).reason == OVER_HOUR


@GOING_ON
def test_it_waits_while_the_hour_is_full(by: str) -> None:
    desk = Desk()
    limit(desk, max_trades_per_hour=1)
    case = written_down(desk)
    desk.production.clock.advance(hours=5)
    assert desk.attempt(*recharge(desk, 1)).outcome == "repaired"
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", OVER_HOUR, "abandoned")
    assert desk.production.bank.asked == []


# ---- gone on with


def test_people_order_of_a_trade_of_any_age_whoever_goes_on_with_it() -> None:
    desk = Desk()
    case = written_down(desk)
    desk.rules = {"max_age": timedelta(hours=1)}
    desk.production.clock.advance(hours=2)
    assert desk.attempt(*case).outcome == "repaired"
    assert numbers(desk) == [f"{case[0]}-P1"]


def test_a_payout_ordered_half_a_day_ago_is_not_made_unless_people_order_it_again() -> None:
    """It may have been told as ended, and the trade settled by hand since."""
    desk = Desk()
    case = written_down(desk)
    desk.production.clock.advance(hours=13)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("refused", ORDER_TOO_OLD, "abandoned")
    assert desk.production.bank.asked == []
    assert desk.order(*case, "pay_again").outcome == "repaired"


def test_one_that_people_order_again_goes_on_however_old_it_is() -> None:
    desk = Desk()
    case = written_down(desk)
    desk.production.clock.advance(days=3)
    assert desk.order(*case, "pay_again").outcome == "repaired"
    assert numbers(desk) == [f"{case[0]}-P1"]


@GOING_ON
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_order_the_bank_may_have_been_asked_for_goes_on_over_every_limit(moment: Moment, by: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "pay_again", "bank.pay", moment)
    limit(desk, max_trades_per_hour=0, max_amount_minor={"CNY": 1})
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    assert gone_on_with(desk, (trade_no, code), by).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


@GOING_ON
def test_what_the_bank_has_paid_meanwhile_is_written_down_over_every_limit(by: str) -> None:
    desk = Desk()
    case = written_down(desk, "processing two-step")
    desk.production.request(case[0], "success", None, seq=2, request_no=f"{case[0]}-2")
    limit(desk, max_trades_per_hour=0, max_amount_minor={"CNY": 1})
    desk.cancellation.is_on = True
    assert gone_on_with(desk, case, by).outcome == "repaired"
    assert desk.production.bank.asked == []


# ---- not given up in doubt


@GOING_ON
@pytest.mark.parametrize("deduplicates", [True, False])
@pytest.mark.parametrize("held_by", ["limit", "cancel"])
def test_an_order_the_bank_knows_is_not_given_up_though_production_lost_that_it_was_asked_for(
    held_by: str, deduplicates: bool, by: str
) -> None:
    desk = Desk()
    desk.production.bank.deduplicates = deduplicates
    case = written_down(desk)
    account = desk.production.trade(case[0]).bank_account_no
    desk.production.bank.pay(f"{case[0]}-P1", Money(AMOUNT), account)
    if held_by == "limit":
        limit(desk, max_trades_per_hour=0)
    desk.cancellation.is_on = held_by == "cancel"
    for minutes, end in ((19, ("wait", "bank")), (1, ("needs_human", LINE_LOST))):
        desk.production.clock.advance(minutes=minutes)
        report = gone_on_with(desk, case, by)
        assert (report.outcome, report.reason, state_of(desk, case)) == (*end, "open")
    assert numbers(desk) == [f"{case[0]}-P1"]


@GOING_ON
def test_an_order_is_not_given_up_while_the_bank_has_a_request_in_hand(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    desk.production.request(case[0], "accepted", None, seq=2, request_no=f"{case[0]}-2")
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", "bank", "open")


def test_an_order_given_up_unasked_is_not_asked_for_by_who_had_written_it_down() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    newer = Desk(production=desk.production, rules={"limits": Limits(max_trades_per_hour=0)})

    def give_up() -> None:
        desk.production.faults.heal()
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "wait"
        nothing_can_come(desk)
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "needs_human"

    desk.production.faults.on("trades.open_bank_request", give_up)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.reason) == ("refused", "fenced")
    assert (desk.production.bank.asked, state_of(desk, (trade_no, code))) == ([], "abandoned")
