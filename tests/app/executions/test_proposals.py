"""What a person is advised to do: one proposal for each combination of reason, facts, plan and repair."""

import ast
from pathlib import Path

import msgspec
import pytest
from flask import Flask
from flask_babel import force_locale

from agent.answers import BROKE_OFF
from agent.facts import (
    BankFact,
    BankState,
    Bookkeeping,
    Facts,
    Kind,
    LegFact,
    LegState,
    NumberFact,
    RequestFact,
    Status,
)
from agent.fixers.limits import OVER_DAY, OVER_HOUR, OVER_JUDGED, OVER_TRADE
from agent.unpaid import NO_REQUEST, REVERSED_BEFORE
from app import doubts
from app.anomalies.undebited import PAID_UNDEBITED
from app.executions.holding_back import TOO_OLD
from app.executions.poison import CRASHED, ENDED_ALIKE
from app.executions.proposals import Doubt, Evidence, is_debited_unpaid, propose

ROOT = Path(__file__).parents[3]
NUMBERS = {"1": "GA000000000000000001", "2": "GA000000000000000002"}


def leg(state: str, number: str = "1") -> LegFact:
    return LegFact(LegState(state), NUMBERS[number] if state == "POSTED" else None)


def bank(state: str, *, is_asked: bool = True) -> BankFact:
    request = RequestFact("T-P1", 1, "failed", BankState(state))
    return BankFact(BankState(state), (request,) if is_asked else ())


def paid_twice() -> BankFact:
    paid = tuple(RequestFact(f"T-{end}", seq, "success", BankState.SUCCESS) for seq, end in enumerate("0P"))
    return BankFact(BankState.MISMATCH, paid)


def facts(first: str = "POSTED", second: str | None = "NONE", told: str = "FAIL", **fields: object) -> Facts:
    values = {
        "trade_no": "T",
        "kind": Kind.WITHDRAW,
        "bookkeeping": Bookkeeping.TWO_STEP,
        "status": Status.PROCESSING,
        "is_acc": False,
        "is_e_acc": False,
        "first": leg(first),
        "second": None if second is None else leg(second, "2"),
        "bank": bank(told),
        "amount_minor": 100,
    }
    return Facts(**(values | fields))  # type: ignore[arg-type]


def doubt(reason: str = "mismatch", outcome: str = "human", **fields: object) -> Doubt:
    values = {"facts": facts(), "plan": "normal"}
    return Doubt(reason=reason, outcome=outcome, **(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "action"),
    [
        (doubt("processing, debited, bank failed"), "pay_or_reverse"),
        (doubt("debited, payout failed", "repair"), "pay_or_reverse"),
        (doubt("row behind ledger"), "pay_or_reverse"),
        (doubt("settled in ledger, not at bank", facts=facts("POSTED", "POSTED")), "close_outside"),
        (doubt("mismatch", facts=facts(told="MISMATCH")), "close_outside"),
        (doubt("mismatch", facts=facts("MISMATCH")), "close_outside"),
        (doubt("more than one request number succeeded", facts=facts(bank=paid_twice())), "recover"),
        (doubt("mismatch", facts=facts(bank=paid_twice())), "recover"),
        (doubt("failed but bank paid", facts=facts(told="SUCCESS")), "close_outside"),
        (doubt("waited_too_long", "wait", facts=facts(told="UNKNOWN")), "ask_bank"),
        (doubt("ledger", "wait", facts=facts("UNKNOWN", told="SUCCESS")), "verify"),
        (doubt("the reply to the payout was lost, the bank does not de-duplicate", "repair"), "ask_bank"),
        (doubt("more than one bank request may be alive", "repair"), "ask_bank"),
        (doubt("the bank knows the number, and production's table has lost it"), "ask_bank"),
        (
            doubt("the bank knows the number that was to be new, and does not de-duplicate"),
            "ask_bank",
        ),
        (doubt(NO_REQUEST, "repair", facts=facts("NONE", bank=bank("FAIL", is_asked=False))), "check_bank"),
        (doubt("debited, payout failed", facts=facts(told="SUCCESS")), "verify"),
        (doubt("money_moved_too_long", "repair"), "retry"),
        (doubt("insufficient balance", "repair", facts=facts("NONE")), "retry"),
        (doubt("insufficient balance", "repair", facts=facts("NONE"), plan="disabled"), "verify"),
        (doubt("insufficient balance", "repair", facts=facts("NONE", told="SUCCESS")), "debit_or_recover"),
        (doubt(PAID_UNDEBITED, "repair", facts=facts("NONE", told="SUCCESS")), "debit_or_recover"),
        (doubt(PAID_UNDEBITED, "repair", facts=facts("POSTED", told="SUCCESS")), "retry"),
        (doubt("row changed after money moved", "repair"), "verify"),
        (doubt("claim_refuted", "repair", facts=facts("NONE")), "verify"),
        (doubt("claim_refuted: bank", "wait", facts=facts(told="UNKNOWN")), "ask_bank"),
        (doubt(OVER_TRADE, "repair", facts=facts("NONE")), "raise_limit"),
        (doubt(OVER_HOUR), "raise_limit"),
        (doubt(OVER_DAY, facts=facts(told="UNKNOWN")), "ask_bank"),
        (doubt(OVER_JUDGED, "repair", facts=facts("NONE")), "verify"),
        (doubt(TOO_OLD, "repair", facts=facts("NONE")), "retry"),
        (doubt("missing"), "ignore"),
        (doubt("no row has this trade number", facts=None), "ignore"),
        (doubt("malformed: AMOUNT missing", facts=None, has_fixer=False), "correct_and_verify"),
        (doubt("malformed", facts=None, has_fixer=False, has_own_number=False), "correct_row"),
        (doubt("", "repair", plan="none", is_with_person=False), "make_plan"),
        (doubt("", "repair", plan="disabled", is_with_person=False), "enable_plan"),
        (doubt("mismatch", is_verifying=True), "verifying"),
    ],
)
def test_one_proposal_for_each_doubt(case: Doubt, action: str) -> None:
    assert propose(case).action == action


