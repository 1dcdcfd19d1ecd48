"""A 冲正 written down that has taken nothing back, the row or the bank's word another since: it is closed.

Left open, no other order could be given, and it would be made once the world is as it was before.
"""

from collections.abc import Callable, Mapping, Sequence

import pytest

from agent.facts import Leg, LegFact, LegState
from agent.fixers.attempt import MAY_STILL_COME, STILL_COMING
from agent.fixers.base import RepairReport, verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.reading import IN_FLIGHT
from agent.fixers.reversal_unmade import ANOTHER_ENTRY
from agent.records import Reversal, Trade
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_lost_lines import pays
from tests.agent.test_fixers_offered import nothing_can_come
from tests.agent.test_fixers_world_changed import BANKS, annotate, row_of
from tests.agent.test_limits_ordered import CASE, GOING_ON, state_of
from tests.agent.test_limits_reversed import written_down
from tests.agent.unpaid_trades import OURS, SHAPES, load_unpaid, net_postings
from tests.agent.world import AMOUNT, Desk, numbers
from tests.fakes.faults import Moment

SHAPE = pytest.mark.parametrize("shape", SHAPES)
World = Callable[[Desk, str], None]


def another_amount(desk: Desk, trade_no: str) -> None:
    """Production writes another amount into the row, which the entry no longer fits."""
    desk.production.trades._stored(trade_no)[0].amount = AMOUNT + 1


def malformed(desk: Desk, trade_no: str) -> None:
    desk.production.trades._stored(trade_no)[0].amount = "十"


def paid_after_all(desk: Desk, trade_no: str) -> None:
    """The bank pays a number that it had failed."""
    newest = max(desk.production.trades.requests, key=lambda each: each.seq)
    desk.production.bank.settle(newest.request_no, "success")


def refused_no_more(desk: Desk, trade_no: str) -> None:
    """The bank has never heard of a number that it had failed: it may still arrive, and be paid."""
    desk.production.request(trade_no, None, None, seq=5, request_no=f"{trade_no}-5")
    desk.production.clock.advance(days=2)
    desk.production.bank.closed_until = desk.production.clock()


WORLDS: dict[str, World] = {
    "row changed": annotate,
    "amount changed": another_amount,
    "row malformed": malformed,
    "paid meanwhile": paid_after_all,
    "a lost number known": pays,
}
WORLD = pytest.mark.parametrize("world", WORLDS)
UNREADABLE = ("amount changed", "row malformed")


def gone_on_with(desk: Desk, case: CASE, by: str, seen: str) -> RepairReport:
    """The order itself, given on what people saw, or an attempt of the trade's plan."""
    return desk.order(*case, "reverse", seen=seen) if by == "the order" else desk.attempt(*case)


def entries(desk: Desk, trade_no: str) -> list[str]:
    return [each.voucher_no for each in desk.production.ledger.of_trade(trade_no)]


# ---- the entry stands


@GOING_ON
@WORLD
@SHAPE
@BANKS
def test_a_reversal_whose_world_has_changed_ends_without_effect(
    shape: str, world: str, by: str, deduplicates: bool
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    desk.production.bank.deduplicates = deduplicates
    seen, before = desk.facts_hash(case[0]), entries(desk, case[0])
    WORLDS[world](desk, case[0])
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds() - 1)
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", STILL_COMING, "open")
    desk.production.clock.advance(seconds=1)
    report = gone_on_with(desk, case, by, seen)
    assert report.outcome in ("needs_human", "refused")
    is_told = shape in OURS and report.outcome == "needs_human"
    assert (report.money_moved, state_of(desk, case)) == (is_told, "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"
    assert (entries(desk, case[0]), desk.production.trades.corrections) == (before, [])


@GOING_ON
@WORLD
@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_that_cannot_be_closed_is_not_told_as_ended(moment: Moment, world: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, "ours")
    seen = desk.facts_hash(case[0])
    WORLDS[world](desk, case[0])
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
    desk.production.faults.down("trades.close_repair", moment)
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.money_moved) == ("unknown", True)


