"""What a repair does when the ledger or the bank says no, says nothing, or says it late."""

import copy
from collections.abc import Sequence
from datetime import timedelta

import pytest

from agent.adapters.ddl import own_tables
from agent.adapters.names import TradeNames
from agent.facts import BankFact, BankState, Leg, NumberFact, RequestFact
from agent.fixers.attempt import Attempt, AttemptEnded
from agent.fixers.base import RepairOrder, verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.payout_number import NO_NUMBER, choose_number
from agent.fixers.payout_unasked import NEVER_ASKED
from agent.fixers.result import result_of
from tests.agent.test_fixers_last_look import after_the_claim
from tests.agent.world import (
    AMOUNT,
    BALANCE,
    Desk,
    book,
    load_case,
    nothing_was_touched,
    numbers,
    wait_for_days_to_close,
    wait_for_failures_to_settle,
)
from tests.fakes.faults import Crash

WITHDRAWALS_PAID = ("S2", "S3", "S7a", "S7b")
UNDER_PRODUCTIONS_NUMBER = ("S2", "S3")
UNDER_A_NEW_NUMBER = ("S7a", "S7b")


# ---- the longest numbers


def with_long_numbers() -> Desk:
    rules = {"sys_code": "S" * 32, "number_pattern": r"^[A-Za-z0-9]{8,64}\Z"}
    return Desk(rules=rules)


def require_room_for(keys: Sequence[str]) -> None:
    """The table of steps takes these keys, on a database that refuses or cuts what is longer."""
    _, step, _ = own_tables(TradeNames())
    most = step.c.step_key.type.length  # type: ignore[attr-defined]
    assert [key for key in keys if len(key) > most] == []
    assert len(set(keys)) == len(keys)


def test_a_payout_under_the_longest_number_is_written_down_behind_its_debit() -> None:
    desk = with_long_numbers()
    trade_no, code = load_case(desk, "S2", trade_no="T" * 64)
    desk.production.trades.requests.clear()
    number = desk.production.request(trade_no, None, request_no="R" * 80)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, numbers(desk)) == ("repaired", [number])
    require_room_for([step.key for step in report.steps])
    payout = next(step for step in report.steps if step.name == "pay")
    assert result_of(payout).request_no == number


def test_the_keys_of_the_longest_numbers_differ_as_these_do() -> None:
    desk = with_long_numbers()
    order = RepairOrder(
        trade_no="T" * 64, fixer_code="F", row_hash="", fence=1, agent="agent-1", boot_id="boot-1"
    )
    attempt = Attempt(order, desk.production.ports, desk.settings, desk.told.append, desk.cancellation)
    numbered = [f"{'T' * 64}-P{seq}" for seq in range(1, 4)]
    require_room_for([attempt.key_of(name, each) for name in ("pay", "pay_again") for each in numbered])


# ---- the ledger says no


def test_an_insufficient_balance_is_for_a_person_and_pays_nothing() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2", amount=BALANCE + 1)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "insufficient balance")
    assert not report.money_moved
    assert (numbers(desk), desk.production.balance(trade_no)) == ([], BALANCE)
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_balance_that_was_insufficient_is_debited_once_it_suffices() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2", amount=BALANCE + 1)
    desk.attempt(trade_no, code)
    desk.production.ledger.balances[f"CUST-{trade_no}"] += 1
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.balance(trade_no) == 0


def test_an_account_the_ledger_does_not_know_fails_the_attempt() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    del desk.production.ledger.balances[f"CUST-{trade_no}"]
    assert desk.attempt(trade_no, code).outcome == "failed"
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_leg_that_production_takes_first_is_refused() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.on("ledger.post", lambda: book(desk, trade_no, Leg.BOTH))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert numbers(desk) == []
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT


def test_a_second_leg_that_production_posts_after_our_payout_is_taken_over() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S3")
    desk.production.faults.on("ledger.post", lambda: book(desk, trade_no, Leg.SECOND))
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.ledger.of_trade(trade_no)) == 2
    assert numbers(desk) == [f"{trade_no}-0"]


# ---- payouts