@pytest.mark.parametrize(
    ("read", "is_unpaid"),
    [
        (facts("POSTED", "NONE", "FAIL"), True),
        (facts("POSTED", "POSTED", "FAIL"), False),
        (facts("POSTED", "UNKNOWN", "FAIL"), False),
        (facts("NONE", "NONE", "FAIL"), False),
        (facts("MISMATCH", "NONE", "FAIL"), False),
        (facts("POSTED", "NONE", "UNKNOWN"), False),
        (facts("POSTED", "NONE", "SUCCESS"), False),
        (facts("POSTED", "POSTED", "FAIL", bookkeeping=Bookkeeping.SINGLE_STEP), True),
        (facts("POSTED", "NONE", "FAIL", bookkeeping=Bookkeeping.SINGLE_STEP), False),
        (facts("POSTED", None, "FAIL", kind=Kind.RECHARGE, bookkeeping=None, is_e_acc=None), False),
    ],
)
def test_paying_again_is_proposed_only_for_what_was_debited_and_surely_not_paid(
    read: Facts, is_unpaid: bool
) -> None:
    assert is_debited_unpaid(read) is is_unpaid
    proposed = propose(doubt("processing, debited, bank failed", facts=read)).action
    assert (proposed == "pay_or_reverse") is is_unpaid


def test_what_cannot_be_reversed_a_second_time_is_settled_outside() -> None:
    spent = msgspec.structs.replace(leg("POSTED"), detail=REVERSED_BEFORE)
    debited = msgspec.structs.replace(facts(), first=spent)
    asked = doubt("processing, debited, bank failed", facts=debited)
    assert propose(asked).action == "close_outside"


@pytest.mark.parametrize(
    ("requests", "action"),
    [
        (("failed",), "pay_or_reverse"),
        (("not_found",), "pay_again"),
        (("failed", "not_found"), "pay_again"),
        ((), "check_bank"),
    ],
)
def test_what_is_proposed_of_an_unpaid_trade_is_what_its_page_offers(
    requests: tuple[str, ...], action: str
) -> None:
    asked = tuple(
        RequestFact(f"T-P{seq}", seq, status, BankState.FAIL) for seq, status in enumerate(requests)
    )
    proposal = propose(
        doubt("processing, debited, bank failed", facts=facts(bank=BankFact(BankState.FAIL, asked)))
    )
    assert proposal.action == action
    told = {"failed": "bank_fail", "not_found": "bank_never_found"}
    code = told[requests[-1]] if requests else "bank_never_asked"
    assert proposal.evidence[-1].code == code


