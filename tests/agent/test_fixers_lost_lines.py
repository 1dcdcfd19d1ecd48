"""A payout the bank knows and production's tables have lost: nobody gives the money back as well."""

from datetime import timedelta

import pytest

from agent.decision import RECHARGE_TIMEOUT, WITHDRAW_TIMEOUT
from agent.facts import Kind
from agent.fixers.attempt import STILL_COMING
from agent.fixers.base import RepairReport, verify
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID
from agent.fixers.payout_unasked import KNOWN_ALREADY
from agent.fixers.reading import TOO_OLD
from agent.fixers.steps import MOVED_SINCE
from agent.money import Money
from tests.agent.test_fixers_last_look import after_the_claim
from tests.agent.test_fixers_places import is_closed_unasked, refused, takes_the_place
from tests.agent.unpaid_trades import SHAPES, load_unpaid, net_postings
from tests.agent.world import AMOUNT, BALANCE, Desk, numbers
from tests.fakes.faults import Crash
from tests.fakes.production import blank_row

DEDUPLICATES = pytest.mark.parametrize("deduplicates", [True, False])
NONE_MOVED = ("needs_human", LINE_LOST, False)


def pays(desk: Desk, trade_no: str, reply: str = "success") -> None:
    """The bank was asked under the next number, in a life that production's tables no longer hold."""
    bank, seq = desk.production.bank, max(each.seq for each in desk.production.trades.requests) + 1
    bank.replies.append(reply)
    bank.pay(f"{trade_no}-P{seq}", Money(AMOUNT), desk.production.trade(trade_no).bank_account_no)


def end_of(report: RepairReport) -> tuple[str, str, bool]:
    return report.outcome, report.reason, report.money_moved


def unpaid(shape: str, *, deduplicates: bool) -> tuple[Desk, str, str]:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.deduplicates = deduplicates
    return desk, trade_no, code


# ---- found before anything is given back


@DEDUPLICATES
@pytest.mark.parametrize("reply", ["success", "accepted", "failed:E1001"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_bank_knows_and_production_has_lost_is_not_reversed(
    shape: str, reply: str, deduplicates: bool
) -> None:
    desk, trade_no, code = unpaid(shape, deduplicates=deduplicates)
    pays(desk, trade_no, reply)
    before = net_postings(desk, trade_no)
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert not [step for step in report.steps if step.name.startswith("reverse")]
    assert net_postings(desk, trade_no) == before
    assert desk.production.trades.corrections == []


@DEDUPLICATES
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_paid_beside_it_where_production_has_taken_its_place(
    shape: str, deduplicates: bool
) -> None:
    desk, trade_no, code = unpaid(shape, deduplicates=deduplicates)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert numbers(desk) == [f"{trade_no}-P1"]


@DEDUPLICATES
@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_nor_is_it_by_a_plan(case_id: str, deduplicates: bool) -> None:
    desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert numbers(desk) == [f"{trade_no}-P1"]


@DEDUPLICATES
@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_nor_beside_one_that_stood_behind_productions_own_lost_with_it(
    case_id: str, deduplicates: bool
) -> None:
    desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
    takes_the_place(desk, trade_no)
    pays(desk, trade_no)
    desk.production.trades.requests.pop()
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert numbers(desk) == [f"{trade_no}-P2"]


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_nor_under_one_of_productions_own_that_never_reached_the_bank(case_id: str) -> None:
    desk, trade_no, code = refused(case_id)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no, None)
    assert verify(trade_no, desk.production.ports, desk.settings).reason == LINE_LOST
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_nor_where_people_pay_it_again() -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=True)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no, None)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert numbers(desk) == [f"{trade_no}-P1"]


@DEDUPLICATES
def test_nothing_paid_twice_is_told_as_repaired(deduplicates: bool) -> None:
    desk, trade_no, _ = refused("S9", deduplicates=deduplicates)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no, "success")
    report = desk.attempt(trade_no, WITHDRAW_TIMEOUT)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT


@DEDUPLICATES
def test_nor_is_it_reversed(deduplicates: bool) -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    takes_the_place(desk, trade_no)
    pays(desk, trade_no)
    desk.production.trades.requests.pop()
    before = net_postings(desk, trade_no)
    report = desk.order(trade_no, code, "reverse")
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert net_postings(desk, trade_no) == before


