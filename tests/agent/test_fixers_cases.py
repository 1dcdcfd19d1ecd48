"""The ten cases of the product document, exactly: row, ledger, balance, payouts and their numbers."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.world import AMOUNT, CASES, Desk, load_case


@pytest.mark.parametrize("case_id", CASES)
def test_each_case_comes_back_exactly_as_the_document_says(case_id: str) -> None:
    _repair_and_compare(Desk(), case_id, AMOUNT, None)


@settings(max_examples=40, deadline=None)
@given(
    case_id=st.sampled_from(sorted(CASES)),
    number=st.from_regex(r"[A-Z]{2}[0-9]{18}", fullmatch=True),
    amount=st.integers(1, 900_000),
    hours=st.integers(0, 24 * 400),
)
def test_each_case_comes_back_under_any_number_amount_and_time(
    case_id: str, number: str, amount: int, hours: int
) -> None:
    desk = Desk()
    desk.production.clock.advance(hours=hours)
    desk.production.bank.closed_until = desk.production.clock() - timedelta(hours=1)
    _repair_and_compare(desk, case_id, amount, number)


def _repair_and_compare(desk: Desk, case_id: str, amount: int, trade_no: str | None) -> None:
    case, production = CASES[case_id], desk.production
    number, fixer_code = load_case(desk, case_id, amount=amount, trade_no=trade_no)
    before = production.trades.row(number)
    entries, balance = len(production.ledger.entries), production.balance(number)

    report = desk.attempt(number, fixer_code)

    assert (report.outcome, report.reason) == ("repaired", "")
    after = production.trades.row(number)
    assert (report.before, report.after) == (before, after)
    assert report.is_confirmed_failed == (case["after"]["TRD_STATUS"] == 9)
    _compare_row(before, after, case["after"])
    _compare_vouchers(desk, number, after, amount)
    world = case["after_world"]
    assert len(production.ledger.entries) - entries == world["ledger_entries_added"]
    change = {"+amount": amount, "-amount": -amount, "0": 0}[world["customer_balance"]]
    assert production.balance(number) - balance == change
    numbers = {"request number 0 again": [f"{number}-0"], "{trade_no}-P1": [f"{number}-P1"], None: []}
    assert [payment.request_no for payment in production.bank.payments] == numbers[world.get("payout_number")]
    assert production.trades.corrections[-1].before == before
    repair = production.trades.repairs[number]
    assert repair.state == "done"


def _compare_row(before: dict[str, Any], after: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert (after["TRD_ID"], after["TRD_NUM"]) == (before["TRD_ID"], before["TRD_NUM"])
    labels: dict[str, object] = {}
    for column, value in wanted.items():
        if value == "kept":
            assert after[column] == before[column]
        elif isinstance(value, str) and value.startswith("GA-"):
            assert labels.setdefault(value, after[column]) == after[column]
        elif column.endswith("TRD_NUM") and value is not None:
            assert after[column]
        else:
            assert after[column] == value, column


def _compare_vouchers(desk: Desk, number: str, after: dict[str, Any], amount: int) -> None:
    """Every GA number on the row exists in the ledger for that trade and amount."""
    held = {entry.voucher_no: entry for entry in desk.production.ledger.of_trade(number)}
    for column in ("ACC_TRD_NUM", "E_ACC_TRD_NUM"):
        if after[column] is not None:
            assert held[after[column]].amount == amount
