"""What the bank's records say of a trade. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.adapters.names import BankNames
from agent.adapters.settlement import Absence
from agent.facts import BankFact, BankState, Kind, RequestFact
from agent.ports import BankRequest, Trade

NOT_FOUND: Final = "not_found"
MOST_BEFORE: Final = timedelta(days=1)
"""How much older than its request line a failure's time may be, clocks differing, and still make sense."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's record of one request number; a field of another type makes the record unusable."""

    request_no: str
    status: str
    kind: str | None = None
    code: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    account: str | None = None
    completed_at: str | None = None


def unknown(request: BankRequest, evidence: str) -> RequestFact:
    """The fact of a number of which nothing is known, and why."""
    return RequestFact(request.request_no, request.seq, "unknown", BankState.UNKNOWN, evidence=evidence)


def absent(request: BankRequest, absence: Absence) -> RequestFact:
    """The fact of a number that the bank does not find: FAIL only with the second negative."""
    verdict = BankState.FAIL if absence.is_absent else BankState.UNKNOWN
    return RequestFact(request.request_no, request.seq, NOT_FOUND, verdict, evidence=absence.evidence)


def found(names: BankNames, trade: Trade, request: BankRequest, record: Record, now: datetime) -> RequestFact:
    """The fact of a number that the bank knows; ``now`` is the bank's time of saying so, aware.

    A failure that has not settled keeps the bank's word, ``failed``, and is UNKNOWN: it may still be paid.
    """
    status, verdict, evidence = record.status, BankState.UNKNOWN, "inquiry"
    difference = _difference(names, trade, record)
    match record.status:
        case "failed" if record.code not in names.failure_codes:
            status, evidence = "unknown", f"inquiry: failed with code {record.code}, which is on no list"
        case "accepted" | "success" | "failed" if difference:
            verdict, evidence = BankState.MISMATCH, f"inquiry: {difference}"
        case "success":
            verdict = BankState.SUCCESS
        case "failed" if doubt := _doubt(names, request, record, now):
            evidence = f"inquiry: failed with {record.code}, but {doubt}"
        case "failed":
            verdict = BankState.FAIL
        case "accepted":
            pass
        case _:
            status, evidence = "unknown", f"inquiry: status {record.status[:40]!r}"
    return RequestFact(
        request.request_no,
        request.seq,
        status,
        verdict,
        code=record.code,
        amount_minor=record.amount_minor,
        account=record.account,
        completed_at=record.completed_at,
        evidence=evidence,
    )


def _doubt(names: BankNames, request: BankRequest, record: Record, now: datetime) -> str:
    """Why a failure may still turn into success; empty where it has settled."""
    if names.failure_settles_s == 0:
        return ""
    failed_at = _instant(record.completed_at)
    if failed_at is None:
        return "without a readable time of failing"
    if request.created_at - failed_at > MOST_BEFORE:
        return "at a time before it was asked for"
    if (now - failed_at).total_seconds() < names.failure_settles_s:
        return f"not yet {names.failure_settles_s:g} s ago"
    return ""


def _instant(text: str | None) -> datetime | None:
    """An ISO 8601 time that names its zone; without one it could be hours off, so it is not read."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _difference(names: BankNames, trade: Trade, record: Record) -> str:
    """How the bank's record differs from the trade; empty where it does not."""
    kinds = {Kind.RECHARGE: names.receipt, Kind.WITHDRAW: names.payout}
    if trade.kind is None or record.kind != kinds[trade.kind]:
        return f"kind {record.kind}"
    if record.amount_minor is None or record.amount_minor != trade.amount_minor:
        return f"amount {record.amount_minor}"
    if record.currency != trade.currency:
        return f"currency {record.currency}"
    if record.account != trade.bank_account_no:
        return "another account"
    return ""


def over_all(facts: Sequence[RequestFact]) -> BankFact:
    """What the bank says over every request number of a trade.

    One success beside nothing but failures is SUCCESS, whichever is newer; two are MISMATCH. A number that
    may still be paid makes the whole UNKNOWN. Without a number production never asked the bank: FAIL.
    """
    if not facts:
        return BankFact(BankState.FAIL, detail="production wrote no bank request")
    ordered = tuple(sorted(facts, key=lambda fact: fact.seq))
    verdicts = [fact.verdict for fact in ordered]
    if BankState.MISMATCH in verdicts:
        return BankFact(BankState.MISMATCH, ordered, detail=_evidence(ordered, BankState.MISMATCH))
    if verdicts.count(BankState.SUCCESS) > 1:
        return BankFact(BankState.MISMATCH, ordered, detail="more than one request number succeeded")
    if BankState.UNKNOWN in verdicts:
        return BankFact(BankState.UNKNOWN, ordered, detail=_evidence(ordered, BankState.UNKNOWN))
    if BankState.SUCCESS in verdicts:
        return BankFact(BankState.SUCCESS, ordered)
    return BankFact(BankState.FAIL, ordered, is_explicit=ordered[-1].status == "failed")


def _evidence(facts: Sequence[RequestFact], state: BankState) -> str:
    fact = next(fact for fact in facts if fact.verdict is state)
    word = (
        "accepted, not finished"
        if fact.status == "accepted" and state is BankState.UNKNOWN
        else fact.evidence
    )
    return f"{fact.request_no}: {word}"
