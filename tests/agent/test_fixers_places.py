"""A number of ours that was written down and never asked for, its place among the trade's numbers taken."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import msgspec
import pytest

from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import RepairReport, verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID
from agent.fixers.payout_unasked import ANOTHERS_PLACE, NUMBER_TAKEN
from agent.fixers.result import result_of
from agent.records import StepRow
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_last_look import after_the_claim
from tests.agent.unpaid_trades import load_unpaid
from tests.agent.world import Desk, load_case, may_have_been_asked, numbers, wait_for_failures_to_settle
from tests.fakes.faults import Crash, Moment

CASES = ("S2", "S3", "S7a", "S7b")
OF_PRODUCTION = CASES[1:]
"""Production itself has debited these; a repair of S2 debits."""
WAYS_OUT = [("S2", OWN_DEBIT_UNPAID), *((case_id, "refused") for case_id in OF_PRODUCTION)]


def refused(case_id: str, *, deduplicates: bool = True) -> tuple[Desk, str, str]:
    """The case, with number 0 failed for good: number P1 is next."""
    desk = Desk()
    desk.production.bank.deduplicates = deduplicates
    trade_no, code = load_case(desk, case_id)
    desk.production.trades.requests.clear()
    desk.production.request(trade_no, "failed", "E1001")
    return desk, trade_no, code


def takes_the_place(desk: Desk, trade_no: str, status: str | None = "failed", seq: int = 1) -> None:
    """Production opens the next number itself, named in its own way. Once, however often it is called."""
    held = [each.request_no for each in desk.production.trades.requests]
    if f"{trade_no}-1" not in held:
        code = "E1001" if status == "failed" else None
        desk.production.request(trade_no, status, code, seq=seq, request_no=f"{trade_no}-1")


def dies(desk: Desk, trade_no: str, code: str, call: str, moment: Moment = "before") -> None:
    """One attempt whose agent dies at this call."""
    desk.production.faults.down(call, moment, Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()


def until_it_is_over(desk: Desk) -> None:
    """Production's own number fails, what may still be under way arrives, and failures settle."""
    for record in desk.production.bank.records.values():
        if record.status == "accepted":
            desk.production.bank.settle(record.request_no, "failed", "E1001")
    wait_for_failures_to_settle(desk)
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())


def payout(desk: Desk, trade_no: str) -> StepRow:
    """The payout's step of the newest round."""
    standing = desk.production.trades._repair(trade_no)
    assert standing is not None
    return next(step for step in reversed(standing.steps) if step.name in ("pay", "pay_again"))


def is_closed_unasked(desk: Desk, trade_no: str) -> bool:
    step = payout(desk, trade_no)
    return (step.state, result_of(step).status) == ("failed", "")


def settled_by_people(desk: Desk, trade_no: str, code: str, most: int = 5) -> list[RepairReport]:
    """Attempts, and 再付 where a payout is finally unpaid, until one repairs."""
    reports: list[RepairReport] = []
    for _ in range(most):
        is_unpaid = bool(reports) and reports[-1].reason == OWN_DEBIT_UNPAID
        again = desk.order(trade_no, code, "pay_again") if is_unpaid else desk.attempt(trade_no, code)
        reports.append(again)
        if again.outcome == "repaired":
            break
        until_it_is_over(desk)
    return reports


# ---- the way out


@pytest.mark.parametrize(("case_id", "end"), WAYS_OUT)
def test_a_number_whose_place_was_taken_at_the_last_look_is_closed_unasked(case_id: str, end: str) -> None:
    desk, trade_no, code = refused(case_id)
    after_the_claim(desk, lambda: takes_the_place(desk, trade_no))
    report = desk.attempt(trade_no, code)
    assert end in (report.outcome, report.reason)
    assert is_closed_unasked(desk, trade_no)
    assert [each.seq for each in desk.production.trades.requests] == [0, 1]
    assert settled_by_people(desk, trade_no, code)[-1].outcome == "repaired"
    assert numbers(desk) == desk.production.bank.asked == [f"{trade_no}-P2"]


@pytest.mark.parametrize("deduplicates", [True, False])
@pytest.mark.parametrize(("case_id", "end"), WAYS_OUT)
def test_a_number_whose_place_was_taken_and_then_failed_is_closed_unasked(
    case_id: str, end: str, deduplicates: bool
) -> None:
    desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
    after_the_claim(desk, lambda: takes_the_place(desk, trade_no, "accepted"))
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert payout(desk, trade_no).state == "intended"
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert end in (report.outcome, report.reason)
    assert is_closed_unasked(desk, trade_no)
    assert settled_by_people(desk, trade_no, code)[-1].outcome == "repaired"
    assert numbers(desk) == desk.production.bank.asked == [f"{trade_no}-P2"]


