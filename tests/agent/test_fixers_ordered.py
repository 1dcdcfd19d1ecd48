"""What a person orders of a trade debited and unpaid: pay it again, or reverse it."""

import msgspec
import pytest

from agent.decision import decide
from agent.facts import Leg
from agent.fixers.attempt import STILL_COMING
from agent.fixers.base import read_facts, verify
from agent.records import Reversal
from agent.unpaid import ACTIONS, REVERSED_BEFORE, Action, find_obstacle
from tests.agent.unpaid_trades import SHAPES, load_unpaid, net_postings
from tests.agent.world import (
    AMOUNT,
    BALANCE,
    Desk,
    load_case,
    numbers,
    wait_for_days_to_close,
    wait_for_failures_to_settle,
)
from tests.fakes.faults import Crash

FAILED_AGAIN = "debited, payout failed"


def decided(desk: Desk, trade_no: str) -> str:
    """What the table says of the trade as it stands."""
    return decide(read_facts(desk.production.trade(trade_no), desk.production.ports)).outcome


def has_had_no_effect(desk: Desk, trade_no: str, before: object) -> bool:
    """Whether nothing was asked of the bank, and neither row nor money moved since ``before``."""
    return not desk.production.bank.asked and state_of(desk, trade_no) == before


def state_of(desk: Desk, trade_no: str) -> object:
    return (
        desk.production.trades.row(trade_no),
        net_postings(desk, trade_no),
        len(desk.production.trades.corrections),
    )


# ---- paying again


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trade_paid_again_is_paid_under_the_next_number_and_whole(shape: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.is_confirmed_failed, report.money_moved) == ("repaired", False, True)
    assert desk.production.bank.asked == numbers(desk) == [f"{trade_no}-P1"]
    row = desk.production.trades.row(trade_no)
    assert (row["TRD_STATUS"], row["ACC_TRD_STATUS"], row["E_ACC_TRD_STATUS"]) == (8, 1, 1)
    assert (net_postings(desk, trade_no)["BANK"], desk.production.balance(trade_no)) == (
        AMOUNT,
        BALANCE - AMOUNT,
    )
    assert decided(desk, trade_no) == "consistent"
    assert report.steps[0].key == f"PCL:PBAP:{trade_no}:pay_again:{trade_no}-P1"


