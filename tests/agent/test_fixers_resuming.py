"""A repair that lay half done while the world moved on: what is gone on with, and what goes to a person."""

import pytest

from agent.facts import Leg, Row
from agent.fixers.attempt import STILL_COMING
from agent.fixers.base import verify
from agent.fixers.claiming import OVERTAKEN
from tests.agent.world import (
    AMOUNT,
    BALANCE,
    Desk,
    load_case,
    numbers,
    wait_for_days_to_close,
    wait_for_failures_to_settle,
)
from tests.fakes.faults import Crash, Moment

TERMS = {
    "AMOUNT": 77_700,
    "BANK_ACC_NO": "6222-another",
    "ACC_NO": "CUST-another",
    "POSTING_MODE": "two_step",
}
"""Whose money it is, and how much."""


def half_done(
    desk: Desk, case_id: str, call: str, moment: Moment = "before", bookkeeping: str | None = None
) -> tuple[str, str]:
    """The case, its agent dead at the first call of this name."""
    trade_no, code = load_case(desk, case_id, bookkeeping=bookkeeping)
    desk.production.faults.down(call, moment, Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    return trade_no, code


def test_what_was_done_is_not_asked_for_again() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert "ledger.post" not in desk.production.faults.calls


def test_a_resumed_repair_tells_its_earlier_steps_and_keeps_its_first_row() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.told.clear()
    desk.production.clock.advance(minutes=1)
    report = desk.attempt(trade_no, code, row_hash="of another day")
    assert [step.name for step in desk.told][:2] == ["post_both", "pay"]
    assert report.before is not None
    assert (report.before["ACC_TRD_STATUS"], report.money_moved) == (0, True)


@pytest.mark.parametrize("case_id", ["S2", "S3", "S7b"])
def test_a_payout_found_paid_is_gone_on_with_wherever_the_agent_dies_after(case_id: str) -> None:
    for call in ("ledger.post", "trades.write_row", "trades.close_repair"):
        desk = Desk()
        desk.production.bank.default_reply = "accepted"
        trade_no, code = load_case(desk, case_id, bookkeeping="two_step")
        assert desk.attempt(trade_no, code).outcome == "wait"
        desk.production.bank.settle(desk.production.bank.asked[0])
        desk.production.faults.down(call, "before", Crash())
        with pytest.raises(Crash):
            desk.attempt(trade_no, code)
        desk.production.faults.heal()
        report = desk.attempt(trade_no, code)
        assert (report.outcome, report.money_moved) == ("repaired", True)
        assert [step.state for step in report.steps if step.name == "pay"] == ["done"]
        assert len(desk.production.bank.payments) == 1


def test_a_posting_that_never_arrived_is_decided_about_again() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post")
    trade = desk.production.trade(trade_no)
    desk.production.bank.closed_until = desk.production.clock()
    desk.production.request(trade_no, "success")
    desk.production.trades.requests.pop()
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", STILL_COMING)
    desk.production.clock.advance(minutes=20)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "paid, ledger or row behind")
    assert desk.production.ledger.of_trade(trade.trade_no) == []
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_posting_that_never_arrived_on_a_row_since_changed_is_refused() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post")
    desk.production.trades.change(trade_no, FAILED_MSG="人工")
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(minutes=20)
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert desk.production.trades.repairs[trade_no].state == "abandoned"
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize(("cell", "value"), TERMS.items())
def test_a_posting_that_never_arrived_is_not_made_on_terms_nobody_reported(
    cell: str, value: int | str
) -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post")
    reported = desk.row_hash(trade_no)
    desk.production.trades.change(trade_no, **{cell: value})
    assert desk.attempt(trade_no, code, row_hash=reported).outcome == "wait"
    desk.production.clock.advance(minutes=20)
    report = desk.attempt(trade_no, code, row_hash=reported)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert (desk.production.bank.asked, desk.production.ledger.entries) == ([], [])
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_posting_that_never_arrived_is_not_made_on_other_terms_though_they_were_reported() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post")
    desk.production.trades.change(trade_no, BANK_ACC_NO="6222-another")
    desk.production.clock.advance(minutes=20)
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert [payment.account for payment in desk.production.bank.payments] == ["6222-another"]


@pytest.mark.parametrize(("cell", "value"), TERMS.items())
def test_terms_that_changed_after_the_debit_stop_the_payout(cell: str, value: int | str) -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.trades.change(trade_no, **{cell: value})
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "row changed after money moved")
    assert desk.production.bank.payments == []


def test_a_debit_reversed_by_a_person_is_never_paid() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.ledger.reverse(desk.production.ledger.of_trade(trade_no)[0].voucher_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "an entry of this repair was reversed")
    assert (desk.production.bank.payments, desk.production.balance(trade_no)) == ([], BALANCE)


@pytest.mark.parametrize("seen", ["human", "resume"])
def test_a_repair_a_person_undid_altogether_is_closed(seen: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "failed:E1001"
    desk.attempt(trade_no, code)
    wait_for_failures_to_settle(desk)
    if seen == "human":
        assert desk.attempt(trade_no, code).reason == "debited, payout failed"
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == seen
    desk.production.ledger.reverse(desk.production.ledger.of_trade(trade_no)[0].voucher_no)
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    expected = "consistent" if seen == "human" else "resume"
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == expected
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_repair_a_person_undid_stays_open_while_its_payout_may_still_arrive() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.ledger.reverse(desk.production.ledger.of_trade(trade_no)[0].voucher_no)
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "an entry of this repair was reversed")
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_a_repair_a_person_undid_stays_open_while_its_failed_payout_may_still_succeed() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "failed:E1001"
    desk.attempt(trade_no, code)
    desk.production.ledger.reverse(desk.production.ledger.of_trade(trade_no)[0].voucher_no)
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "wait"
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_a_row_that_changed_stops_the_payout() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "row changed after money moved")
    assert desk.production.bank.payments == []