@DEDUPLICATES
@pytest.mark.parametrize("case_id", ["S2", "S3", "S7a", "S7b"])
@pytest.mark.parametrize("is_taken", [True, False])
def test_a_look_calls_for_no_payout_that_ends_with_a_person(
    case_id: str, is_taken: bool, deduplicates: bool
) -> None:
    """Were it to, a person would be asked again after each: nothing is paid until the line is restored."""
    desk, trade_no, code = refused(case_id, deduplicates=deduplicates)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "repair"
    pays(desk, trade_no)
    if is_taken:
        takes_the_place(desk, trade_no)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    if deduplicates and not is_taken:
        # Asked again under the same number, the bank tells what it did.
        assert (seen.outcome, desk.attempt(trade_no, code).outcome) == ("repair", "repaired")
        assert numbers(desk) == [f"{trade_no}-P1"]
        return
    assert (seen.outcome, seen.reason, seen.after, seen.steps) == ("human", LINE_LOST, None, ())
    assert end_of(desk.attempt(trade_no, code)) == NONE_MOVED
    assert (desk.production.trades.repairs, numbers(desk)) == ({}, [f"{trade_no}-P1"])


@pytest.mark.parametrize("case_id", ["S2", "S3", "S7a", "S7b"])
def test_nothing_is_begun_while_the_bank_cannot_say_whether_a_line_was_lost(case_id: str) -> None:
    """A debit made first would stand, should the bank then know the number."""
    desk, trade_no, code = refused(case_id, deduplicates=False)
    desk.production.bank.silent_of.add(f"{trade_no}-P1")
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason, seen.after, seen.steps) == ("wait", "bank", None, ())
    assert end_of(desk.attempt(trade_no, code)) == ("wait", "bank", False)
    assert desk.production.trades.repairs == {}
    desk.production.bank.silent_of.clear()
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("case_id", ["S2", "S3"])
def test_a_look_tells_that_no_number_can_be_chosen(case_id: str) -> None:
    desk, trade_no, code = refused(case_id, deduplicates=True)
    desk.production.trades.requests.clear()
    seen = verify(trade_no, desk.production.ports, desk.settings)
    report = desk.attempt(trade_no, code)
    assert (seen.outcome, report.outcome, seen.reason) == ("human", "needs_human", report.reason)
    assert (seen.after, seen.steps) == (None, ())


def test_a_bank_that_is_slow_to_tell_of_other_numbers_is_asked_to_pay_all_the_same() -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=True)
    takes_the_place(desk, trade_no)
    seen = desk.facts_hash(trade_no)
    desk.production.faults.on("bank.facts", lambda: desk.production.clock.advance(seconds=16))
    assert desk.order(trade_no, code, "pay_again", seen=seen).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P2"]


def test_a_number_known_already_behind_our_debit_is_not_reversed() -> None:
    desk, trade_no, code = refused("S2", deduplicates=False)
    after_the_claim(desk, lambda: pays(desk, trade_no))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", KNOWN_ALREADY)
    assert is_closed_unasked(desk, trade_no)
    before = net_postings(desk, trade_no)
    for _ in range(2):
        assert desk.order(trade_no, code, "reverse").reason == LINE_LOST
    assert desk.order(trade_no, code, "pay_again").reason == KNOWN_ALREADY
    assert desk.order(trade_no, code, "reverse").reason == LINE_LOST
    assert (numbers(desk), net_postings(desk, trade_no)) == ([f"{trade_no}-P1"], before)


@DEDUPLICATES
def test_a_lost_number_is_found_though_production_took_its_place(deduplicates: bool) -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    pays(desk, trade_no)
    takes_the_place(desk, trade_no)
    assert end_of(desk.order(trade_no, code, "reverse")) == NONE_MOVED


@DEDUPLICATES
def test_a_number_whose_step_alone_is_left_is_found(deduplicates: bool) -> None:
    """Of production's table the newest lines were lost, its own among them."""
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    takes_the_place(desk, trade_no)
    desk.production.bank.replies.append("accepted")
    assert desk.order(trade_no, code, "pay_again").outcome == "wait"
    desk.production.bank.settle(f"{trade_no}-P2", "failed", "E1001")
    desk.production.clock.advance(minutes=10)
    assert desk.attempt(trade_no, code).reason == OWN_DEBIT_UNPAID
    desk.production.bank.settle(f"{trade_no}-P2")
    requests = desk.production.trades.requests
    requests[:] = [each for each in requests if each.seq == 0]
    assert end_of(desk.order(trade_no, code, "reverse")) == NONE_MOVED


@DEDUPLICATES
def test_one_the_bank_comes_to_know_under_the_claim_is_found(deduplicates: bool) -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    after_the_claim(desk, lambda: pays(desk, trade_no))
    assert end_of(desk.order(trade_no, code, "reverse")) == NONE_MOVED
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


