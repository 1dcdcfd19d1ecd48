"""An order whose agent dies, or whose port fails, at every single call: it is gone on with, and acts once."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.decision import decide
from agent.errors import PortError
from agent.fixers.base import read_facts
from agent.unpaid import ACTIONS, Action
from tests.agent.order_schedules import OrderSchedule
from tests.agent.unpaid_trades import load_unpaid, net_postings
from tests.agent.world import AMOUNT, BALANCE, Desk, wait_for_days_to_close
from tests.fakes.faults import Crash, Moment

SHAPES = ("ours", "ours two-step", "processing, leg on row", "failed, both on row")
SEEDS_A_TEST = 100
SHUT_OUT = {
    "pay_again": "paying again has begun and has not finally failed",
    "reverse": "a reversal has begun",
}
LOST = "the reply to the payout was lost, the bank does not de-duplicate"


def interrupted(
    shape: str, action: Action, moment: Moment, error: Exception
) -> Iterator[tuple[Desk, str, str, str]]:
    """The order, interrupted at its first call, its second … until there are no more; with the facts seen."""
    index = 0
    while True:
        index += 1
        desk = Desk()
        trade_no, code = load_unpaid(desk, shape)
        seen = desk.facts_hash(trade_no)
        desk.production.faults.fail_call(index, moment, error)
        with suppress(Crash):
            desk.order(trade_no, code, action, seen=seen)
        if len(desk.production.faults.calls) < index:
            return
        desk.production.faults.heal()
        yield desk, trade_no, code, seen


@pytest.mark.parametrize("goes_on_by", ["the same order", "a repair by its plan first"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [Crash(), PortError("timed out")], ids=["crash", "port error"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_interrupted_anywhere_ends_as_if_it_had_not_been(
    shape: str, action: Action, error: Exception, moment: Moment, goes_on_by: str
) -> None:
    for desk, trade_no, code, seen in interrupted(shape, action, moment, error):
        if goes_on_by != "the same order":
            desk.attempt(trade_no, code)
        desk.order(trade_no, code, action, seen=seen)
        _assert_ended(desk, trade_no, action)


def _assert_ended(desk: Desk, trade_no: str, action: Action) -> None:
    production = desk.production
    facts = read_facts(production.trade(trade_no), production.ports)
    assert decide(facts).outcome == "consistent"
    assert production.trades.repairs[trade_no].state == "done"
    if action == "pay_again":
        assert [each.request_no for each in production.bank.payments] == [f"{trade_no}-P1"]
        assert production.trades.row(trade_no)["TRD_STATUS"] == 8
        assert net_postings(desk, trade_no)["BANK"] == AMOUNT
    else:
        assert (production.bank.payments, production.bank.asked) == ([], [])
        assert production.trades.row(trade_no)["TRD_STATUS"] == 9
        assert (net_postings(desk, trade_no), production.balance(trade_no)) == ({}, BALANCE)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("begun", "asked"), [("pay_again", "reverse"), ("reverse", "pay_again")])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_interrupted_anywhere_shuts_the_other_one_out_once_it_has_begun(
    shape: str, begun: Action, asked: Action, moment: Moment
) -> None:
    for desk, trade_no, code, _ in interrupted(shape, begun, moment, Crash()):
        repair = desk.production.trades.find_repair(trade_no)
        steps = repair.steps if repair else ()
        if repair and repair.state == "done":
            continue
        has_begun = any(step.name.startswith(("pay_again", "reverse_")) for step in steps)
        report = desk.order(trade_no, code, asked)
        if not has_begun:
            assert report.outcome == "repaired"
            _assert_ended(desk, trade_no, asked)
        else:
            assert (report.outcome, report.reason) == ("refused", SHUT_OUT[begun])
            desk.attempt(trade_no, code)
            _assert_ended(desk, trade_no, begun)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_bank_that_does_not_deduplicate_is_asked_once_wherever_the_agent_dies(
    action: Action, moment: Moment
) -> None:
    for desk, trade_no, code, seen in interrupted("ours", action, moment, Crash()):
        desk.production.bank.deduplicates = False
        for _ in range(3):
            desk.order(trade_no, code, action, seen=seen)
            wait_for_days_to_close(desk)
        is_reversed = not net_postings(desk, trade_no)
        assert len(desk.production.bank.asked) <= (action == "pay_again")
        assert not (is_reversed and desk.production.bank.payments)


def test_an_agent_that_wakes_after_its_reversal_was_finished_by_another_reverses_nothing_more() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    ledger, woken = desk.production.ledger, []

    def finish_first() -> None:
        desk.production.faults.heal()
        woken.append(desk.attempt(trade_no, code).outcome)

    desk.production.faults.on("ledger.reverse_entry", finish_first)
    report = desk.order(trade_no, code, "reverse")
    assert (woken, report.outcome, report.reason) == (["repaired"], "refused", "fenced")
    assert len([each for each in ledger.of_trade(trade_no) if each.reverses]) == 1
    _assert_ended(desk, trade_no, "reverse")


@pytest.mark.parametrize("first", range(0, 600, SEEDS_A_TEST))
def test_no_schedule_of_orders_pays_twice_or_pays_what_it_has_given_back(first: int) -> None:
    ends = set()
    for seed in range(first, first + SEEDS_A_TEST):
        schedule = OrderSchedule(seed)
        outcome = schedule.run()[0]
        production, trade_no = schedule.desk.production, schedule.trade_no
        paid = len(schedule.payouts())
        moved = net_postings(schedule.desk, trade_no)
        ends.add((paid, bool(moved)))
        assert paid <= 1, seed
        assert bool(moved) or not paid, seed
        if outcome == "repaired":
            assert moved == (schedule.debit if paid else {}), seed
            assert schedule.verdict() == "consistent", seed
            assert production.trades.row(trade_no)["TRD_STATUS"] == (8 if paid else 9), seed
        else:
            assert schedule.has_odd_failure or schedule.endings[-1][1] == LOST, (seed, schedule.endings[-1])
    assert {(1, True), (0, False)} <= ends


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_order_that_died_behind_its_failed_payout_tells_of_it_and_asks_under_no_other_number(
    moment: Moment,
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.bank.failure_settles_s = 0
    desk.production.bank.replies.append("failed:E1001")
    seen = desk.facts_hash(trade_no)
    desk.production.faults.down("trades.close_repair", moment, Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "pay_again", seen=seen)
    desk.production.faults.heal()
    report = desk.order(trade_no, code, "pay_again", fence=desk.fence)
    assert (report.outcome, report.reason) == ("needs_human", "debited, payout failed")
    assert [(step.name, step.state) for step in report.steps] == [("pay_again", "failed")]
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_is_not_ended_by_the_failed_payout_that_it_goes_on_from(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    seen = desk.facts_hash(trade_no)
    desk.production.faults.down("trades.close_repair", "after", Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, action, seen=seen)
    desk.production.faults.heal()
    assert desk.order(trade_no, code, action, seen=seen, fence=desk.fence).outcome == "repaired"
