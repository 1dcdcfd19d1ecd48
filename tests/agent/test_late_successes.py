"""A number given up as failed that the bank pays after all: each collection finds it, for a person.

The trade was paid again, reversed or confirmed as failed meanwhile and is finished, so nobody else
would ever look at it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agent.collectors import COLLECTORS, collect
from agent.collectors.late import LOOK_BACK
from agent.errors import PortError
from agent.facts import BankState
from agent.fixers.base import verify
from agent.records import Window
from tests.agent.test_collectors import EVER, Collected
from tests.agent.unpaid_trades import load_unpaid
from tests.agent.world import AMOUNT, Desk, load_case, numbers, wait_for_failures_to_settle
from tests.fakes.bank import BankRecord
from tests.fakes.faults import Crash

LONG_AGO = Window(start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2020, 1, 2, tzinfo=UTC))
"""A window that holds no row."""
PAID_TWICE = ("human", "more than one request number succeeded")
PAID_AND_REVERSED = FAILED_AND_PAID = ("human", "failed but bank paid")


def paid_again_by_plan(desk: Desk) -> tuple[str, str]:
    """A trade whose number 0 the bank had failed, and whose plan paid it under the next one."""
    trade_no, code = load_case(desk, "S7b")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    return _left_alone(desk, trade_no, code)


def paid_again_by_order(desk: Desk) -> tuple[str, str]:
    """A trade that people had paid again."""
    trade_no, code = load_unpaid(desk, "processing")
    assert desk.order(trade_no, code, "pay_again").outcome == "repaired"
    return _left_alone(desk, trade_no, code)


def reversed_by_order(desk: Desk) -> tuple[str, str]:
    """A trade whose money people had given back to the customer's account."""
    trade_no, code = load_unpaid(desk, "processing")
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    return _left_alone(desk, trade_no, code)


def confirmed_failed(desk: Desk) -> tuple[str, str]:
    """A trade stuck in processing that its plan confirmed as failed: neither debited nor paid."""
    trade_no, code = load_case(desk, "S9")
    assert desk.attempt(trade_no, code).outcome == "repaired"
    return _left_alone(desk, trade_no, code)


def _left_alone(desk: Desk, trade_no: str, code: str) -> tuple[str, str]:
    desk.production.clock.advance(hours=1)
    assert Collected(desk).rows == []
    desk.production.faults.calls.clear()
    return trade_no, code


def pay_after_all(desk: Desk, trade_no: str) -> None:
    """The bank pays number 0: one it had failed, or one it had never heard of."""
    bank, number = desk.production.bank, f"{trade_no}-0"
    if number in bank.records:
        bank.settle(number)
    else:
        payee = desk.production.trade(trade_no).bank_account_no
        bank.put(BankRecord(number, "payout", "success", AMOUNT, payee))


each_way = pytest.mark.parametrize(
    ("load", "told"),
    [
        (paid_again_by_plan, PAID_TWICE),
        (paid_again_by_order, PAID_TWICE),
        (reversed_by_order, PAID_AND_REVERSED),
        (confirmed_failed, FAILED_AND_PAID),
    ],
)
Load = Callable[[Desk], tuple[str, str]]
Told = tuple[str, str]


@each_way
def test_a_number_given_up_that_is_paid_after_all_is_for_a_person(load: Load, told: Told) -> None:
    desk = Desk()
    trade_no, code = load(desk)
    pay_after_all(desk, trade_no)
    collected = Collected(desk)
    assert collected.brief == [(code, *told)]
    assert collected.rows[0].after is None
    report = verify(trade_no, desk.production.ports, desk.settings)
    assert (report.outcome, report.reason) == told


@each_way
def test_the_evidence_names_every_number_with_the_banks_word(load: Load, told: Told) -> None:
    desk = Desk()
    trade_no, _ = load(desk)
    pay_after_all(desk, trade_no)
    facts = Collected(desk).rows[0].facts
    assert facts is not None
    paid = [each.request_no for each in facts.bank.requests if each.verdict is BankState.SUCCESS]
    assert paid == ([f"{trade_no}-0", f"{trade_no}-P1"] if told == PAID_TWICE else [f"{trade_no}-0"])