@DEDUPLICATES
@pytest.mark.parametrize("by", ["its plan", "the order"])
def test_one_the_bank_comes_to_know_while_a_reversal_is_written_down_is_found(
    by: str, deduplicates: bool
) -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    desk.production.faults.down("ledger.reverse_entry", "before", Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "reverse")
    desk.production.faults.heal()
    pays(desk, trade_no)
    before = net_postings(desk, trade_no)
    ends = ((19, ("wait", STILL_COMING), "open"), (1, ("needs_human", LINE_LOST), "abandoned"))
    for minutes, end, state in ends:
        desk.production.clock.advance(minutes=minutes)
        report = desk.attempt(trade_no, code) if by == "its plan" else desk.order(trade_no, code, "reverse")
        assert (report.outcome, report.reason) == end
        assert desk.production.trades.repairs[trade_no].state == state
    assert net_postings(desk, trade_no) == before


def test_the_second_entry_is_not_taken_back_once_the_bank_knows_a_lost_number() -> None:
    desk, trade_no, code = unpaid("failed, both on row", deduplicates=True)
    desk.production.faults.on("ledger.reverse_entry", lambda: pays(desk, trade_no))
    report = desk.order(trade_no, code, "reverse")
    assert end_of(report) == ("needs_human", LINE_LOST, True)
    assert desk.production.trades.corrections == []


# ---- doubt


@DEDUPLICATES
def test_a_bank_that_cannot_say_is_waited_for(deduplicates: bool) -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=deduplicates)
    before = net_postings(desk, trade_no)
    desk.production.bank.silent_of.add(f"{trade_no}-P1")
    assert end_of(desk.order(trade_no, code, "reverse")) == ("wait", "bank", False)
    assert net_postings(desk, trade_no) == before
    desk.production.bank.silent_of.clear()
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"


# ---- the way out, and what people are told


def test_a_restored_line_says_what_the_bank_has_done() -> None:
    desk, trade_no, code = refused("S2", deduplicates=False)
    after_the_claim(desk, lambda: pays(desk, trade_no))
    desk.attempt(trade_no, code)
    desk.production.request(trade_no, "success", None, seq=1, request_no=f"{trade_no}-P1")
    assert desk.order(trade_no, code, "reverse").outcome == "refused"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_a_bank_that_deduplicates_restores_the_line_where_people_pay_again() -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=True)
    pays(desk, trade_no)
    assert desk.order(trade_no, code, "reverse").reason == LINE_LOST
    assert desk.order(trade_no, code, "pay_again").outcome == "repaired"
    assert numbers(desk) == [f"{trade_no}-P1"]


@DEDUPLICATES
@pytest.mark.parametrize(
    ("shape", "reason"), [("ours", OWN_DEBIT_UNPAID), ("processing", "processing, debited, bank failed")]
)
def test_a_look_tells_of_the_lost_line(shape: str, reason: str, deduplicates: bool) -> None:
    desk, trade_no, _ = unpaid(shape, deduplicates=deduplicates)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", reason)
    pays(desk, trade_no)
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", LINE_LOST)


# ---- found before a failure is confirmed


def unfinished(desk: Desk, kind: Kind, status: str | None) -> tuple[str, str]:
    """A trade that still says processing; ``status``: what the bank did under production's first number."""
    trade_no = "TX20260301000088"
    mode = "single_step" if kind is Kind.WITHDRAW else None
    desk.production.add_trade(blank_row(88, trade_no, 0, kind), kind.value, mode, balance=BALANCE)
    desk.production.request(trade_no, status, "E1001" if status == "failed" else None)
    return trade_no, RECHARGE_TIMEOUT if kind is Kind.RECHARGE else WITHDRAW_TIMEOUT


def is_told_as_lost(desk: Desk, trade_no: str, code: str) -> bool:
    seen = verify(trade_no, desk.production.ports, desk.settings)
    told = (seen.outcome, seen.reason) == ("human", LINE_LOST)
    is_left = desk.production.trades.corrections == [] and not desk.production.trades.repairs
    return told and is_left and end_of(desk.attempt(trade_no, code)) == NONE_MOVED


@pytest.mark.parametrize("status", ["success", "accepted", "failed"])
@pytest.mark.parametrize("kind", Kind)
def test_a_trade_whose_only_line_was_lost_is_not_confirmed_as_failed(kind: Kind, status: str) -> None:
    desk = Desk()
    trade_no, code = unfinished(desk, kind, status)
    desk.production.trades.requests.clear()
    assert is_told_as_lost(desk, trade_no, code)
    assert desk.production.trades.row(trade_no)["TRD_STATUS"] == 0


@pytest.mark.parametrize("status", ["failed", None])
def test_nor_is_one_paid_under_a_later_number_that_was_lost(status: str | None) -> None:
    """The ledger failed over with it, and lost the debit."""
    desk = Desk()
    trade_no, code = unfinished(desk, Kind.WITHDRAW, status)
    pays(desk, trade_no)
    assert is_told_as_lost(desk, trade_no, code)