def test_the_next_number_stands_in_productions_table_before_the_bank_is_called() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    held: list[str] = []
    requests = desk.production.trades.requests
    desk.production.faults.on("bank.pay", lambda: held.extend(each.request_no for each in requests))
    desk.order(trade_no, code, "pay_again")
    assert held == [f"{trade_no}-0", f"{trade_no}-P1"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_payout_that_fails_again_is_for_a_person_who_may_order_again(shape: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.replies.append("failed:E1002")
    assert desk.order(trade_no, code, "pay_again").outcome == "wait"
    wait_for_failures_to_settle(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", FAILED_AGAIN)
    assert desk.order(trade_no, code, "pay_again").outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]


def test_one_order_opens_one_number_however_often_it_is_carried_out() -> None:
    desk = Desk()
    desk.production.bank.failure_settles_s = 0
    trade_no, code = load_unpaid(desk, "processing")
    seen = desk.facts_hash(trade_no)
    desk.production.bank.default_reply = "failed:E1002"
    assert desk.order(trade_no, code, "pay_again", seen=seen).reason == FAILED_AGAIN
    report = desk.order(trade_no, code, "pay_again", seen=seen)
    assert (report.outcome, report.reason) == ("refused", "the facts have changed since the order was given")
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


@pytest.mark.parametrize("loss", ["lost_before", "lost_after", "lost_accepted"])
@pytest.mark.parametrize("shape", ["ours", "processing", "settled in the ledger"])
def test_a_lost_reply_is_asked_again_under_the_same_number_without_a_further_order(
    shape: str, loss: str
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.replies.append(loss)
    first = desk.order(trade_no, code, "pay_again")
    assert (
        first.outcome == {"lost_before": "unknown", "lost_after": "repaired", "lost_accepted": "wait"}[loss]
    )
    if loss == "lost_accepted":
        desk.production.bank.settle(f"{trade_no}-P1")
    if loss != "lost_after":
        assert desk.attempt(trade_no, code).outcome == "repaired"
    assert set(desk.production.bank.asked) == {f"{trade_no}-P1"}
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_number_0_that_never_arrived_is_submitted_again_only_to_a_bank_that_deduplicates() -> None:
    for deduplicates in (True, False):
        desk = Desk()
        desk.production.bank.deduplicates = deduplicates
        trade_no, code = load_unpaid(desk, "processing")
        desk.production.bank.records.clear()
        report = desk.order(trade_no, code, "pay_again")
        assert report.outcome == ("repaired" if deduplicates else "needs_human")
        assert desk.production.bank.asked == ([f"{trade_no}-0"] if deduplicates else [])


def test_a_bank_that_does_not_deduplicate_is_paid_again_after_an_explicit_failure_and_once() -> None:
    desk = Desk()
    desk.production.bank.deduplicates = False
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.bank.replies.append("lost_before")
    assert desk.order(trade_no, code, "pay_again").outcome == "needs_human"
    wait_for_days_to_close(desk)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert desk.order(trade_no, code, "reverse").outcome == "refused"
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


@pytest.mark.parametrize(
    ("shape", "is_ours"), [("ours", True), ("ours two-step", True), ("processing", False)]
)
def test_a_further_order_that_ends_without_effect_still_tells_of_our_own_debit(
    shape: str, *, is_ours: bool
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.failure_settles_s = 0
    desk.production.bank.default_reply = "failed:E1002"
    for _ in range(2):
        report = desk.order(trade_no, code, "pay_again")
        assert (report.reason, report.money_moved) == (FAILED_AGAIN, is_ours)
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    assert not desk.order(trade_no, code, "pay_again").money_moved


@pytest.mark.parametrize("is_order", [True, False])
def test_so_does_one_that_is_gone_on_with(*, is_order: bool) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    desk.production.faults.down("trades.open_bank_request", error=Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "pay_again")
    desk.production.faults.heal()
    desk.production.trades.change(trade_no, FAILED_MSG="人工")
    desk.production.clock.advance(hours=1)
    again = desk.order(trade_no, code, "pay_again") if is_order else desk.attempt(trade_no, code)
    assert (again.outcome, again.money_moved) == ("needs_human", True)
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


# ---- reversing


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trade_reversed_gives_the_money_back_and_is_confirmed_failed(shape: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.is_confirmed_failed, report.money_moved) == ("repaired", True, True)
    assert desk.production.bank.asked == []
    row = desk.production.trades.row(trade_no)
    assert {name: row[name] for name in row if name not in ("TRD_ID", "TRD_NUM")} == {
        "TRD_STATUS": 9,
        "ACC_TRD_NUM": None,
        "ACC_TRD_STATUS": 0,
        "E_ACC_TRD_NUM": None,
        "E_ACC_TRD_STATUS": 0,
        "FAILED_MSG": "提现已冲正",
    }
    assert (net_postings(desk, trade_no), desk.production.balance(trade_no)) == ({}, BALANCE)
    assert decided(desk, trade_no) == "consistent"
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "consistent"


def test_each_entry_is_taken_back_under_a_key_of_its_own_the_newest_first() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "failed, both on row")
    report = desk.order(trade_no, code, "reverse")
    assert [step.key.removeprefix(f"PCL:PBAP:{trade_no}:") for step in report.steps][:2] == [
        "reverse:2",
        "reverse:1",
    ]
    reversals = [each for each in desk.production.ledger.of_trade(trade_no) if each.reverses]
    assert [each.leg for each in reversals] == [Leg.SECOND, Leg.FIRST]


@pytest.mark.parametrize(("shape", "leg"), [("processing", Leg.BOTH), ("processing two-step", Leg.FIRST)])
def test_a_debit_posted_again_behind_a_finished_reversal_is_not_ordered_to_be_reversed_again(
    shape: str, leg: Leg
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    desk.production.clock.advance(hours=1)
    desk.production.book(trade_no, leg)
    facts = read_facts(desk.production.trade(trade_no), desk.production.ports)
    assert find_obstacle(facts, "reverse") == REVERSED_BEFORE
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert report.reason == f"the facts do not allow it: {REVERSED_BEFORE}"
    assert desk.production.trades.repairs[trade_no].state == "done"


def test_a_debit_that_a_person_has_taken_back_before_may_be_reversed_by_an_order() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.ledger.reverse(desk.production.ledger.of_trade(trade_no)[0].voucher_no)
    desk.production.book(trade_no, Leg.BOTH)
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"


def test_a_reversal_whose_reply_is_lost_is_not_made_twice() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "failed, both on row")
    desk.production.faults.down("ledger.reverse_entry", "after")
    assert desk.order(trade_no, code, "reverse").outcome == "unknown"
    desk.production.faults.heal()
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert (net_postings(desk, trade_no), len(desk.production.ledger.of_trade(trade_no))) == ({}, 4)


def test_a_reversed_trade_is_never_debited_or_paid_again() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    desk.order(trade_no, code, "reverse")
    desk.production.clock.advance(hours=1)
    for action in ACTIONS:
        assert desk.order(trade_no, code, action).outcome == "refused"
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert (desk.production.bank.asked, desk.production.balance(trade_no)) == ([], BALANCE)


def test_an_entry_a_person_takes_back_meanwhile_is_left_at_that() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "failed, both on row")
    ledger = desk.production.ledger
    entries = {entry.leg: entry.voucher_no for entry in ledger.of_trade(trade_no)}
    desk.production.faults.on("ledger.reverse_entry", lambda: ledger.reverse(entries[Leg.FIRST]))
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    assert desk.production.balance(trade_no) == BALANCE
    assert decided(desk, trade_no) == "consistent"


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_number_that_was_only_never_found_is_not_reversed(is_settled: bool) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.bank.records.clear()
    if not is_settled:
        desk.production.bank.closed_until = desk.production.clock.at.min.replace(
            tzinfo=desk.production.clock.at.tzinfo
        )
    before = state_of(desk, trade_no)
    report = desk.order(trade_no, code, "reverse")
    assert report.outcome == ("refused" if is_settled else "wait")
    assert has_had_no_effect(desk, trade_no, before)


# ---- what refuses


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", ["ours", "processing", "settled in the ledger"])
def test_an_older_number_that_turns_out_paid_before_the_order_arrives_stops_it(
    shape: str, action: Action
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    seen = desk.facts_hash(trade_no)
    desk.production.bank.settle(f"{trade_no}-0", "success")
    before = state_of(desk, trade_no)
    report = desk.order(trade_no, code, action, seen=seen)
    assert (report.outcome, report.reason) == ("refused", "the facts do not allow it: the bank has paid")
    assert has_had_no_effect(desk, trade_no, before)
    if shape == "ours":
        assert desk.attempt(trade_no, code).outcome == "repaired"
        assert numbers(desk) == [f"{trade_no}-0"]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_older_number_that_turns_out_paid_under_the_claim_stops_it(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    bank = desk.production.bank
    desk.production.faults.on("trades.claim_repair", lambda: bank.settle(f"{trade_no}-0", "success"))
    before = state_of(desk, trade_no)
    assert desk.order(trade_no, code, action).outcome == "refused"
    assert has_had_no_effect(desk, trade_no, before)
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("status", ["accepted", "failed"])
def test_a_number_the_bank_takes_up_again_is_waited_for(action: Action, status: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.bank.settle(f"{trade_no}-0", status, "E1001" if status == "failed" else None)
    before = state_of(desk, trade_no)
    assert (desk.order(trade_no, code, action).outcome, has_had_no_effect(desk, trade_no, before)) == (
        "wait",
        True,
    )


@pytest.mark.parametrize("action", ACTIONS)
def test_a_row_that_has_changed_since_people_saw_it_stops_the_order(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    seen = desk.facts_hash(trade_no)
    desk.production.trades.change(trade_no, FAILED_MSG="人工")
    assert desk.order(trade_no, code, action, seen=seen).outcome == "wait"
    desk.production.clock.advance(minutes=10)
    before = state_of(desk, trade_no)
    assert desk.order(trade_no, code, action, seen=seen).outcome == "refused"
    assert has_had_no_effect(desk, trade_no, before)


@pytest.mark.parametrize("action", ACTIONS)
def test_another_payee_than_at_our_debit_is_for_a_person(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    desk.production.trades.change(trade_no, BANK_ACC_NO="6222-another")
    desk.production.bank.records[f"{trade_no}-0"].account = "6222-another"
    desk.production.clock.advance(minutes=10)
    before = state_of(desk, trade_no)
    report = desk.order(trade_no, code, action)
    assert (report.outcome, report.money_moved) == ("needs_human", True)
    assert has_had_no_effect(desk, trade_no, before)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_without_the_facts_it_stands_on_is_refused(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    before = state_of(desk, trade_no)
    assert desk.order(trade_no, code, action, seen="another").outcome == "refused"
    assert has_had_no_effect(desk, trade_no, before)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("case_id", ["S1", "S2", "S8", "S9"])
def test_a_trade_that_is_not_debited_and_unpaid_cannot_be_ordered_of(case_id: str, action: Action) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    before = state_of(desk, trade_no)
    assert desk.order(trade_no, code, action).outcome == "refused"
    assert has_had_no_effect(desk, trade_no, before)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_cancelled_before_its_first_effect_has_none(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "ours")
    desk.cancellation.is_on = True
    before = state_of(desk, trade_no)
    assert desk.order(trade_no, code, action).outcome == "cancelled"
    assert has_had_no_effect(desk, trade_no, before)
    desk.cancellation.is_on = False
    assert desk.order(trade_no, code, action).outcome == "repaired"


# ---- half way


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", ["trades.open_bank_request", "bank.pay"])
def test_a_repair_whose_payout_may_still_be_sent_is_not_ordered_of(action: Action, call: str) -> None:
    """Its agent may only be slow: number P1 is intended, and perhaps on no line yet."""
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.trades.requests.clear()
    desk.production.request(trade_no, "failed", "E1001")
    desk.production.faults.down(call, "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    before = state_of(desk, trade_no)
    report = desk.order(trade_no, code, action)
    assert (report.outcome, report.reason) == ("refused", "a repair half done goes on by itself")
    assert has_had_no_effect(desk, trade_no, before)
    assert desk.attempt(trade_no, code).outcome == "repaired"


def half_reversed(desk: Desk, call: str, shape: str = "failed, both on row") -> tuple[str, str]:
    """A trade whose reversal's agent died before the first call of this name."""
    trade_no, code = load_unpaid(desk, shape)
    desk.production.faults.down(call, "before", Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "reverse")
    desk.production.faults.heal()
    return trade_no, code


@pytest.mark.parametrize("by", ["its plan", "the order"])
def test_a_reversal_that_may_still_come_is_not_closed_as_if_it_had_not_been(by: str) -> None:
    """The agent thought dead may still send it: paid again meanwhile, the money would be gone twice."""
    desk = Desk()
    trade_no, code = half_reversed(desk, "ledger.reverse_entry")
    desk.production.bank.settle(f"{trade_no}-0", "success")
    report = desk.attempt(trade_no, code) if by == "its plan" else desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.reason) == ("wait", STILL_COMING)
    assert desk.production.trades.repairs[trade_no].state == "open"
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "resume"
    assert desk.order(trade_no, code, "pay_again").outcome == "refused"
    assert net_postings(desk, trade_no) != {}


@pytest.mark.parametrize(("status", "outcome"), [("success", "needs_human"), ("accepted", "wait")])
def test_the_bank_is_asked_again_before_each_entry_is_taken_back(status: str, outcome: str) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "failed, both on row")
    bank = desk.production.bank
    desk.production.faults.on("ledger.reverse_entry", lambda: bank.settle(f"{trade_no}-0", status))
    assert desk.order(trade_no, code, "reverse").outcome == outcome
    live = [each.leg for each in desk.production.ledger.of_trade(trade_no) if not each.is_reversed]
    assert Leg.FIRST in live
    assert desk.production.trades.corrections == []


def test_a_leg_posted_again_after_it_was_taken_back_keeps_the_row_from_being_written() -> None:
    desk = Desk()
    trade_no, code = half_reversed(desk, "trades.write_row", "processing")
    desk.production.book(trade_no, Leg.FIRST)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "another entry holds the leg")
    assert desk.production.trades.corrections == []


def test_another_entry_than_the_one_that_was_to_be_taken_back_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = half_reversed(desk, "ledger.reverse_entry", "processing")
    ledger = desk.production.ledger
    ledger.reverse(ledger.of_trade(trade_no)[0].voucher_no)
    desk.production.book(trade_no, Leg.BOTH)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "another entry holds the leg")
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


def test_a_row_changed_while_it_was_reversed_is_for_a_person_until_it_is_right() -> None:
    desk = Desk()
    trade_no, code = half_reversed(desk, "trades.write_row", "processing")
    desk.production.trades.change(trade_no, TRD_STATUS=8)
    assert desk.attempt(trade_no, code).reason == "row changed after money moved"
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.is_confirmed_failed) == ("repaired", True)
    assert desk.production.trades.corrections == []


def test_a_ledger_that_refuses_the_reversal_gives_it_to_a_person() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    stranger = Reversal(
        key=f"PCL:PBAP:{trade_no}:reverse:both",
        trade_no="another",
        voucher_no="GA0",
        intended_at=desk.production.clock(),
    )
    taken = desk.production.ledger.of_trade(trade_no)[0]
    desk.production.ledger.entries.append(
        msgspec.structs.replace(
            taken, trade_no=stranger.trade_no, key=stranger.key, voucher_no="GA1", reverses="GA0"
        )
    )
    before = desk.production.balance(trade_no)
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.money_moved) == ("needs_human", False)
    assert report.reason.startswith("the ledger refused: ")
    assert desk.production.balance(trade_no) == before