def test_the_evidence_names_the_facts_that_led_there() -> None:
    read = facts("POSTED", "NONE", "FAIL", is_e_acc=True)
    assert propose(doubt(facts=read)).evidence == (
        Evidence("leg_behind_row", NUMBERS["1"]),
        Evidence("row_ahead_of_leg", "2"),
        Evidence("bank_fail", "T-P1"),
    )
    read = facts("MISMATCH", "UNKNOWN", bank=bank("UNKNOWN", is_asked=False))
    read = msgspec.structs.replace(read, first=LegFact(LegState.MISMATCH, NUMBERS["2"]))
    assert propose(doubt(facts=read)).evidence == (
        Evidence("leg_mismatch", "1"),
        Evidence("leg_unknown", "2"),
        Evidence("bank_never_asked"),
    )
    assert propose(doubt(facts=None)).evidence == ()


def test_what_one_entry_says_of_both_legs_is_told_once() -> None:
    entry = leg("POSTED")
    read = msgspec.structs.replace(facts(bookkeeping=Bookkeeping.SINGLE_STEP), first=entry, second=entry)
    assert propose(doubt(facts=read)).evidence == (
        Evidence("leg_behind_row", NUMBERS["1"]),
        Evidence("bank_fail", "T-P1"),
    )


def test_the_evidence_of_the_bank_is_the_number_that_gave_its_word() -> None:
    requests = (
        RequestFact("T-0", 0, "success", BankState.SUCCESS),
        RequestFact("T-P1", 1, "failed", BankState.FAIL),
    )
    read = facts(bank=BankFact(BankState.SUCCESS, requests))
    assert propose(doubt(facts=read)).evidence[-1] == Evidence("bank_success", "T-0")


def test_of_a_trade_paid_twice_the_evidence_names_both_numbers() -> None:
    evidence = propose(
        doubt("more than one request number succeeded", facts=facts(bank=paid_twice()))
    ).evidence
    assert evidence[-2:] == (Evidence("bank_success", "T-0"), Evidence("bank_success", "T-P"))


def test_the_evidence_names_the_number_whose_line_is_lost() -> None:
    asked = (NumberFact("T-P1", "not_found"), NumberFact("T-P2", "success"), NumberFact("T-P3", "unknown"))
    bank = BankFact(BankState.FAIL, (RequestFact("T-0", 0, "failed", BankState.FAIL),), True, "", asked)
    reason = "the bank knows the number, and production's table has lost it"
    proposal = propose(doubt(reason, facts=facts(bank=bank)))
    assert proposal.action == "ask_bank"
    assert proposal.evidence[-2:] == (Evidence("bank_line_lost", "T-P2"), Evidence("bank_fail", "T-0"))


def reasons_for_a_person() -> list[str]:
    """The reasons with which the decision hands a trade to a person, read from its source."""
    tree = ast.parse((ROOT / "agent" / "decision.py").read_text())
    return sorted(
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "_human"
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    )


REASONS_FOR_A_PERSON = [
    *reasons_for_a_person(),
    *("waited_too_long", "money_moved_too_long", "money_found", CRASHED, ENDED_ALIKE),
    *(OVER_TRADE, OVER_HOUR, OVER_DAY, OVER_JUDGED, BROKE_OFF, TOO_OLD.partition(": ")[0]),
]


@pytest.mark.parametrize("reason", REASONS_FOR_A_PERSON)
def test_every_reason_says_why_a_machine_may_not_decide(app: Flask, reason: str) -> None:
    assert reason in doubts.DOUBTS
    with force_locale("zh"):
        chinese = doubts.doubt_words(f"{reason}: detail", "normal", True)
    with force_locale("en"):
        english = doubts.doubt_words(f"{reason}: detail", "normal", True)
    assert chinese != english
    assert chinese.isascii() is False


def test_what_stands_there_for_want_of_a_plan_says_so(app: Flask) -> None:
    assert "没有方案" in doubts.doubt_words("", "none", False)
    assert "失效" in doubts.doubt_words("", "disabled", False)
    assert "三方" in doubts.doubt_words("another word", "none", True)
