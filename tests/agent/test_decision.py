"""The decision over every combination of facts, and what it must not depend on."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.decision import REPAIRED_MESSAGE, Decision, corrected_row, decide, predict
from agent.facts import (
    BankFact,
    BankState,
    Bookkeeping,
    Facts,
    Kind,
    LegFact,
    LegState,
    RequestFact,
    Row,
    Status,
)
from agent.fixers import FIXERS

TABLE = [
    json.loads(line)
    for line in Path(__file__).with_name("decision_table.jsonl").read_text(encoding="utf-8").splitlines()
]
STATUSES = {0: Status.PROCESSING, 8: Status.SUCCESS, 9: Status.FAILED}
VOUCHERS = ("GA160724154946100113", "GA160724154946100114")


def facts_of(line: dict[str, Any]) -> Facts:
    """The facts a line of the table speaks of."""
    is_recharge = line["kind"] == "recharge"
    return Facts(
        trade_no="CO160724154936100036",
        kind=Kind(line["kind"]),
        bookkeeping=None if is_recharge else Bookkeeping(line["bookkeeping"]),
        status=STATUSES[line["trd_status"]],
        is_acc=bool(line["acc"]),
        is_e_acc=None if is_recharge else bool(line["e_acc"]),
        first=_leg(line["ledger_leg1"], VOUCHERS[0]),
        second=None if is_recharge else _leg(line["ledger_leg2"], VOUCHERS[1]),
        bank=BankFact(BankState(line["bank"])),
        amount_minor=10_050,
    )


def _leg(state: str, voucher_no: str) -> LegFact:
    return LegFact(LegState(state), voucher_no if state == "POSTED" else None)


def expected(line: dict[str, Any]) -> Decision:
    """The decision a line of the table gives."""
    target = STATUSES[line["trd_status_after"]] if line["outcome"] == "repair" else None
    return Decision(line["outcome"], line.get("reason", ""), line.get("fixer"), target)


def test_the_table_is_whole() -> None:
    assert len(TABLE) == 1632
    assert len({facts_of(line) for line in TABLE}) == 1632


def test_every_line_of_the_table_is_decided_as_it_says() -> None:
    wrong = [line for line in TABLE if decide(facts_of(line)) != expected(line)]
    assert wrong == []


def test_every_repair_names_a_fixer_that_exists_and_has_steps() -> None:
    for line in TABLE:
        facts = facts_of(line)
        code = decide(facts).fixer_code
        assert code is None or FIXERS[code].steps(facts)


@settings(deadline=None)
@given(
    line=st.sampled_from(TABLE),
    number=st.text(min_size=1, max_size=20),
    amount=st.integers(1, 10**12),
    words=st.text(max_size=10),
    is_explicit=st.booleans(),
)
def test_only_row_ledger_and_bank_states_are_asked(
    line: dict[str, Any], number: str, amount: int, words: str, is_explicit: bool
) -> None:
    facts = facts_of(line)
    request = RequestFact(number, 0, words, BankState.UNKNOWN, evidence=words)
    dressed = msgspec.structs.replace(
        facts,
        trade_no=number,
        amount_minor=amount,
        currency="USD",
        row_hash=words,
        read_at=words,
        first=msgspec.structs.replace(facts.first, voucher_no=number, amount_minor=amount, detail=words),
        bank=BankFact(facts.bank.state, (request,), is_explicit, words),
    )
    assert decide(dressed) == decide(facts)


@pytest.mark.parametrize("state", [LegState.UNKNOWN, LegState.MISMATCH])
def test_no_money_is_moved_on_a_ledger_that_is_not_known(state: LegState) -> None:
    """I9: doubt moves no money."""
    for line in TABLE:
        assert decide(msgspec.structs.replace(facts_of(line), first=LegFact(state))).outcome in (
            "wait",
            "human",
        )


def test_a_failed_withdrawal_with_an_empty_ledger_is_never_repaired() -> None:
    for line in TABLE:
        if (line["trd_status"], line["ledger_leg1"], line["ledger_leg2"]) == (9, "NONE", "NONE"):
            assert decide(facts_of(line)).outcome != "repair"


def test_the_predicted_row_is_consistent_once_its_money_is_there() -> None:
    for line in TABLE:
        facts = facts_of(line)
        target = decide(facts).target
        if target is not None:
            assert decide(_after(facts, target)).outcome == "consistent"


def _after(facts: Facts, target: Status) -> Facts:
    if target is Status.FAILED:
        return msgspec.structs.replace(facts, status=target)
    is_withdrawal = facts.kind is Kind.WITHDRAW
    return msgspec.structs.replace(
        facts,
        status=target,
        is_acc=True,
        is_e_acc=True if is_withdrawal else None,
        first=_leg("POSTED", VOUCHERS[0]),
        second=_leg("POSTED", VOUCHERS[1]) if is_withdrawal else None,
        bank=BankFact(BankState.SUCCESS),
    )


def test_a_prediction_leaves_numbers_still_to_come_empty() -> None:
    line = next(each for each in TABLE if each.get("fixer") == "interWithdrawAccFixServiceImpl")
    row: Row = {"TRD_ID": 679, "TRD_STATUS": 8, "ACC_TRD_NUM": VOUCHERS[0], "FAILED_MSG": None}
    assert predict(facts_of(line), row) == {
        "TRD_ID": 679,
        "TRD_STATUS": 8,
        "ACC_TRD_NUM": VOUCHERS[0],
        "ACC_TRD_STATUS": 1,
        "E_ACC_TRD_NUM": None,
        "E_ACC_TRD_STATUS": 1,
        "FAILED_MSG": "提现成功修复",
    }


def test_nothing_is_predicted_for_what_is_not_repaired() -> None:
    assert all(predict(facts_of(line), {}) is None for line in TABLE if line["outcome"] != "repair")


def test_a_confirmed_failed_recharge_keeps_its_leg_cells_and_carries_the_literal_message() -> None:
    row: Row = {"TRD_STATUS": 0, "ACC_TRD_NUM": None, "ACC_TRD_STATUS": 0, "FAILED_MSG": "..."}
    after = corrected_row(row, Kind.RECHARGE, Status.FAILED, (None, None))
    assert after == {**row, "TRD_STATUS": 9, "FAILED_MSG": REPAIRED_MESSAGE[Kind.RECHARGE]}
    assert REPAIRED_MESSAGE[Kind.RECHARGE] == "充值成功修复"
