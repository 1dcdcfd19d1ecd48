"""What passes through the ports: trades, bank requests, repairs and their steps, postings, replies."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from agent.facts import Bookkeeping, Kind, Leg, Row, Status
from agent.money import Money

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No trade is older."""
MOST_TWINS: Final = 100
"""Rows of one number that are read at most. A number that stands for none may stand on a million rows."""
CLOCKS_APART: Final = timedelta(days=1)
"""A row's time so far ahead of production's own clock makes no sense; less may be two clocks that differ."""


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade row, read. Values that make no sense are kept raw in ``row`` and None here.

    ``trade_id`` and ``version`` are 0 where they are no whole number. ``row`` holds the eight columns of the
    product document; ``row_hash`` is over all that was read, ``terms`` over what says whose money it is and
    how much: kind, amount, currency, both accounts, way of posting.
    ``changed_at``, ``created_at``: aware UTC, production's clock; ``read_at``: production's clock at reading.
    ``raw_status``, ``raw_amount``, ``raw_kind``, ``raw_bookkeeping``, ``raw_version``: as stored.
    """

    trade_id: int
    trade_no: str
    row: Row
    row_hash: str
    terms: str
    version: int
    kind: Kind | None
    bookkeeping: Bookkeeping | None
    status: Status | None
    is_acc: bool | None
    is_e_acc: bool | None
    amount_minor: int | None
    currency: str
    account_no: str
    bank_account_no: str
    channel: str | None
    created_at: datetime | None
    changed_at: datetime | None
    read_at: datetime
    raw_status: object = None
    raw_amount: object = None
    raw_kind: object = None
    raw_bookkeeping: object = None
    raw_version: object = None


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A row pattern of a fixer, pushed down to SQL. ``is_acc``, ``is_e_acc`` None mean 'whatever'."""

    kind: Kind
    status: Status
    is_acc: bool | None = None
    is_e_acc: bool | None = None

    def fits(self, trade: Trade) -> bool:
        """Whether a row read is one of these."""
        return (
            (trade.kind, trade.status) == (self.kind, self.status)
            and self.is_acc in (None, trade.is_acc)
            and self.is_e_acc in (None, trade.is_e_acc)
        )


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Rows changed in [start, end), of one shard: trade id modulo ``shards`` == ``shard``."""

    start: datetime
    end: datetime
    shard: int = 0
    shards: int = 1

    def holds(self, at: datetime | None) -> bool:
        """Whether a time lies inside, whatever the shard."""
        return at is not None and self.start <= at < self.end


class BankRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A line of production's own table of bank requests.

    ``status`` is hearsay, never a fact; ``is_said_paid``: it tells of a request the bank carried out.
    ``asked_at``: when a repair last had the bank asked to pay under it, by production's clock, if ever.
    ``changed_at``: when its line was last written, None where that cannot be read: production writes it
    before each call, so also before it submits the number once more.
    ``raw_amount``: what stands for the amount where it is none.
    """

    request_no: str
    trade_no: str
    seq: int
    kind: str
    status: str
    amount_minor: int | None
    created_at: datetime
    is_said_paid: bool = False
    asked_at: datetime | None = None
    changed_at: datetime | None = None
    raw_amount: object = None

    @property
    def last_asked_at(self) -> datetime:
        """When the bank was last asked to carry it out, as far as production's tables tell."""
        return max(self.created_at, self.asked_at or self.created_at)

    @property
    def may_be_asked_at(self) -> datetime:
        """When the bank may have been asked for it last: no call was made after that."""
        return max(self.last_asked_at, self.changed_at or self.last_asked_at)


class Opened(msgspec.Struct, frozen=True):
    """A bank request that may be asked for at once.

    ``is_new``: this very call wrote its line; ``at``: production's clock then.
    """

    is_new: bool
    at: datetime


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair writes to the row, and the text of why.

    A voucher None leaves that leg's two cells exactly as they are; a voucher given also marks the leg booked.
    The cells of a leg in ``cleared`` are emptied: no number, not booked.
    """

    status: Status
    acc_voucher: str | None
    e_acc_voucher: str | None
    message: str
    cleared: tuple[Leg, ...] = ()


class StepRow(msgspec.Struct, frozen=True, kw_only=True):
    """A step as production's database holds it.

    ``result`` is small JSON text; a payout's names its ``request_no``, and has a ``status`` once the bank was
    let be asked (``asked``) or has answered.
    ``started_at``: when it was last written down as about to happen, by production's clock; None: when it is
    written next, or that the stored time cannot be read.
    """

    key: str
    seq: int
    name: str
    state: str
    moves_money: bool
    started_at: datetime | None
    finished_at: datetime | None
    result: str = ""

    def written_at(self, at: datetime) -> "StepRow":
        """The step as it stands once it was written, at this time of production's clock."""
        return self if self.started_at else msgspec.structs.replace(self, started_at=at)

    @property
    def may_have_moved_money(self) -> bool:
        """Whether money moved here, or may have: begun counts, and so does what another was found to do."""
        return self.moves_money and self.state != "failed"


class RepairRow(msgspec.Struct, frozen=True, kw_only=True):
    """The repair of one trade as production's database holds it.

    ``state``: open (resume it), done, abandoned (ended before any effect). ``round`` rises with each new
    repair of the same trade. ``before`` is the row as first read with its ``terms``, ``plan`` the names of
    its steps in order. ``earlier``: the steps of the rounds before this one. ``held_at``: when it was last
    written, by production's clock.
    """

    trade_no: str
    round: int
    state: str
    fence: int
    fixer_code: str
    target: Status
    plan: tuple[str, ...]
    before: Row
    terms: str
    agent: str
    boot_id: str
    steps: tuple[StepRow, ...] = ()
    earlier: tuple[StepRow, ...] = ()
    held_at: datetime = EPOCH

    @property
    def money_moved(self) -> bool:
        """Whether a step of this repair moved money, or may have."""
        return any(step.may_have_moved_money for step in self.steps)

    @property
    def has_begun(self) -> bool:
        """Whether a step of it moved money, or may have, or was done: it is gone on with then."""
        return self.money_moved or any(step.state == "done" for step in self.steps)


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Repairs begun since some time: how many trades, and their amounts in minor units by currency."""

    trades: int = 0
    amounts: Mapping[str, int] = {}


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """What a fixer asks the ledger to post; ``key`` is ``PCL:{sys_code}:{trade_no}:{leg}``.

    ``intended_at``: the ledger's own clock, read before the posting was written down as about to happen.
    """

    key: str
    trade_no: str
    kind: Kind
    leg: Leg
    account_no: str
    amount: Money
    intended_at: datetime


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """The entry of a trade to take back; ``key`` is ``PCL:{sys_code}:{trade_no}:reverse:{leg}``.

    ``intended_at`` as of a Posting. ``standing``: every entry of the trade that was looked at, this one
    included, and none other may stand; None: whatever there is. ``is_question``: only tell whether this key
    has done it; post nothing.
    """

    key: str
    trade_no: str
    voucher_no: str
    intended_at: datetime
    standing: frozenset[str] | None = None
    is_question: bool = False


class PayoutReply(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's answer to a payout: accepted, success, failed (explicit code of its list) or unknown.

    A failure is final only once ``facts`` calls the number FAIL: until it has settled it may still be paid.
    ``is_whole``: it tells of amount, currency and payee, all as asked; what leaves one out is asked about.
    """

    status: str
    is_whole: bool = True
    code: str | None = None
    detail: str = ""
