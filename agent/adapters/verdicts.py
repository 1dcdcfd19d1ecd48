"""What the bank's records say of a trade. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.adapters.names import BankNames
from agent.adapters.rows import UNDATED
from agent.adapters.settlement import Absence
from agent.facts import BankFact, BankState, Kind, RequestFact
from agent.records import BankRequest, Trade

NOT_FOUND: Final = "not_found"
_WORDS: Final = frozenset({NOT_FOUND, "accepted", "success", "failed"})
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""How far production's clock and the bank's may lie apart. A failure older than this before it was asked for
makes no sense, and a bank's Date further ahead of production's clock is not believed."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's record of one request number; a field of another type makes the record unusable.

    But for ``accepted_at``: of use only to date a failure, it must not cost the word on a payout.
    """

    request_no: str
    status: str
    kind: str | None = None
    code: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    account: str | None = None
    accepted_at: object = None
    completed_at: str | None = None


def unknown(request: BankRequest, evidence: str) -> RequestFact:
    """The fact of a number of which nothing is known, and why."""
    return RequestFact(request.request_no, request.seq, "unknown", BankState.UNKNOWN, evidence=evidence)


def absent(request: BankRequest, absence: Absence) -> RequestFact:
    """The fact of a number that the bank does not find: FAIL only with the second negative."""
    verdict = BankState.FAIL if absence.is_absent else BankState.UNKNOWN
    return RequestFact(request.request_no, request.seq, NOT_FOUND, verdict, evidence=absence.evidence)


def over_by(absence: Absence, read_at: datetime) -> Absence:
    """An absence as far as the days that prove it are over by production's clock, too.

    A bank that calls a day closed ahead of its end may still file the number under it.
    """
    ahead = timedelta(0) if absence.closed_at is None else absence.closed_at - read_at
    if ahead <= CLOCKS_DIFFER:
        return absence
    return Absence(None, f"not found, but bank day {absence.days[-1]} is not over yet")


def found(
    names: BankNames,
    trade: Trade,
    request: BankRequest,
    record: Record,
    told_at: datetime | None,
    files: Absence | None = None,
) -> RequestFact:
    """The fact of a number that the bank knows; ``told_at`` is the bank's own time of saying so, if it said.

    A failure that has not settled keeps the bank's word, ``failed``, and is UNKNOWN: it may still be paid.
    ``files`` is what the settlement files say where there is a time that they ``date_from``.
    """
    status, verdict, evidence = _judge(names, trade, request, record, told_at, files)
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


def word_on(names: BankNames, record: Record | None) -> str:
    """The bank's word on a number alone, as in a fact; ``unknown`` where it gave none that can be taken."""
    if record is None:
        return "unknown"
    is_listed = record.status != "failed" or record.code in names.failure_codes
    return record.status if record.status in _WORDS and is_listed else "unknown"


def date_from(names: BankNames, trade: Trade, request: BankRequest, record: Record) -> datetime | None:
    """When the bank accepted a failure of the list that only files can date; None: none can, or need.

    The bank files a number under the day it accepted it, which for a late original is long after the line was
    written, and for a number asked for again may lie before the last asking.
    """
    is_listed = record.status == "failed" and record.code in names.failure_codes
    if not is_listed or names.failure_settles_s == 0 or not _useless(request, _instant(record.completed_at)):
        return None
    accepted_at = _instant(record.accepted_at)
    return accepted_at if accepted_at and _makes_sense(names, trade, request, accepted_at) else None


def _makes_sense(names: BankNames, trade: Trade, request: BankRequest, accepted_at: datetime) -> bool:
    """Whether the bank can have accepted it then, as far as production's clock tells.

    A bank that does not de-duplicate accepts each asking: one of before the last is not all there is.
    """
    asked_at = request.created_at if names.deduplicates else request.last_asked_at
    return asked_at - accepted_at <= CLOCKS_DIFFER and accepted_at - trade.read_at <= CLOCKS_DIFFER


def _judge(
    names: BankNames,
    trade: Trade,
    request: BankRequest,
    record: Record,
    told_at: datetime | None,
    files: Absence | None,
) -> tuple[str, BankState, str]:
    """The bank's word as taken, the verdict, and the evidence for it."""
    difference = _difference(names, trade, record)
    match record.status:
        case "failed" if record.code not in names.failure_codes:
            evidence = f"inquiry: failed with code {record.code}, which is on no list"
            return "unknown", BankState.UNKNOWN, evidence
        case "accepted" | "success" | "failed" if difference:
            return record.status, BankState.MISMATCH, f"inquiry: {difference}"
        case "success":
            return "success", BankState.SUCCESS, "inquiry"
        case "failed":
            return "failed", *_judge_failure(names, trade, request, record, told_at, files)
        case "accepted":
            return "accepted", BankState.UNKNOWN, "inquiry"
        case _:
            return "unknown", BankState.UNKNOWN, f"inquiry: status {record.status[:40]!r}"


def _judge_failure(
    names: BankNames,
    trade: Trade,
    request: BankRequest,
    record: Record,
    told_at: datetime | None,
    files: Absence | None,
) -> tuple[BankState, str]:
    """FAIL once the failure has settled; until then it may still turn into success.

    So it has when the bank failed it that long ago by the bank's clock, and it was last asked for that long
    ago by production's.
    A settlement file lists what is accepted or paid when its day closes. A failed number absent from the
    files of its day and the next had therefore failed by the time the later one closed. Its day is the one
    in which the bank accepted it: without that time (``files`` None) nothing dates it.
    """
    if names.failure_settles_s == 0:
        return BankState.FAIL, "inquiry"
    failed_at, evidence = _instant(record.completed_at), "inquiry"
    doubt = _useless(request, failed_at)
    if doubt and files is not None and files.is_absent:
        failed_at, doubt = files.closed_at, ""
        evidence = f"inquiry · absent from settlement files {', '.join(files.days)}"
    elif doubt and files is None:
        doubt += " · accepted at no usable time"
    settles = timedelta(seconds=names.failure_settles_s)
    if not doubt and (failed_at is None or _at_least_since(failed_at, told_at, trade.read_at) < settles):
        doubt = f"not yet {names.failure_settles_s:g} s ago"
    if not doubt and trade.read_at - request.last_asked_at < settles:
        doubt = f"asked for not yet {names.failure_settles_s:g} s ago"
    if doubt:
        return BankState.UNKNOWN, f"inquiry: failed with {record.code}, but {doubt}"
    return BankState.FAIL, evidence


def _at_least_since(failed_at: datetime, told_at: datetime | None, read_at: datetime) -> timedelta:
    """How long ago it failed, at least: by the bank's word, but for one too far ahead of production's clock.

    Without its word, as much as production's clock may be ahead of the bank's is taken off.
    """
    if told_at is None:
        return read_at - failed_at - CLOCKS_DIFFER
    return min(told_at, read_at + CLOCKS_DIFFER) - failed_at


def _useless(request: BankRequest, failed_at: datetime | None) -> str:
    """Why a time of failing says nothing; empty where it does."""
    if failed_at is None:
        return "without a readable time of failing"
    if request.created_at == UNDATED:
        return "asked for at no readable time"
    is_before = request.last_asked_at - failed_at > CLOCKS_DIFFER
    return "at a time before it was asked for" if is_before else ""


def _instant(text: object) -> datetime | None:
    """An ISO 8601 time that names its zone; without one it could be hours off, so it is not read."""
    try:
        at = datetime.fromisoformat(text if isinstance(text, str) else "")
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