@pytest.mark.parametrize(("case_id", "end"), WAYS_OUT)
def test_a_number_whose_place_is_taken_behind_the_last_look_is_closed_unasked(case_id: str, end: str) -> None:
    desk, trade_no, code = refused(case_id)
    desk.production.faults.on("trades.open_bank_request", lambda: takes_the_place(desk, trade_no))
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert (desk.production.bank.asked, result_of(payout(desk, trade_no)).status) == ([], "")
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert end in (report.outcome, report.reason)
    assert settled_by_people(desk, trade_no, code)[-1].outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]


@pytest.mark.parametrize("action", ACTIONS)
def test_people_may_order_of_a_debit_whose_payout_was_closed_unasked(action: Action) -> None:
    desk, trade_no, code = refused("S2")
    after_the_claim(desk, lambda: takes_the_place(desk, trade_no))
    desk.attempt(trade_no, code)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", OWN_DEBIT_UNPAID)
    assert desk.order(trade_no, code, action).outcome == "repaired"


def test_an_order_whose_number_was_taken_has_no_effect_and_may_be_given_again() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.faults.on("trades.open_bank_request", lambda: takes_the_place(desk, trade_no))
    assert desk.order(trade_no, code, "pay_again").outcome == "wait"
    desk.production.faults.heal()
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", ANOTHERS_PLACE, False)
    assert desk.order(trade_no, code, "pay_again").outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]


@pytest.mark.parametrize("case_id", OF_PRODUCTION)
def test_an_order_sent_again_does_not_tell_of_a_payout_closed_unasked_as_failed(case_id: str) -> None:
    desk, trade_no, code = refused(case_id)
    after_the_claim(desk, lambda: takes_the_place(desk, trade_no))
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert desk.attempt(trade_no, code, fence=desk.fence).outcome == "repaired"


# ---- a number that another trade's line holds


def stands_beside_another_trade(desk: Desk, trade_no: str) -> None:
    """A line of another trade carries our next number: a slip of people."""
    line = desk.production.trades.requests[0]
    slip = msgspec.structs.replace(line, request_no=f"{trade_no}-P1", trade_no="TX20260301000099", seq=1)
    desk.production.trades.requests.append(slip)


