"""A 冲正 that was written down and has taken nothing back keeps to the limits and to a cancel."""

from datetime import timedelta
from typing import Any

import pytest

from agent.fixers.attempt import STILL_COMING, STOOD_STILL
from agent.fixers.base import RepairReport, verify
from agent.fixers.limits import OVER_HOUR, OVER_TRADE
from agent.fixers.order import Limits
from agent.fixers.unmoved import ORDER_TOO_OLD
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_offered import dies, nothing_can_come
from tests.agent.test_limits import recharge
from tests.agent.test_limits_ordered import CANCELLED, CASE, GOING_ON, SHAPE, limit, state_of
from tests.agent.unpaid_trades import OURS, load_unpaid, net_postings
from tests.agent.world import AMOUNT, Desk, numbers
from tests.fakes.faults import Crash


def written_down(desk: Desk, shape: str = "processing") -> CASE:
    """A trade whose 冲正 was written down by an agent that died before it could reach the ledger."""
    trade_no, code = load_unpaid(desk, shape)
    dies(desk, trade_no, code, "reverse", "ledger.reverse_entry")
    return trade_no, code


def gone_on_with(desk: Desk, case: CASE, by: str) -> RepairReport:
    return desk.order(*case, "reverse") if by == "the order" else desk.attempt(*case)


# ---- held back


@GOING_ON
@SHAPE
@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"max_amount_minor": {"CNY": AMOUNT - 1}}, OVER_TRADE), ({"max_trades_per_hour": 0}, OVER_HOUR)],
    ids=["amount", "count"],
)
def test_a_reversal_that_is_yet_to_be_made_is_held_back_by_limits(
    limits: dict[str, Any], reason: str, shape: str, by: str
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    before = net_postings(desk, case[0])
    limit(desk, **limits)
    desk.production.clock.advance(minutes=19)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", STILL_COMING, "open")
    desk.production.clock.advance(minutes=1)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", reason, shape in OURS)
    assert (net_postings(desk, case[0]), state_of(desk, case)) == (before, "abandoned")


@GOING_ON
@SHAPE
def test_a_reversal_that_is_yet_to_be_made_is_cancelled_and_not_made_any_more(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    before = net_postings(desk, case[0])
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, report.money_moved) == ("cancelled", CANCELLED, False)
    desk.cancellation.is_on = False
    assert desk.attempt(*case).outcome == "needs_human"
    assert (net_postings(desk, case[0]), state_of(desk, case)) == (before, "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).outcome == "human"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", ["ours", "processing"])
def test_another_order_may_be_given_of_a_reversal_that_was_held_back(shape: str, action: Action) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    limit(desk, max_trades_per_hour=0)
    nothing_can_come(desk)
    assert desk.attempt(*case).reason == OVER_HOUR
    desk.rules = {}
    assert desk.order(*case, action).outcome == "repaired"
    assert len(numbers(desk)) == (action == "pay_again")
    assert bool(net_postings(desk, case[0])) == (action == "pay_again")


@GOING_ON
def test_a_reversal_counts_in_the_hour_in_which_it_is_made(by: str) -> None:
    desk = Desk()
    limit(desk, max_trades_per_hour=1)
    case = written_down(desk)
    desk.production.clock.advance(hours=5)
    assert gone_on_with(desk, case, by).outcome == "repaired"
    assert desk.attempt(*recharge(desk, 1)).reason == OVER_HOUR


@GOING_ON
def test_a_reversal_is_given_up_while_the_hour_is_full(by: str) -> None:
    desk = Desk()
    limit(desk, max_trades_per_hour=1)
    case = written_down(desk)
    before = net_postings(desk, case[0])
    desk.production.clock.advance(hours=5)
    assert desk.attempt(*recharge(desk, 1)).outcome == "repaired"
    report = gone_on_with(desk, case, by)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", OVER_HOUR, "abandoned")
    assert net_postings(desk, case[0]) == before


# ---- gone on with


def test_people_reverse_a_trade_of_any_age_whoever_goes_on_with_it() -> None:
    desk = Desk()
    case = written_down(desk)
    desk.rules = {"max_age": timedelta(hours=1)}
    desk.production.clock.advance(hours=2)
    assert desk.attempt(*case).outcome == "repaired"
    assert net_postings(desk, case[0]) == {}


def test_a_reversal_ordered_half_a_day_ago_is_not_made_unless_people_order_it_again() -> None:
    desk = Desk()
    case = written_down(desk)
    before = net_postings(desk, case[0])
    desk.production.clock.advance(hours=13)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("refused", ORDER_TOO_OLD, "abandoned")
    assert net_postings(desk, case[0]) == before
    assert desk.order(*case, "reverse").outcome == "repaired"


@GOING_ON
def test_a_reversal_that_has_reached_the_ledger_goes_on_over_every_limit(by: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "reverse", "ledger.reverse_entry", "after")
    limit(desk, max_trades_per_hour=0, max_amount_minor={"CNY": 1})
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    assert gone_on_with(desk, (trade_no, code), by).outcome == "repaired"
    assert net_postings(desk, trade_no) == {}


@GOING_ON
def test_a_reversal_half_made_goes_on_over_every_limit(by: str) -> None:
    """Its first entry was taken back; of the second it was only written down."""
    desk = Desk()
    trade_no, code = load_unpaid(desk, "failed, both on row")
    faults = desk.production.faults

    def die_at_the_second() -> None:
        if faults.calls.count("ledger.reverse_entry") == 2:
            faults.down("ledger.reverse_entry", "before", Crash())

    faults.on("ledger.reverse_entry", die_at_the_second)
    with pytest.raises(Crash):
        desk.order(trade_no, code, "reverse")
    desk.production.faults.heal()
    assert [step.state for step in desk.told] == ["intended", "done", "intended"]
    limit(desk, max_trades_per_hour=0, max_amount_minor={"CNY": 1})
    desk.cancellation.is_on = True
    nothing_can_come(desk)
    assert gone_on_with(desk, (trade_no, code), by).outcome == "repaired"
    assert net_postings(desk, trade_no) == {}


# ---- not given up in doubt


def test_a_reversal_given_up_is_not_made_by_who_had_written_it_down() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    before = net_postings(desk, trade_no)
    newer = Desk(production=desk.production, rules={"limits": Limits(max_trades_per_hour=0)})

    def give_up() -> None:
        desk.production.faults.heal()
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "wait"
        nothing_can_come(desk)
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "needs_human"

    desk.production.faults.on("ledger.reverse_entry", give_up)
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.reason) == ("unknown", STOOD_STILL)
    assert (net_postings(desk, trade_no), state_of(desk, (trade_no, code))) == (before, "abandoned")


def test_a_look_too_old_to_find_out_what_became_of_it_is_told_as_unknown() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.faults.down("ledger.reverse_entry", "after", Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "reverse")
    desk.production.faults.heal()
    desk.production.faults.on("bank.facts", lambda: desk.production.clock.advance(minutes=6))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("unknown", STOOD_STILL, True)
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).outcome == "repaired"