@pytest.mark.parametrize("case_id", ["S2", "S3"])
def test_after_two_negatives_number_0_is_submitted_again(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.attempt(trade_no, code)
    assert numbers(desk) == [f"{trade_no}-0"]
    assert len(desk.production.trades.requests) == 1


def test_an_explicit_failure_opens_the_next_number_before_the_call() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.request(trade_no, "failed", "E1002", seq=1)
    held: list[str] = []
    requests = desk.production.trades.requests
    desk.production.faults.on("bank.pay", lambda: held.extend(each.request_no for each in requests))
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]
    assert held[-1] == f"{trade_no}-P2"
    assert (requests[-1].seq, requests[-1].amount_minor) == (2, AMOUNT)


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_trade_without_any_request_is_not_paid(case_id: str) -> None:
    """Its lines may have been cleared away, and the bank have paid what nobody can ask about any more."""
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.trades.requests.clear()
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", NO_NUMBER)
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_payout_the_bank_only_accepted_is_waited_for_and_then_resumed(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.default_reply = "accepted"
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert desk.attempt(trade_no, code).outcome == "wait"
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason, seen.fixer_code) == ("wait", "bank", code)
    desk.production.bank.settle(desk.production.bank.asked[0])
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.bank.asked) == 1


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
@pytest.mark.parametrize("loss", ["lost_before", "lost_after", "lost_accepted"])
def test_a_lost_reply_is_asked_again_under_the_same_number(case_id: str, loss: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append(loss)
    first = desk.attempt(trade_no, code)
    assert (
        first.outcome == {"lost_before": "unknown", "lost_after": "repaired", "lost_accepted": "wait"}[loss]
    )
    if loss == "lost_accepted":
        desk.production.bank.settle(desk.production.bank.asked[0])
    if loss != "lost_after":
        assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(set(desk.production.bank.asked)) == 1
    assert len(numbers(desk)) == 1


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
@pytest.mark.parametrize("turned", ["success", "accepted", "failed"])
def test_a_lost_payout_is_not_asked_again_while_another_number_may_have_paid(
    case_id: str, turned: str
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append("lost_before")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.bank.settle(f"{trade_no}-0", turned, "E1001" if turned == "failed" else None)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason, seen.fixer_code) == ("wait", "bank", code)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


def test_a_lost_payout_beside_a_late_success_is_repaired_once_it_surely_never_arrived() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.replies.append("lost_before")
    desk.attempt(trade_no, code)
    desk.production.bank.settle(f"{trade_no}-0", "success")
    wait_for_days_to_close(desk)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-0"]


def test_a_lost_payout_whose_number_production_no_longer_holds_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7b")
    desk.production.bank.records.clear()
    desk.production.bank.replies.append("lost_before")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.trades.requests.clear()
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert desk.production.bank.asked == [f"{trade_no}-0"]


@pytest.mark.parametrize("loss", ["lost_before", "lost_after"])
@pytest.mark.parametrize("case_id", UNDER_A_NEW_NUMBER)
def test_a_bank_that_does_not_deduplicate_is_never_asked_twice(case_id: str, loss: str) -> None:
    desk = Desk()
    desk.production.bank.deduplicates = False
    desk.production.bank.replies.append(loss)
    trade_no, code = load_case(desk, case_id)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    wait_for_days_to_close(desk)
    second = desk.attempt(trade_no, code).outcome
    assert second == ("needs_human" if loss == "lost_before" else "repaired")
    assert len(desk.production.bank.asked) == 1


@pytest.mark.parametrize("case_id", UNDER_PRODUCTIONS_NUMBER)
def test_a_bank_that_does_not_deduplicate_is_never_asked_for_what_may_still_arrive(case_id: str) -> None:
    desk = Desk()
    desk.production.bank.deduplicates = False
    trade_no, code = load_case(desk, case_id)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == (
        "needs_human",
        "the request may still reach the bank, which does not de-duplicate",
    )
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_number_that_production_has_lost_is_not_paid_a_second_time(deduplicates: bool) -> None:
    """Its database was restored, or failed over, to what it held before the repair; the bank knows better."""
    desk = Desk()
    desk.production.bank.deduplicates = deduplicates
    trade_no, code = load_case(desk, "S7a")
    wait_for_failures_to_settle(desk)
    trades = desk.production.trades
    before = copy.deepcopy((trades.rows, trades.requests, trades.repairs, trades.repair_steps))
    assert desk.attempt(trade_no, code).outcome == "repaired"
    trades.rows, trades.requests, trades.repairs, trades.repair_steps = before
    report = desk.attempt(trade_no, code)
    if deduplicates:
        assert report.outcome == "repaired"
    else:
        assert (report.outcome, report.reason, report.money_moved) == ("needs_human", LINE_LOST, False)
        assert trades.repairs == {}
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_the_bank_is_asked_in_one_inquiry_about_a_trade_and_what_it_may_have_lost() -> None:
    """When it begins, before it pays and when it is read back."""
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    wait_for_failures_to_settle(desk)
    desk.production.faults.heal()
    report = desk.attempt(trade_no, code)
    assert report.outcome == "repaired"
    assert desk.production.faults.calls.count("bank.facts") == 3
    assert report.facts_before is not None
    asked = [NumberFact(f"{trade_no}-P{seq}", "not_found") for seq in range(1, 6)]
    assert list(report.facts_before.bank.without_line) == asked


def test_a_bank_that_does_not_answer_of_a_new_number_is_not_asked_to_pay_it() -> None:
    desk = Desk()
    desk.production.bank.deduplicates = False
    trade_no, code = load_case(desk, "S7a")
    wait_for_failures_to_settle(desk)
    after_the_claim(desk, lambda: desk.production.bank.silent_of.add(f"{trade_no}-P1"))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert desk.production.bank.asked == []
    desk.production.bank.silent_of.clear()
    desk.production.clock.advance(minutes=20)
    assert desk.attempt(trade_no, code).reason == NEVER_ASKED
    assert desk.production.bank.asked == []
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == desk.production.bank.asked == [f"{trade_no}-P1"]


def test_a_posting_that_never_arrived_is_not_made_for_what_a_bank_may_pay_twice() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("ledger.post", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.production.bank.deduplicates = False
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(minutes=20)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("needs_human", False)
    assert (desk.production.bank.asked, desk.production.balance(trade_no)) == ([], BALANCE)
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_payout_that_fails_after_our_debit_is_for_a_person_and_keeps_its_steps() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "failed:E1001"
    assert desk.attempt(trade_no, code).outcome == "wait"
    wait_for_failures_to_settle(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == (
        "needs_human",
        "debited, payout failed",
        True,
    )
    assert desk.attempt(trade_no, code).reason == "debited, payout failed"
    assert desk.production.bank.asked == [f"{trade_no}-0"]
    assert [step.state for step in report.steps] == ["done", "failed"]
    assert verify(trade_no, desk.production.ports, desk.settings).reason == "debited, payout failed"


def test_a_late_success_after_our_failed_payout_is_resumed() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "failed:E1001"
    desk.attempt(trade_no, code)
    wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    desk.production.bank.settle(f"{trade_no}-0", "success")
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-0"]


def test_a_payout_that_fails_on_productions_debit_spends_a_retry_and_then_takes_the_next_number() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7b")
    desk.production.bank.replies.append("failed:E1002")
    assert desk.attempt(trade_no, code).outcome == "wait"
    wait_for_failures_to_settle(desk)
    settled = desk.attempt(trade_no, code)
    assert (settled.outcome, settled.money_moved) == ("failed", False)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_success_told_without_its_amount_is_asked_about_before_anything_rests_on_it(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append("short_wrong_amount")
    before = (desk.production.trades.row(trade_no), len(desk.production.ledger.of_trade(trade_no)))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "mismatch")
    debits = 1 if case_id == "S2" else 0
    after = (desk.production.trades.row(trade_no), len(desk.production.ledger.of_trade(trade_no)) - debits)
    assert after == before


@pytest.mark.parametrize("deduplicates", [True, False])
def test_one_that_the_bank_then_tells_nothing_of_is_waited_for(*, deduplicates: bool) -> None:
    desk = Desk()
    desk.production.bank.deduplicates = deduplicates
    trade_no, code = load_case(desk, "S7b")
    desk.production.bank.replies.append("short")
    desk.production.faults.on("bank.pay", lambda: desk.production.faults.down("bank.facts", "before"))
    report = desk.attempt(trade_no, code)
    desk.production.faults.heal()
    assert (report.outcome, report.money_moved) == ("unknown", True)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.bank.asked) == 1


def test_a_number_that_production_submits_again_days_later_is_not_confirmed_as_never_arrived() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S9")
    desk.production.trades.note(f"{trade_no}-0", "created")
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert desk.production.trades.corrections == []
    wait_for_days_to_close(desk)
    assert desk.attempt(trade_no, code).is_confirmed_failed


# ---- a failure that may still turn into success


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_failed_payout_is_waited_for_under_its_number_until_it_has_settled(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append("failed:E1001")
    first = desk.attempt(trade_no, code)
    assert (first.outcome, first.reason) == ("wait", "bank: payout failed: E1001")
    desk.production.clock.advance(seconds=299)
    assert desk.attempt(trade_no, code).outcome == "wait"
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason, seen.fixer_code) == ("wait", "bank", code)
    assert len(desk.production.bank.asked) == 1
    assert desk.production.trades.repairs[trade_no].state == "open"
    desk.production.clock.advance(seconds=1)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_failed_payout_that_succeeds_before_it_settles_is_never_paid_twice(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append("failed:E1001")
    desk.attempt(trade_no, code)
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.bank.settle(desk.production.bank.asked[0], "success")
    wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(desk.production.bank.asked) == len(numbers(desk)) == 1


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_productions_own_failed_request_is_waited_for_until_it_has_settled(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.settle(f"{trade_no}-0", "failed", "E1001")
    assert (desk.attempt(trade_no, code).outcome, desk.production.bank.asked) == ("wait", [])
    wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_a_failure_whose_time_the_bank_does_not_tell_opens_the_next_number_once_files_date_it() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.records[f"{trade_no}-0"].completed_at = None
    desk.production.bank.closed_until = desk.production.clock() - timedelta(days=3)
    desk.production.clock.advance(days=1)
    assert (desk.attempt(trade_no, code).outcome, desk.production.bank.asked) == ("wait", [])
    wait_for_days_to_close(desk)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_a_bank_whose_failures_are_final_is_believed_at_once() -> None:
    desk = Desk()
    desk.production.bank.failure_settles_s = 0
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.replies.append("failed:E1001")
    assert [desk.attempt(trade_no, code).outcome for _ in range(2)] == ["failed", "repaired"]
    assert numbers(desk) == [f"{trade_no}-P2"]


@pytest.mark.parametrize("kind", ["failed", "odd"])
def test_a_failure_the_bank_cannot_be_asked_about_is_not_taken_at_its_word(kind: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.replies.append(f"{kind}:E1001")
    desk.production.faults.on("bank.pay", lambda: desk.production.faults.down("bank.facts"))
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


def test_a_number_that_may_yet_turn_out_paid_is_never_paid_beside() -> None:
    settled = RequestFact("WD1-0", 0, "failed", BankState.FAIL)
    young = RequestFact("WD1-P1", 1, "failed", BankState.UNKNOWN)
    failed = BankFact(BankState.FAIL, (settled,))
    assert choose_number("WD1", failed, deduplicates=False).request_no == "WD1-P1"
    with pytest.raises(AttemptEnded, match="bank") as ended:
        choose_number("WD1", BankFact(BankState.UNKNOWN, (settled, young)), deduplicates=True)
    assert ended.value.outcome == "wait"


# ---- odd answers


def test_a_failure_code_of_no_list_is_unknown_and_no_new_number_is_opened() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.replies.append("odd:E9999")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


def test_a_number_the_bank_holds_with_another_payee_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")

    def take_number() -> None:
        trade = desk.production.trade(trade_no)
        desk.production.bank.default_reply = "success"
        desk.production.request(trade_no, "success", seq=0, amount=AMOUNT)
        desk.production.bank.records[f"{trade_no}-0"].account = trade.account_no

    desk.production.faults.on("bank.pay", take_number)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert numbers(desk) == []
    assert desk.production.trades.repairs[trade_no].state == "open"
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).reason == "mismatch"


def test_a_lost_payout_that_the_bank_holds_with_another_amount_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.replies.append("lost_wrong_amount")
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "mismatch")


def test_a_second_leg_the_ledger_refuses_after_the_payout_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S3")
    balances = desk.production.ledger.balances
    desk.production.faults.on("bank.pay", lambda: balances.__delitem__(f"CUST-{trade_no}"))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("needs_human", True)
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_two_step_withdrawals_settle_their_second_leg_only_after_the_bank_has_paid() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2", bookkeeping="two_step")
    desk.production.bank.default_reply = "accepted"
    desk.attempt(trade_no, code)
    assert [entry.leg for entry in desk.production.ledger.of_trade(trade_no)] == [Leg.FIRST]
    desk.production.bank.settle(f"{trade_no}-0")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    row = desk.production.trades.row(trade_no)
    assert row["ACC_TRD_NUM"] != row["E_ACC_TRD_NUM"]


def test_a_single_step_withdrawal_keeps_one_voucher_in_both_cells() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S8")
    desk.attempt(trade_no, code)
    row = desk.production.trades.row(trade_no)
    assert row["ACC_TRD_NUM"] == row["E_ACC_TRD_NUM"]


@pytest.mark.parametrize("failed_at", ["when it was written", "never"])
@pytest.mark.parametrize("case_id", ["S2", "S3"])
def test_a_number_submitted_again_that_fails_is_believed_only_once_that_has_settled(
    case_id: str, failed_at: str
) -> None:
    """Production wrote it days ago, and the files of then do not list it: that says nothing of this."""
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    wait_for_days_to_close(desk)
    bank = desk.production.bank
    bank.default_reply = "accepted"
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert bank.asked == [f"{trade_no}-0"]
    bank.settle(f"{trade_no}-0", "failed", "E1001")
    written_at = desk.production.trades.requests[0].created_at
    bank.records[f"{trade_no}-0"].completed_at = written_at if failed_at == "when it was written" else None
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank: payout failed: E1001")
    assert numbers(desk) == []
    wait_for_days_to_close(desk)
    report = desk.attempt(trade_no, code)
    assert report.outcome == ("needs_human" if case_id == "S2" else "failed")
