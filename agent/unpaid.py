"""A trade debited and finally unpaid: what a person may order of it, and the facts such an order stands on.

Pure. The server asks before it offers an order, the agent asks again before it carries one out.
"""

import hashlib
from typing import Final, Literal

import msgspec

from agent.decision import WITHDRAW_TIMEOUT, decide
from agent.facts import BankState, Bookkeeping, Facts, Kind, LegState, RequestFact, Status

Action = Literal["pay_again", "reverse"]
"""再付: ask the bank once more, under the next number. 冲正: give the money back and confirm the failure."""

ACTIONS: Final[tuple[Action, ...]] = ("pay_again", "reverse")

PAYOUT_STEPS: Final = ("pay", "pay_again")
"""The steps that ask the bank to pay: by a plan, and by a person's order."""
PAYOUT_FAILED: Final = "debited, payout failed"
"""Why a repair whose own payout has finally failed is with a person."""
NO_REQUEST: Final = "production holds no bank request of the trade"

REVERSED_BEFORE: Final = "an entry of this leg was reversed by an order before"
"""Told beside an entry in its place: the key of a reversal is of the trade and its leg, so it is used up."""

NOT_YET_KNOWN: Final = frozenset({"ledger", "bank"})
"""Obstacles that time may take away."""


def find_obstacle(facts: Facts, action: Action) -> str | None:
    """Return why the facts do not allow the action, None where they do.

    Both need the whole debit in the ledger and a bank that has finally not paid. A reversal needs an explicit
    failure of every number besides: one that was only never found may still arrive and be paid; and that none
    was ordered of such an entry before.
    """
    is_spent = action == "reverse" and _was_reversed_before(facts)
    return _of_ledger(facts) or (REVERSED_BEFORE if is_spent else find_bank_obstacle(facts, action))


def _was_reversed_before(facts: Facts) -> bool:
    return any(leg is not None and leg.detail == REVERSED_BEFORE for leg in (facts.first, facts.second))


def _of_ledger(facts: Facts) -> str | None:
    if facts.kind is not Kind.WITHDRAW or facts.second is None:
        return "not a withdrawal"
    legs = (facts.first.state, facts.second.state)
    if LegState.MISMATCH in legs or facts.first.amount_minor not in (None, facts.amount_minor):
        return "mismatch"
    if LegState.UNKNOWN in legs:
        return "ledger"
    if legs[0] is not LegState.POSTED:
        return "not debited"
    if facts.bookkeeping is Bookkeeping.SINGLE_STEP and legs[1] is not LegState.POSTED:
        return "single-step posting is half present"
    if facts.is_e_acc and not (facts.is_acc and legs[1] is LegState.POSTED):
        return "row says posted, ledger does not"
    return None


def find_bank_obstacle(facts: Facts, action: Action) -> str | None:
    """Return why the bank's word does not allow the action, None where it does."""
    match facts.bank.state:
        case BankState.MISMATCH:
            return "mismatch"
        case BankState.UNKNOWN:
            return "bank"
        case BankState.SUCCESS:
            return "the bank has paid"
    if not facts.bank.requests:
        # Its table may have been cleared: what was asked under a number nobody holds, nobody can find again.
        return NO_REQUEST
    if action == "reverse" and any(each.status != "failed" for each in facts.bank.requests):
        return "a request the bank has not refused may still be paid"
    return None


def is_unpaid(facts: Facts) -> bool:
    """Return whether the ledger has a withdrawal's debit and the bank has surely not paid."""
    is_debited = facts.kind is Kind.WITHDRAW and facts.first.state is LegState.POSTED
    return is_debited and facts.bank.state is BankState.FAIL


def confirms_failure(facts: Facts) -> bool:
    """Return whether a repair would confirm the trade as failed: the bank has surely moved nothing."""
    return decide(facts).target is Status.FAILED


def calls_for_payout(facts: Facts) -> bool:
    """Return whether a repair would ask the bank to pay: it is to be a success, and is surely unpaid."""
    is_unpaid_payout = facts.kind is Kind.WITHDRAW and facts.bank.state is BankState.FAIL
    return is_unpaid_payout and decide(facts).target is Status.SUCCESS


def may_pay(fixer_code: str | None, facts: Facts | None) -> bool:
    """Return whether a repair of a withdrawal may ask the bank to pay, by what its agent reads next.

    Not where the bank has paid, and not by the fixer of those stuck in processing: it posts and writes what
    the bank has done. ``facts`` None: nothing could be read.
    """
    if fixer_code == WITHDRAW_TIMEOUT:
        return False
    return facts is None or (facts.kind is Kind.WITHDRAW and facts.bank.state is not BankState.SUCCESS)


def has_failed_number_of_ours(facts: Facts) -> bool:
    """Return whether the bank has failed a number that a repair opened; production's own is number 0."""
    return any(each.status == "failed" for each in _numbers_of_ours(facts))


def has_number_of_ours(facts: Facts) -> bool:
    """Return whether a repair has opened a number, whatever the bank says of it."""
    return bool(_numbers_of_ours(facts))


def _numbers_of_ours(facts: Facts) -> list[RequestFact]:
    return [each for each in facts.bank.requests if each.request_no.startswith(f"{facts.trade_no}-P")]


def why_unpaid(facts: Facts) -> str:
    """Return on what it rests that the bank has not paid: refused, never_found, no_request.

    refused is an explicit failure of every number; never_found two negatives of one at least, an inquiry
    after the cut-off and the settlement files; no_request that production holds no number.
    """
    requests = facts.bank.requests
    if not requests:
        return "no_request"
    return "refused" if all(each.status == "failed" for each in requests) else "never_found"


def digest_of(facts: Facts) -> str:
    """Return SHA-256 over what an order stands on, the same however often and by whom it is read.

    It covers the row as read, the money, both legs and the bank's word on every number; not when or by what
    evidence that was learned. A number opened since changes it, so no order opens two.
    """
    legs = [
        None if leg is None else (leg.state, leg.voucher_no, leg.amount_minor)
        for leg in (facts.first, facts.second)
    ]
    requests = [
        (each.request_no, each.seq, each.status, each.verdict, each.code, each.amount_minor, each.account)
        for each in facts.bank.requests
    ]
    row = (facts.trade_no, facts.row_hash, facts.kind, facts.bookkeeping, facts.status)
    money = (facts.is_acc, facts.is_e_acc, facts.amount_minor, facts.currency)
    content = (row, money, legs, facts.bank.state, requests)
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()
