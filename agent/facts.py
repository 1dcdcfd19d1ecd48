"""What was read of one trade at one moment: the row, the ledger, the bank.

These values travel to the server as evidence, so they are plain frozen structs.
"""

from enum import StrEnum
from typing import Final

import msgspec

ROW_COLUMNS: Final = (
    "TRD_ID",
    "TRD_NUM",
    "TRD_STATUS",
    "ACC_TRD_NUM",
    "ACC_TRD_STATUS",
    "E_ACC_TRD_NUM",
    "E_ACC_TRD_STATUS",
    "FAILED_MSG",
)
"""The eight columns of the product document, in its order, whatever production calls them."""

Row = dict[str, int | str | None]
"""A trade row as the product document shows it, by ROW_COLUMNS."""


class Kind(StrEnum):
    RECHARGE = "recharge"
    WITHDRAW = "withdraw"


class Bookkeeping(StrEnum):
    """How a withdrawal is posted; a recharge has none."""

    SINGLE_STEP = "single_step"
    TWO_STEP = "two_step"


class Status(StrEnum):
    """TRD_STATUS, by meaning; the codes are configuration (0, 8, 9)."""

    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"


class Leg(StrEnum):
    """A leg of a trade in the ledger. BOTH holds FIRST and SECOND in one entry."""

    FIRST = "1"
    SECOND = "2"
    BOTH = "both"


class LegState(StrEnum):
    NONE = "NONE"
    POSTED = "POSTED"
    MISMATCH = "MISMATCH"
    UNKNOWN = "UNKNOWN"


class BankState(StrEnum):
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"
    MISMATCH = "MISMATCH"
    UNKNOWN = "UNKNOWN"


class LegFact(msgspec.Struct, frozen=True):
    """What the ledger says of one leg. ``voucher_no`` is set when POSTED."""

    state: LegState
    voucher_no: str | None = None
    amount_minor: int | None = None
    detail: str = ""


class RequestFact(msgspec.Struct, frozen=True):
    """What is known of one bank request number of the trade.

    ``status`` is the bank's word: accepted, success, failed, not_found, unknown.
    ``evidence`` says how it is known: inquiry, settlement file names, or why it is not.
    ``verdict`` is the number's own BankState; a failure that has not settled yet is UNKNOWN.
    """

    request_no: str
    seq: int
    status: str
    verdict: BankState
    code: str | None = None
    amount_minor: int | None = None
    account: str | None = None
    completed_at: str | None = None
    evidence: str = ""


UNTOLD: Final = ("not_found", "unknown")
"""The bank's words on a number that it does not know, or of which it says nothing."""


class NumberFact(msgspec.Struct, frozen=True):
    """The bank's word, as in RequestFact, on a number of which production's table has no line."""

    request_no: str
    status: str


class BankFact(msgspec.Struct, frozen=True):
    """What the bank says over every request number of the trade.

    ``is_explicit`` is true when a FAIL rests on an explicit failure code of the newest number (a new
    number may then be opened), false when it rests on two negatives (the same number is submitted again).
    ``without_line``: the numbers asked about beside those of production's table; they count in none of the
    other fields.
    """

    state: BankState
    requests: tuple[RequestFact, ...] = ()
    is_explicit: bool = False
    detail: str = ""
    without_line: tuple[NumberFact, ...] = ()

    @property
    def known_without_line(self) -> tuple[str, ...]:
        """The numbers that the bank knows and production's table has lost."""
        return tuple(each.request_no for each in self.without_line if each.status not in UNTOLD)

    @property
    def paid_numbers(self) -> tuple[str, ...]:
        """The request numbers under which the bank has moved the money; more than one is too many."""
        return tuple(each.request_no for each in self.requests if each.verdict is BankState.SUCCESS)


class Facts(msgspec.Struct, frozen=True):
    """Everything the decision rests on.

    ``status`` is None for an unknown code; ``is_acc`` / ``is_e_acc`` say whether the row's leg is booked
    (``is_e_acc`` is None for a recharge); ``second`` is None for a recharge.
    """

    trade_no: str
    kind: Kind
    bookkeeping: Bookkeeping | None
    status: Status
    is_acc: bool
    is_e_acc: bool | None
    first: LegFact
    second: LegFact | None
    bank: BankFact
    amount_minor: int
    currency: str = "CNY"
    row_hash: str = ""
    read_at: str = ""