@GOING_ON
@pytest.mark.parametrize("world", ["row changed", *UNREADABLE])
@SHAPE
def test_a_reversal_told_as_ended_is_not_made_once_the_row_is_as_it_was(
    shape: str, world: str, by: str
) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    seen, before = desk.facts_hash(case[0]), entries(desk, case[0])
    kept = desk.production.trades._stored(case[0])[0]
    cells, amount = dict(kept.row), kept.amount
    WORLDS[world](desk, case[0])
    nothing_can_come(desk)
    assert gone_on_with(desk, case, by, seen).outcome in ("needs_human", "refused")
    kept.row, kept.amount = cells, amount
    for hours in (0, 30):
        desk.production.clock.advance(hours=hours)
        assert desk.attempt(*case, by_person=True).outcome != "repaired"
    assert (entries(desk, case[0]), desk.production.bank.asked) == (before, [])


@pytest.mark.parametrize("action", ACTIONS)
@GOING_ON
@SHAPE
def test_another_order_may_be_given_of_the_changed_row(shape: str, by: str, action: Action) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    seen, paid = desk.facts_hash(case[0]), numbers(desk)
    annotate(desk, case[0])
    nothing_can_come(desk)
    gone_on_with(desk, case, by, seen)
    assert desk.order(*case, action).outcome == "repaired"
    assert len(numbers(desk)) - len(paid) == (action == "pay_again")
    assert bool(net_postings(desk, case[0])) == (action == "pay_again")