@each_way
def test_nothing_more_is_moved_by_an_attempt_at_it(load: Load, told: Told) -> None:
    desk = Desk()
    trade_no, code = load(desk)
    pay_after_all(desk, trade_no)
    before = numbers(desk), desk.production.balance(trade_no), desk.production.trades.row(trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", told[1], False)
    assert (numbers(desk), desk.production.balance(trade_no), desk.production.trades.row(trade_no)) == before


@each_way
def test_it_is_found_whenever_its_row_changed_and_told_alike_each_time(load: Load, told: Told) -> None:
    """The server takes a row with the hash of one ignored for the same fact."""
    desk = Desk()
    trade_no, code = load(desk)
    pay_after_all(desk, trade_no)
    [first] = Collected(desk, window=LONG_AGO).rows
    desk.production.clock.advance(days=30)
    [later] = Collected(desk, window=LONG_AGO).rows
    assert (first.fixer_code, first.outcome, first.reason) == (code, *told)
    assert (later.row_hash, later.outcome, later.reason) == (first.row_hash, first.outcome, first.reason)


@each_way
def test_it_is_asked_about_for_so_long_and_no_longer(load: Load, told: Told) -> None:
    desk = Desk()
    trade_no, _ = load(desk)
    pay_after_all(desk, trade_no)
    desk.production.clock.at += LOOK_BACK - timedelta(hours=2)
    assert len(Collected(desk).rows) == 1
    desk.production.clock.advance(hours=2)
    desk.production.faults.calls.clear()
    assert Collected(desk).rows == []
    assert "bank.facts" not in desk.production.faults.calls


def test_a_reversed_trade_that_production_noted_as_paid_is_reported_once() -> None:
    desk = Desk()
    trade_no, _ = reversed_by_order(desk)
    pay_after_all(desk, trade_no)
    desk.production.trades.note(f"{trade_no}-0", "success")
    collected = Collected(desk, ["withdrawFailedFixServiceImpl"])
    assert collected.brief == [("withdrawFailedFixServiceImpl", *PAID_AND_REVERSED)]


def test_a_number_given_up_that_is_paid_with_another_amount_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = paid_again_by_plan(desk)
    payee = desk.production.trade(trade_no).bank_account_no
    desk.production.bank.put(BankRecord(f"{trade_no}-0", "payout", "success", AMOUNT + 1, payee))
    assert Collected(desk).brief == [(code, "human", "mismatch")]


@each_way
def test_a_number_that_stays_failed_is_asked_about_and_no_news(load: Load, told: Told) -> None:
    desk = Desk()
    load(desk)
    collected = Collected(desk)
    assert (collected.rows, collected.counts[1]) == ([], 0)
    assert desk.production.faults.calls.count("bank.facts") == 1


def test_a_trade_paid_under_its_only_number_is_not_asked_about() -> None:
    desk = Desk()
    desk.attempt(*load_case(desk, "S2"))
    desk.production.clock.advance(hours=1)
    desk.production.faults.calls.clear()
    assert Collected(desk).rows == []
    assert numbers(desk) == [desk.production.trades.requests[0].request_no]
    assert "trades.stepped" in desk.production.faults.calls
    assert "bank.facts" not in desk.production.faults.calls


def test_a_collection_of_recharges_asks_about_no_payout() -> None:
    desk = Desk()
    trade_no, _ = paid_again_by_plan(desk)
    pay_after_all(desk, trade_no)
    assert Collected(desk, ["rechargeFailedFixServiceImpl"]).rows == []
    assert "trades.stepped" not in desk.production.faults.calls


def test_any_collection_of_withdrawals_finds_it_whichever_fixer_paid() -> None:
    desk = Desk()
    trade_no, code = paid_again_by_plan(desk)
    pay_after_all(desk, trade_no)
    assert Collected(desk, ["withdrawTimeoutFixServiceImpl"]).brief == [(code, *PAID_TWICE)]


# ---- what cannot be told


@pytest.mark.parametrize("port", ["bank.facts", "trades.bank_requests"])
@each_way
def test_one_that_cannot_be_asked_about_is_unverified_and_found_by_the_next(
    load: Load, told: Told, port: str
) -> None:
    desk = Desk()
    trade_no, code = load(desk)
    pay_after_all(desk, trade_no)
    desk.production.faults.down(port)
    collected = Collected(desk, window=LONG_AGO)
    assert (collected.rows, collected.counts[:2]) == ([], (1, 1))
    desk.production.faults.heal()
    assert Collected(desk, window=LONG_AGO).brief == [(code, *told)]


@each_way
def test_one_whose_repair_cannot_be_read_is_unverified(load: Load, told: Told) -> None:
    desk = Desk()
    trade_no, _ = load(desk)
    pay_after_all(desk, trade_no)
    desk.production.faults.down("trades.find_repair")
    collected = Collected(desk, window=LONG_AGO)
    assert (collected.rows, collected.counts[:2]) == ([], (1, 1))


def test_a_reversed_one_is_unverified_while_the_ledger_is_down_and_one_paid_twice_is_told_all_the_same() -> (
    None
):
    for load, told in ((reversed_by_order, []), (paid_again_by_plan, ["human"])):
        desk = Desk()
        trade_no, _ = load(desk)
        pay_after_all(desk, trade_no)
        desk.production.faults.down("ledger.legs")
        collected = Collected(desk, window=LONG_AGO)
        assert [row.outcome for row in collected.rows] == told
        assert collected.counts[:2] == (1, 1 - len(told))


def test_a_number_given_up_that_the_bank_leaves_open_is_unverified() -> None:
    desk = Desk()
    trade_no, _ = paid_again_by_plan(desk)
    desk.production.bank.settle(f"{trade_no}-0", "accepted")
    collected = Collected(desk)
    assert (collected.rows, collected.counts[1]) == ([], 1)


def test_a_number_paid_is_not_hidden_by_another_the_bank_leaves_open() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    desk.production.bank.replies.append("failed:E1002")
    assert desk.order(trade_no, code, "pay_again").outcome == "wait"
    wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    _left_alone(desk, trade_no, code)
    pay_after_all(desk, trade_no)
    desk.production.bank.settle(f"{trade_no}-P1", "accepted")
    assert Collected(desk).brief == [(code, "wait", "bank")]
    desk.production.bank.settle(f"{trade_no}-P1", "failed", "E1002")
    wait_for_failures_to_settle(desk)
    assert Collected(desk).brief == [(code, *PAID_AND_REVERSED)]


def test_what_else_is_found_is_told_though_our_own_repairs_cannot_be_read() -> None:
    desk = Desk()
    load_case(desk, "S2")
    desk.production.faults.down("trades.stepped")
    ports, settings = desk.production.ports, desk.settings
    chunks = collect(list(COLLECTORS), EVER, ports, settings, desk.cancellation, lambda *_: None)
    assert [row.fixer_code for row in next(chunks)] == ["interWithdrawFixServiceImpl"]
    with pytest.raises(PortError):
        next(chunks)


# ---- what is under way


def test_a_repair_that_is_not_read_back_yet_looks_for_itself() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7b")
    desk.production.faults.down("trades.close_repair", error=Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.production.clock.advance(hours=1)
    pay_after_all(desk, trade_no)
    assert Collected(desk).rows == []
    assert desk.attempt(trade_no, code).outcome == "needs_human"


def test_a_row_written_a_moment_ago_is_left_to_the_next_collection() -> None:
    desk = Desk()
    trade_no, code = paid_again_by_plan(desk)
    pay_after_all(desk, trade_no)
    desk.production.trades.change(trade_no)
    assert Collected(desk).rows == []
    desk.production.clock.advance(minutes=10)
    assert Collected(desk).brief == [(code, *PAID_TWICE)]
