"""What the bank keeps of one request, and how it says so."""

from dataclasses import dataclass, replace
from datetime import datetime

from sandbox.clock import iso

RECEIPT = "receipt"
PAYOUT = "payout"
ACCEPTED = "accepted"
SUCCESS = "success"
FAILED = "failed"
NOT_FOUND = "not_found"

ACCOUNT_CLOSED = "E1001"
ACCOUNT_FROZEN = "E1002"
RISK_CONTROL = "E1003"
PAYER_BALANCE = "E2001"
PAYER_LIMIT = "E2002"
EXPLICIT_FAILURES = frozenset({ACCOUNT_CLOSED, ACCOUNT_FROZEN, RISK_CONTROL, PAYER_BALANCE, PAYER_LIMIT})
UNLISTED_CODE = "E9999"


@dataclass(frozen=True)
class BankRecord:
    """One request. ``due_*`` is what it will become at ``due_at``, unasked; None when nothing is due.

    ``asked_minor`` is set where the bank moved another amount than it was asked for.
    """

    request_no: str
    kind: str
    status: str
    code: str | None
    amount_minor: int
    currency: str
    account: str
    accepted_at: datetime
    completed_at: datetime | None
    due_at: datetime | None = None
    due_status: str | None = None
    is_announced: bool = True
    asked_minor: int | None = None

    def at(self, now: datetime) -> "BankRecord":
        """The record as it stands at a moment: a due change counts even before it is written."""
        if self.due_at is None or self.due_status is None or now < self.due_at:
            return self
        return replace(
            self, status=self.due_status, code=None, completed_at=self.due_at, due_at=None, due_status=None
        )


def has_surely_failed(record: BankRecord) -> bool:
    """Whether the bank has failed it for good, in words that say so."""
    return record.status == FAILED and record.code in EXPLICIT_FAILURES and record.due_status is None


def public(record: BankRecord) -> dict[str, object]:
    """The JSON of a record, as docs/production-interface.md §3 writes it."""
    return {
        "request_no": record.request_no,
        "kind": record.kind,
        "status": record.status,
        "code": record.code,
        "amount_minor": record.amount_minor,
        "currency": record.currency,
        "account": record.account,
        "accepted_at": iso(record.accepted_at),
        "completed_at": None if record.completed_at is None else iso(record.completed_at),
    }


def absent(request_no: str) -> dict[str, object]:
    """The JSON of a number the bank does not know."""
    empty = dict.fromkeys(
        ("kind", "code", "amount_minor", "currency", "account", "accepted_at", "completed_at")
    )
    return {"request_no": request_no, "status": NOT_FOUND, **empty}