@pytest.mark.parametrize("case_id", CASES)
def test_a_number_that_another_trades_line_holds_leaves_the_payout_to_people(case_id: str) -> None:
    desk, trade_no, code = refused(case_id)
    stands_beside_another_trade(desk, trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == (
        "needs_human",
        NUMBER_TAKEN,
        case_id == "S2",
    )
    assert (desk.production.bank.asked, is_closed_unasked(desk, trade_no)) == ([], True)
    assert desk.order(trade_no, code, "pay_again").reason == NUMBER_TAKEN
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    assert desk.production.bank.asked == []


@pytest.mark.parametrize("case_id", CASES)
def test_one_written_down_by_an_agent_that_died_is_closed_once_it_was_surely_not_asked_for(
    case_id: str,
) -> None:
    desk, trade_no, code = refused(case_id)
    dies(desk, trade_no, code, "trades.open_bank_request")
    stands_beside_another_trade(desk, trade_no)
    assert desk.attempt(trade_no, code).reason == "bank"
    until_it_is_over(desk)
    assert desk.attempt(trade_no, code).reason == NUMBER_TAKEN
    assert (desk.production.bank.asked, is_closed_unasked(desk, trade_no)) == ([], True)


# ---- what resuming may not pass over


@pytest.mark.parametrize("seq", [1, 5])
def test_a_number_is_not_opened_beside_another_that_may_still_arrive(seq: int) -> None:
    desk, trade_no, code = refused("S7a")
    dies(desk, trade_no, code, "trades.open_bank_request")
    takes_the_place(desk, trade_no, None, seq)
    until_it_is_over(desk)
    assert desk.attempt(trade_no, code).reason == ANOTHERS_PLACE
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-1"]


@pytest.mark.parametrize("case_id", ["S2", "S3"])
def test_productions_number_is_not_asked_under_beside_another_that_may_still_arrive(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    dies(desk, trade_no, code, "trades.open_bank_request")
    takes_the_place(desk, trade_no, None)
    until_it_is_over(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "more than one bank request may be alive")
    assert desk.production.bank.asked == []
    desk.production.trades.requests.pop()
    takes_the_place(desk, trade_no)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-0"]


def test_no_number_is_opened_once_production_has_lost_all_the_others() -> None:
    desk, trade_no, code = refused("S7a")
    dies(desk, trade_no, code, "trades.open_bank_request")
    desk.production.trades.requests.clear()
    until_it_is_over(desk)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert desk.production.bank.asked == []


# ---- asked or not


@pytest.mark.parametrize("case_id", CASES)
def test_a_number_the_bank_was_let_be_asked_for_is_never_closed_as_unasked(case_id: str) -> None:
    """Somebody has taken its line away, and its place: the call may still be under way, or have paid."""
    desk, trade_no, code = refused(case_id)
    dies(desk, trade_no, code, "bank.pay")
    desk.production.trades.requests.pop()
    takes_the_place(desk, trade_no)
    for _ in range(3):
        until_it_is_over(desk)
        assert desk.attempt(trade_no, code).outcome == "unknown"
        assert (payout(desk, trade_no).state, result_of(payout(desk, trade_no)).status) == (
            "intended",
            "asked",
        )
        assert desk.order(trade_no, code, "pay_again").outcome in ("refused", "unknown")
    assert desk.production.bank.asked == []


def test_a_number_the_bank_was_let_be_asked_for_is_asked_for_again_whatever_place_is_taken() -> None:
    desk, trade_no, code = refused("S2")
    dies(desk, trade_no, code, "bank.pay")
    takes_the_place(desk, trade_no, seq=2)
    until_it_is_over(desk)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


@pytest.mark.parametrize("case_id", CASES)
@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_number_that_production_lost_and_the_bank_paid_is_never_closed_as_unasked(
    case_id: str, deduplicates: bool
) -> None:
    """The database failed over to what it held before the bank was asked; production then took the place."""
    desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
    trades, kept = desk.production.trades, []
    desk.production.faults.on(
        "trades.open_bank_request",
        lambda: kept.append(copy.deepcopy((trades.requests, trades.repairs, trades.repair_steps))),
    )
    desk.attempt(trade_no, code)
    desk.production.faults.heal()
    for stored in desk.production.trades.rows.values():
        stored.row |= trades.corrections[0].before
    trades.requests, trades.repairs, trades.repair_steps = kept[0]
    takes_the_place(desk, trade_no)
    until_it_is_over(desk)
    for _ in range(3):
        report = desk.attempt(trade_no, code)
        assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
        assert payout(desk, trade_no).state == "intended"
        assert desk.order(trade_no, code, "pay_again").outcome == "refused"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_a_call_that_production_lost_may_still_reach_the_bank_for_a_while() -> None:
    desk, trade_no, code = refused("S7a")
    dies(desk, trade_no, code, "trades.open_bank_request")
    takes_the_place(desk, trade_no)
    desk.production.clock.advance(minutes=19)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, payout(desk, trade_no).state) == ("wait", "intended")
    desk.production.clock.advance(minutes=1)
    assert desk.attempt(trade_no, code).reason == ANOTHERS_PLACE


# ---- wherever the agent dies


def interrupted(
    case_id: str, status: str, moment: Moment, earlier: int, deduplicates: bool
) -> Iterator[tuple[Desk, str, str]]:
    """The case, its place taken after the first claim, whose agent dies at each call of a later attempt."""
    index = 0
    while True:
        index += 1
        desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
        after_the_claim(desk, partial(takes_the_place, desk, trade_no, status))
        for _ in range(earlier):
            desk.attempt(trade_no, code)
            until_it_is_over(desk)
        desk.production.faults.fail_call(index, moment, Crash())
        with suppress(Crash):
            desk.attempt(trade_no, code)
        if len(desk.production.faults.calls) < index:
            return
        desk.production.faults.heal()
        until_it_is_over(desk)
        yield desk, trade_no, code


@pytest.mark.parametrize("deduplicates", [True, False])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("status", ["failed", "accepted"])
@pytest.mark.parametrize("case_id", CASES)
def test_a_trade_whose_place_was_taken_is_paid_once_wherever_an_agent_dies(
    case_id: str, status: str, moment: Moment, deduplicates: bool
) -> None:
    for earlier in (0, 1, 2):
        for desk, trade_no, code in interrupted(case_id, status, moment, earlier, deduplicates):
            end = settled_by_people(desk, trade_no, code)[-1]
            if deduplicates:
                assert end.outcome in ("repaired", "already_consistent")
                assert desk.production.trades.row(trade_no)["TRD_STATUS"] == 8
                assert len(numbers(desk)) == 1
            else:
                assert len(desk.production.bank.asked) <= 1
                is_over = end.outcome in ("repaired", "already_consistent")
                assert is_over or may_have_been_asked(desk, trade_no)