def test_a_row_production_finished_meanwhile_is_left_as_it_is() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S8", "ledger.post", "after")
    voucher = desk.production.ledger.of_trade(trade_no)[0].voucher_no
    cells: Row = {"ACC_TRD_NUM": voucher, "E_ACC_TRD_NUM": voucher, "TRD_STATUS": 8}
    desk.production.trades.change(trade_no, **{**cells, "ACC_TRD_STATUS": 1, "E_ACC_TRD_STATUS": 1})
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.trades.corrections == []


def test_a_ledger_that_says_nothing_is_waited_for() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.ledger.unreadable.add(trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "ledger")
    assert desk.production.bank.payments == []


def test_a_second_entry_on_a_leg_stops_the_payout() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")
    desk.production.book(trade_no, Leg.FIRST)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "mismatch")
    assert desk.production.bank.payments == []


@pytest.mark.parametrize(
    ("status", "is_settled", "outcome"),
    [("accepted", False, "wait"), ("failed", False, "wait"), ("failed", True, "needs_human")],
)
def test_bank_money_that_is_gone_stops_the_row_from_being_written(
    status: str, is_settled: bool, outcome: str
) -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S8", "trades.write_row")
    desk.production.bank.settle(f"{trade_no}-0", status, "E1001" if status == "failed" else None)
    if is_settled:
        wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).outcome == outcome
    assert desk.production.trades.corrections == []


def test_a_late_original_that_turns_up_before_the_payout_is_waited_for() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post", "after")
    desk.production.request(trade_no, "accepted")
    desk.production.trades.requests.pop()
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.bank.settle(f"{trade_no}-0")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.bank.asked == []


def test_a_payout_found_paid_is_written_down_under_the_number_that_was_paid() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "ledger.post", "after")
    desk.production.request(trade_no, "success")
    desk.production.trades.requests.pop()
    desk.production.request(trade_no, "failed", "E1001", seq=1)
    report = desk.attempt(trade_no, code)
    assert report.outcome == "repaired"
    assert [step.key.rpartition(":")[2] for step in report.steps if step.name == "pay"] == [f"{trade_no}-0"]


@pytest.mark.parametrize("case_id", ["S2", "S7b"])
def test_an_accepted_payout_that_fails_is_settled_by_whose_debit_it_was(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.bank.replies.append("accepted")
    desk.attempt(trade_no, code)
    desk.production.bank.settle(desk.production.bank.asked[0], "failed", "E1002")
    assert desk.attempt(trade_no, code).outcome == "wait"
    wait_for_failures_to_settle(desk)
    expected = {"S2": ("needs_human", "debited, payout failed"), "S7b": ("failed", "payout failed: E1002")}
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == expected[case_id]


def test_a_repair_another_attempt_finished_before_our_claim_is_not_begun_anew() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")

    def overtake() -> None:
        desk.production.faults.heal()
        assert desk.attempt(trade_no, code, fence=5).outcome == "repaired"

    desk.production.faults.on("trades.claim_repair", overtake)
    assert desk.attempt(trade_no, code, fence=6).outcome == "refused"
    assert len(desk.production.bank.payments) == 1
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


@pytest.mark.parametrize("reply", ["accepted", "lost_after"])
def test_another_round_that_was_begun_before_our_claim_is_not_closed_over_its_payout(reply: str) -> None:
    """Its holder, of an older fence, ended the repair as unpaid, and an order of people began."""
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay")

    def ended_and_paid_again() -> None:
        desk.production.faults.heal()
        desk.production.bank.replies += ["failed:E1001", reply]
        assert desk.attempt(trade_no, code, fence=2).outcome == "wait"
        wait_for_failures_to_settle(desk)
        assert desk.attempt(trade_no, code, fence=3).outcome == "needs_human"
        desk.production.faults.down("trades.note_bank_request")
        assert desk.order(trade_no, code, "pay_again", fence=4).outcome == "unknown"
        desk.production.faults.heal()

    desk.production.faults.on("trades.claim_repair", ended_and_paid_again)
    report = desk.attempt(trade_no, code, fence=9)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", OVERTAKEN, True)
    assert desk.production.trades.repairs[trade_no].state == "open"
    if reply == "accepted":
        desk.production.bank.settle(f"{trade_no}-P1")
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.attempt(trade_no, code, fence=10).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_an_unbegun_claim_whose_facts_have_turned_gives_way_to_a_clean_one() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S9", "trades.write_row")
    desk.production.request(trade_no, "success")
    desk.production.trades.requests.pop()
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.is_confirmed_failed) == ("repaired", False)
    assert desk.production.trades.row(trade_no)["TRD_STATUS"] == 8
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT


def test_a_half_done_repair_waits_for_nothing_but_the_bank() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S2", "bank.pay", "after")
    desk.production.trades._stored(trade_no)[0].updated_at = desk.production.clock()
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_a_payout_begun_long_ago_keeps_its_number() -> None:
    desk = Desk()
    trade_no, code = half_done(desk, "S7a", "trades.open_bank_request")
    wait_for_days_to_close(desk)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.bank.asked == [f"{trade_no}-P1"]
