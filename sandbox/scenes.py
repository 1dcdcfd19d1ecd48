"""A scene: one trade as row, ledger and bank shall show it, whether or not the three agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

RECHARGE = "recharge"
WITHDRAW = "withdraw"
SINGLE_STEP = "single_step"
TWO_STEP = "two_step"

PROCESSING = 0
SUCCEEDED = 8
FAILED = 9


@dataclass(frozen=True)
class Customer:
    """A ledger account and the bank account that belongs to it."""

    account_no: str
    bank_account_no: str
    channel: str


@dataclass(frozen=True)
class BankSide:
    """What the bank knows of request number 0. ``status`` never: it did not receive it."""

    status: str
    code: str | None = None
    extra_minor: int = 0


PAID = BankSide("success")
NEVER_RECEIVED = BankSide("never")
STILL_ACCEPTED = BankSide("accepted")


@dataclass(frozen=True)
class LedgerSide:
    """One entry of the trade: its leg, what its amount is off by, its number where that is given."""

    leg: str
    extra_minor: int = 0
    voucher_no: str | None = None


@dataclass(frozen=True)
class Scene:
    """``bank`` None: production wrote no request. ``row_says`` replaces columns of the finished row.

    ``spare_minor`` is what the customer has left after all this.
    """

    trd_id: int
    trade_no: str
    kind: str
    mode: str | None
    status: int
    amount_minor: int
    customer: Customer
    created_at: datetime
    updated_at: datetime
    acc_booked: bool = False
    e_acc_booked: bool = False
    ledger: tuple[LedgerSide, ...] = ()
    bank: BankSide | None = None
    failed_msg: str | None = None
    spare_minor: int = 0
    row_says: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_paid_undebited(self) -> bool:
        """The bank has paid out what the ledger never took from the customer."""
        paid = self.bank is not None and self.bank.status == "success"
        return self.kind == WITHDRAW and paid and not self.ledger
