"""A payout written down and never asked for, at a bank that does not de-duplicate: it is closed."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID
from agent.fixers.payout_unasked import KNOWN_ALREADY, NEVER_ASKED
from agent.money import Money
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_places import (
    CASES,
    OF_PRODUCTION,
    dies,
    is_closed_unasked,
    payout,
    refused,
    settled_by_people,
    until_it_is_over,
)
from tests.agent.unpaid_trades import load_unpaid, net_postings
from tests.agent.world import AMOUNT, Desk, may_have_been_asked, numbers
from tests.fakes.faults import Crash, Moment

HICCUPS = ("ledger.legs", "bank.facts", "trades.find", "trades.open_bank_request")


def written_down(case_id: str) -> tuple[Desk, str, str]:
    """The case, its next number written down by an agent that died before it could have the bank asked."""
    desk, trade_no, code = refused(case_id, deduplicates=False)
    dies(desk, trade_no, code, "trades.open_bank_request")
    return desk, trade_no, code


def ordered_and_written_down() -> tuple[Desk, str, str]:
    """A trade production has debited, whose 再付 ended before the bank could be asked."""
    desk = Desk()
    desk.production.bank.deduplicates = False
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.faults.down("trades.open_bank_request")
    assert desk.order(trade_no, code, "pay_again").outcome == "unknown"
    desk.production.faults.heal()
    return desk, trade_no, code


# ---- the way out


@pytest.mark.parametrize("call", HICCUPS)
@pytest.mark.parametrize("action", ACTIONS)
def test_one_hiccup_behind_our_debit_leaves_it_to_people(call: str, action: Action) -> None:
    desk, trade_no, code = refused("S2", deduplicates=False)
    desk.production.faults.on("ledger.post", lambda: desk.production.faults.down(call))
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", OWN_DEBIT_UNPAID)
    assert is_closed_unasked(desk, trade_no)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", OWN_DEBIT_UNPAID)
    assert desk.order(trade_no, code, action).outcome == "repaired"
    assert numbers(desk) == ([f"{trade_no}-P1"] if action == "pay_again" else [])


@pytest.mark.parametrize("case_id", OF_PRODUCTION)
def test_a_trade_that_production_debited_is_released_and_repaired_anew(case_id: str) -> None:
    desk, trade_no, code = written_down(case_id)
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", NEVER_ASKED, False)
    assert is_closed_unasked(desk, trade_no)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == desk.production.bank.asked == [f"{trade_no}-P1"]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_never_asked_for_has_no_effect_and_another_may_be_given(action: Action) -> None:
    desk, trade_no, code = ordered_and_written_down()
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", NEVER_ASKED, False)
    assert desk.order(trade_no, code, action).outcome == "repaired"
    assert numbers(desk) == ([f"{trade_no}-P1"] if action == "pay_again" else [])


# ---- what may not be passed over


@pytest.mark.parametrize("case_id", CASES)
def test_it_waits_while_the_call_may_still_be_under_way(case_id: str) -> None:
    desk, trade_no, code = written_down(case_id)
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds() - 60)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert payout(desk, trade_no).state == "intended"
    assert desk.order(trade_no, code, "reverse").outcome == "refused"
    desk.production.clock.advance(minutes=1)
    desk.attempt(trade_no, code)
    assert is_closed_unasked(desk, trade_no)


@pytest.mark.parametrize("case_id", CASES)
def test_a_number_the_bank_knows_is_not_closed_though_production_lost_that_it_was_asked_for(
    case_id: str,
) -> None:
    desk, trade_no, code = written_down(case_id)
    account = desk.production.trade(trade_no).bank_account_no
    desk.production.bank.pay(f"{trade_no}-P1", Money(AMOUNT), account)
    for _ in range(3):
        until_it_is_over(desk)
        report = desk.attempt(trade_no, code)
        assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
        assert payout(desk, trade_no).state == "intended"
        assert desk.order(trade_no, code, "pay_again").outcome == "refused"
    assert numbers(desk) == [f"{trade_no}-P1"]


@pytest.mark.parametrize(("action", "reason"), [("pay_again", KNOWN_ALREADY), ("reverse", LINE_LOST)])
def test_a_number_the_bank_comes_to_know_once_it_was_closed_is_neither_asked_for_again_nor_reversed(
    action: Action, reason: str
) -> None:
    desk, trade_no, code = written_down("S2")
    until_it_is_over(desk)
    assert desk.attempt(trade_no, code).reason == OWN_DEBIT_UNPAID
    account = desk.production.trade(trade_no).bank_account_no
    desk.production.bank.pay(f"{trade_no}-P1", Money(AMOUNT), account)
    before = net_postings(desk, trade_no)
    report = desk.order(trade_no, code, action)
    assert (report.outcome, report.reason) == ("needs_human", reason)
    assert (numbers(desk), net_postings(desk, trade_no)) == ([f"{trade_no}-P1"], before)


# ---- wherever the agent dies


def interrupted(case_id: str, moment: Moment, earlier: int) -> Iterator[tuple[Desk, str, str]]:
    """The case whose agent dies at each call of an attempt: of the first, or of one that goes on."""
    index = 0
    while True:
        index += 1
        desk, trade_no, code = written_down(case_id) if earlier else refused(case_id, deduplicates=False)
        until_it_is_over(desk)
        desk.production.faults.fail_call(index, moment, Crash())
        with suppress(Crash):
            desk.attempt(trade_no, code)
        if len(desk.production.faults.calls) < index:
            return
        desk.production.faults.heal()
        until_it_is_over(desk)
        yield desk, trade_no, code


@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("case_id", CASES)
def test_wherever_an_agent_dies_the_trade_ends_unless_the_bank_may_have_been_asked(
    case_id: str, moment: Moment, earlier: int
) -> None:
    for desk, trade_no, code in interrupted(case_id, moment, earlier):
        is_in_doubt = may_have_been_asked(desk, trade_no) and not desk.production.bank.asked
        end = settled_by_people(desk, trade_no, code)[-1]
        if is_in_doubt:
            assert (end.outcome, desk.production.bank.asked) == ("needs_human", [])
        else:
            assert end.outcome in ("repaired", "already_consistent")
            assert numbers(desk) == [f"{trade_no}-P1"]
        assert len(desk.production.bank.asked) <= 1