@GOING_ON
@pytest.mark.parametrize("shape", ["processing", "processing two-step"])
def test_a_trade_the_bank_has_paid_meanwhile_is_repaired_as_paid(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    seen = desk.facts_hash(case[0])
    paid_after_all(desk, case[0])
    assert verify(case[0], desk.production.ports, desk.settings).outcome == "resume"
    nothing_can_come(desk)
    assert gone_on_with(desk, case, by, seen).outcome == "refused"
    assert desk.attempt(*case).outcome == "repaired"
    assert net_postings(desk, case[0])["BANK"] == AMOUNT


@GOING_ON
def test_a_number_the_bank_has_only_never_found_ends_it(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    seen = desk.facts_hash(case[0])
    refused_no_more(desk, case[0])
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, state_of(desk, case)) == ("refused", "abandoned")
    assert desk.order(*case, "reverse").outcome == "refused"
    assert net_postings(desk, case[0]) != {}


@GOING_ON
@BANKS
def test_behind_a_number_the_bank_knows_nobody_gives_the_money_back(by: str, deduplicates: bool) -> None:
    desk = Desk()
    case = written_down(desk)
    desk.production.bank.deduplicates = deduplicates
    seen = desk.facts_hash(case[0])
    pays(desk, case[0])
    nothing_can_come(desk)
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("needs_human", LINE_LOST, "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).reason == LINE_LOST
    assert desk.order(*case, "reverse").reason == LINE_LOST
    assert net_postings(desk, case[0]) != {}


# ---- not said yet


@GOING_ON
@SHAPE
def test_a_reversal_waits_while_production_is_at_work_on_the_trade(shape: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    nothing_can_come(desk)
    desk.production.trades._stored(case[0])[0].updated_at = desk.production.clock()
    report = gone_on_with(desk, case, by, "")
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", IN_FLIGHT, "open")
    desk.production.clock.advance(minutes=10)
    assert gone_on_with(desk, case, by, "").outcome == "repaired"
    assert net_postings(desk, case[0]) == {}


@GOING_ON
def test_of_a_malformed_row_too_production_may_be_at_work(by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    seen = desk.facts_hash(case[0])
    nothing_can_come(desk)
    malformed(desk, case[0])
    desk.production.trades._stored(case[0])[0].updated_at = desk.production.clock()
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", IN_FLIGHT, "open")


@GOING_ON
@pytest.mark.parametrize("world", ["row changed", "row malformed"])
def test_a_ledger_that_does_not_answer_is_waited_for(world: str, by: str) -> None:
    desk = Desk()
    case = written_down(desk)
    seen = desk.facts_hash(case[0])
    WORLDS[world](desk, case[0])
    nothing_can_come(desk)
    desk.production.ledger.unreadable.add(case[0])
    report = gone_on_with(desk, case, by, seen)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", "ledger", "open")
    desk.production.ledger.unreadable.clear()
    gone_on_with(desk, case, by, seen)
    assert state_of(desk, case) == "abandoned"


def test_a_change_that_is_seen_just_before_the_entry_is_taken_back_ends_it_too() -> None:
    """What is gone on with at once may still be sent by who had written it down: only later is it closed."""
    desk = Desk()
    case = written_down(desk)
    before = row_of(desk, case[0])["FAILED_MSG"]
    desk.production.faults.on("trades.renew_repair", lambda: annotate(desk, case[0]))
    desk.production.clock.advance(minutes=10)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("wait", STILL_COMING, "open")
    nothing_can_come(desk)
    assert desk.attempt(*case).outcome == "refused"
    annotate(desk, case[0], before)  # type: ignore[arg-type]
    assert desk.attempt(*case).outcome == "needs_human"
    assert net_postings(desk, case[0]) != {}


@pytest.mark.parametrize("shape", ["processing two-step", "failed, half posted", "processing, leg on row"])
def test_the_debit_is_not_taken_back_beside_a_second_leg_that_production_has_posted_since(shape: str) -> None:
    desk = Desk()
    case = written_down(desk, shape)
    desk.production.book(case[0], Leg.SECOND)
    before = net_postings(desk, case[0])
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", ANOTHER_ENTRY, False)
    assert (net_postings(desk, case[0]), state_of(desk, case)) == (before, "abandoned")
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"


@pytest.mark.parametrize("look", ["as it is taken over", "behind that"])
@pytest.mark.parametrize("shape", ["processing", "failed, half posted"])
def test_an_entry_that_a_stale_read_of_the_ledger_leaves_out_is_not_taken_back_beside_a_payout(
    shape: str, look: str
) -> None:
    """The ledger is only asked whether it was taken back already; by then the bank has paid."""
    desk = Desk()
    case = written_down(desk, shape)
    before, legs, looks = net_postings(desk, case[0]), desk.production.ledger.legs, list[int]()

    def stale_once(trades: Sequence[Trade]) -> Mapping[str, tuple[LegFact, LegFact | None]]:
        looks.append(1)
        if len(looks) != (1 if look == "as it is taken over" else 2):
            return legs(trades)
        paid_after_all(desk, case[0])
        return {each.trade_no: (LegFact(LegState.NONE), LegFact(LegState.NONE)) for each in trades}

    desk.production.ledger.legs = stale_once  # type: ignore[method-assign]
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
    assert desk.attempt(*case).outcome in ("wait", "refused", "needs_human")
    assert desk.attempt(*case).outcome != "repaired"
    assert net_postings(desk, case[0]) == before


def test_a_read_older_than_its_own_first_entry_is_waited_out() -> None:
    desk = Desk()
    case = load_unpaid(desk, "failed, both on row")
    ledger = desk.production.ledger
    legs, reverse = ledger.legs, ledger.reverse_entry
    kept: list[Mapping[str, tuple[LegFact, LegFact | None]]] = []

    def reverse_then(reversal: Reversal) -> str:
        if not kept:
            kept.append(legs([desk.production.trade(case[0])]))
            ledger.legs = lambda trades: kept[0]  # type: ignore[method-assign]
        return reverse(reversal)

    ledger.reverse_entry = reverse_then  # type: ignore[method-assign]
    report = desk.order(*case, "reverse")
    assert (report.outcome, report.reason) == ("wait", "ledger")
    ledger.legs = legs  # type: ignore[method-assign]
    assert desk.attempt(*case).outcome == "repaired"
    assert net_postings(desk, case[0]) == {}