def is_moved_and_lost(desk: Desk, trade_no: str) -> None:
    """The bank carries production's own request out after all, and production's table loses its line."""
    requests = desk.production.trades.requests
    requests.clear()
    desk.production.request(trade_no, "success")
    requests.clear()


@pytest.mark.parametrize(
    ("kind", "why"), [(Kind.RECHARGE, MOVED_SINCE), (Kind.WITHDRAW, "failed but bank paid")]
)
def test_nor_is_one_whose_line_is_lost_once_it_is_claimed(kind: Kind, why: str) -> None:
    """What is read back tells nothing of it, however often."""
    desk = Desk()
    trade_no, code = unfinished(desk, kind, None)
    after_the_claim(desk, lambda: is_moved_and_lost(desk, trade_no))
    for _ in range(2):
        report = desk.attempt(trade_no, code)
        assert (*end_of(report), report.is_confirmed_failed) == (*NONE_MOVED, False)
    assert desk.production.trades.repairs[trade_no].state == "open"
    desk.production.request(trade_no, "success")
    assert desk.attempt(trade_no, code).reason == f"read back: {why}"


def test_nor_is_a_reversal_told_as_made_whose_line_is_lost_behind_it() -> None:
    desk, trade_no, code = unpaid("processing", deduplicates=True)
    desk.production.faults.on("trades.write_row", lambda: is_moved_and_lost(desk, trade_no))
    assert end_of(desk.order(trade_no, code, "reverse")) == ("needs_human", LINE_LOST, True)


def test_a_bank_that_cannot_say_is_waited_for_before_a_failure_is_told() -> None:
    desk = Desk()
    trade_no, code = unfinished(desk, Kind.WITHDRAW, None)
    after_the_claim(desk, lambda: desk.production.bank.silent_of.add(f"{trade_no}-P1"))
    assert end_of(desk.attempt(trade_no, code)) == ("unknown", "read back: bank", False)
    desk.production.bank.silent_of.clear()
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("kind", Kind)
def test_nor_is_one_called_whole_that_production_itself_calls_failed(kind: Kind) -> None:
    """Its row and the ledger agree, and so would the bank, of which nobody can ask by any line."""
    desk = Desk()
    trade_no, code = unfinished(desk, kind, "success")
    desk.production.trades.requests.clear()
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    desk.production.clock.advance(hours=1)
    assert is_told_as_lost(desk, trade_no, code)
    desk.production.bank.silent_of.add(f"{trade_no}-0")
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("wait", "bank")
    assert end_of(desk.attempt(trade_no, code)) == ("wait", "bank", False)


@pytest.mark.parametrize("kind", Kind)
def test_a_trade_that_never_asked_the_bank_is_confirmed_as_failed(kind: Kind) -> None:
    desk = Desk()
    trade_no, code = unfinished(desk, kind, None)
    desk.production.trades.requests.clear()
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.is_confirmed_failed) == ("repaired", True)


def test_a_bank_that_cannot_say_is_waited_for_before_a_failure_is_confirmed() -> None:
    desk = Desk()
    trade_no, code = unfinished(desk, Kind.WITHDRAW, None)
    desk.production.bank.silent_of.add(f"{trade_no}-P1")
    assert end_of(desk.attempt(trade_no, code)) == ("wait", "bank", False)
    assert desk.production.trades.row(trade_no)["TRD_STATUS"] == 0


@pytest.mark.parametrize(
    ("kind", "number"), [(Kind.RECHARGE, "0"), (Kind.WITHDRAW, "0"), (Kind.WITHDRAW, "P1")]
)
def test_a_look_waits_for_the_bank_as_the_attempt_does(kind: Kind, number: str) -> None:
    """Were it to call for a repair, each look would have one begun that only waits."""
    desk = Desk()
    trade_no, code = unfinished(desk, kind, None)
    if number == "0":
        desk.production.trades.requests.clear()
    desk.production.bank.silent_of.add(f"{trade_no}-{number}")
    for _ in range(2):
        seen = verify(trade_no, desk.production.ports, desk.settings)
        assert (seen.outcome, seen.reason, seen.after, seen.steps) == ("wait", "bank", None, ())
        assert seen.fixer_code == code
        assert end_of(desk.attempt(trade_no, code)) == ("wait", "bank", False)
    desk.production.bank.silent_of.clear()
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.fixer_code) == ("repair", code)
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_of_a_trade_too_old_a_look_tells_that_first() -> None:
    desk = Desk(rules={"max_age": timedelta(0)})
    trade_no, _ = unfinished(desk, Kind.WITHDRAW, None)
    desk.production.bank.silent_of.add(f"{trade_no}-P1")
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("human", f"{TOO_OLD}0")
