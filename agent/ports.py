"""The ports: what fixers and collectors may ask of a production system.

Adapters implement them for real systems, tests/fakes for tests; both pass the same contract tests.
Any call may raise PortError: the answer is then unknown, whatever happened.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import msgspec

from agent.facts import BankFact, Bookkeeping, Kind, Leg, LegFact, Row, Status
from agent.money import Money

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""No trade is older."""
CLOCKS_APART: Final = timedelta(days=1)
"""A row's time so far ahead of production's own clock makes no sense; less may be two clocks that differ."""


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade row, read. Values that make no sense are kept raw in ``row`` and None here.

    ``row`` holds the eight columns of the product document; ``row_hash`` is over all that was read, ``terms``
    over what says whose money it is and how much: kind, amount, currency, both accounts, way of posting.
    ``changed_at``, ``created_at``: aware UTC, production's clock; ``read_at``: production's clock at reading.
    ``raw_status``, ``raw_amount``, ``raw_kind``, ``raw_bookkeeping``: as stored.
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

    @property
    def last_asked_at(self) -> datetime:
        """When the bank was last asked to carry it out, as far as production's tables tell."""
        return max(self.created_at, self.asked_at or self.created_at)


class Opened(msgspec.Struct, frozen=True):
    """A bank request that may be asked for now.

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
    its steps in order. ``held_at``: when it was last written, by production's clock.
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
    held_at: datetime = EPOCH

    @property
    def money_moved(self) -> bool:
        """Whether a step of this repair moved money, or may have."""
        return any(step.may_have_moved_money for step in self.steps)


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Repairs begun since some time: how many trades, and their amounts in minor units by currency."""

    trades: int = 0
    amounts: Mapping[str, int] = {}


class TradePort(Protocol):
    """Production's trade database: rows, bank requests, and Piculus's own tables beside them."""

    def now(self) -> datetime:
        """Production's clock, aware UTC."""
        ...

    def find(self, trade_no: str) -> list[Trade]:
        """Rows with this number: none, one, or duplicates."""
        ...

    def suspects(self, patterns: Sequence[Pattern], window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows matching any pattern, ascending trade id, by keyset; all of the window, no limit.

        Also every row that makes no sense (unknown kind or status, missing, negative or malformed amount,
        malformed number): those come whatever the patterns. A row whose time of change is missing, unreadable
        or ahead of the clock by more than CLOCKS_APART lies in no window and comes in each.
        """
        ...

    def duplicates(self, window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows changed in the window whose number stands in more than one row."""
        ...

    def count(self, window: Window) -> int:
        """Roughly how many rows of the shard the window holds, for progress; 0 where it would be dear."""
        ...

    def bank_requests(self, trade_nos: Sequence[str]) -> Mapping[str, list[BankRequest]]:
        """Every bank request of each trade, by seq; trades without one are absent.

        ``asked_at`` is the start of the step (PAYOUT_STEPS) that names the number, unless that has failed.
        """
        ...

    def open_bank_request(self, claim: RepairRow, request: BankRequest, step: StepRow) -> Opened:
        """Write, just before the bank is called, the step, and the request's line where none stands.

        The line is dated now. One of the same number and trade is left as it is. Raises FencedError,
        StoodStillError where ``claim.held_at`` is longer ago than EFFECT_WITHIN, PortError where number or
        place are another's.
        """
        ...

    def note_bank_request(self, claim: RepairRow, request_no: str, status: str) -> None:
        """Keep what the bank last said beside a request of the claim's trade. Raises FencedError."""
        ...

    def find_repair(self, trade_no: str) -> RepairRow | None:
        """The newest repair of the trade with its steps, or None."""
        ...

    def begun_since(self, since: datetime, but: str) -> Begun:
        """The repairs begun at or after a time of production's clock, by whichever agent, and not abandoned.

        ``but``: a trade whose own repair is left out. An amount that cannot be read counts as a trade only.
        """
        ...

    def stepped(
        self, steps: Sequence[str], since: datetime, window: Window, page: int
    ) -> Iterator[list[Trade]]:
        """Pages of the rows of trades of which a repair, this or an earlier round, has a step so named.

        ``since``: when the newest round was begun, at the earliest, by production's clock. Of the window only
        the shard counts: such a row is finished and may have changed at any time.
        """
        ...

    def claim_repair(self, claim: RepairRow, over: str | None = None) -> RepairRow:
        """Begin a repair or take one over; returns it as it now stands.

        A repair that is open is taken over when ``claim.fence`` is higher, or equal with the same boot id or
        while ``over`` holds it: the boot id of an earlier start of the agent, so that of two that would take
        its place one does. Its plan, before row, terms and steps stay. Otherwise a new round begins. Raises
        FencedError when a newer fence, or another start, holds it.
        """
        ...

    def record_step(self, claim: RepairRow, *steps: StepRow, looked_at: datetime | None = None) -> datetime:
        """Write steps before (intended) or after (done, failed) their effect: all, or none.

        Returns when, by production's clock: the start of those that name none. A step whose key stands
        already is replaced and belongs to the claim's round from then on. ``looked_at``: when what a step
        rests on was read, by production's clock. Raises FencedError; StoodStillError where that, or the last
        write under this claim (``claim.held_at``), is longer ago than FACTS_HOLD.
        """
        ...

    def close_repair(self, claim: RepairRow, state: str, *steps: StepRow) -> None:
        """Set the repair done or abandoned, its last steps with it. Raises FencedError."""
        ...

    def write_row(self, claim: RepairRow, trade: Trade, correction: Correction, *steps: StepRow) -> Trade:
        """Correct the row by compare-and-set over everything read, with the correction record that keeps the
        old row and the steps (this one done, the next intended), in one transaction; return the row after,
        whose ``read_at`` is the start of a step that names none.

        Raises RowChangedError, FencedError; StoodStillError where ``claim.held_at`` is longer ago than
        EFFECT_WITHIN.
        """
        ...


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

    ``intended_at`` as of a Posting.
    """

    key: str
    trade_no: str
    voucher_no: str
    intended_at: datetime


class LedgerPort(Protocol):
    """Production's ledger."""

    def now(self) -> datetime:
        """The ledger's own clock, aware UTC."""
        ...

    def legs(self, trades: Sequence[Trade]) -> Mapping[str, tuple[LegFact, LegFact | None]]:
        """Both legs of each trade by number, as facts: NONE, POSTED, MISMATCH (amount, account, kind or more
        than one entry), UNKNOWN (could not be read). A recharge has no second leg. Never raises for a trade.
        """
        ...

    def post(self, posting: Posting) -> str:
        """Post one balanced entry and return its voucher number; the same key returns the same number.

        Raises InsufficientBalanceError, LegTakenError, LedgerRejectedError, StoodStillError where it was
        intended longer ago than EFFECT_WITHIN: nothing was posted; PortError: unknown.
        """
        ...

    def reverse_entry(self, reversal: Reversal) -> str:
        """Post the entry that takes another one back and return its voucher number; the legs are free again.

        The same key returns the same number. Raises EntryReversedError where another key has reversed it,
        LedgerRejectedError where the trade has no such entry, it is itself a reversal, the key stands for
        another, or a balance does not cover it, StoodStillError as post: nothing was posted. PortError:
        unknown.
        """
        ...

    def check(self) -> str:
        """Say in a few words what was found; raises PortError."""
        ...


class PayoutReply(msgspec.Struct, frozen=True, kw_only=True):
    """The bank's answer to a payout: accepted, success, failed (explicit code of its list) or unknown.

    A failure is final only once ``facts`` calls the number FAIL: until it has settled it may still be paid.
    """

    status: str
    code: str | None = None
    detail: str = ""


class BankPort(Protocol):
    """The bank."""

    deduplicates: bool
    """Whether the bank de-duplicates by payout number; if not, a lost reply goes to a person."""

    def facts(
        self, trades: Sequence[Trade], requests: Mapping[str, list[BankRequest]]
    ) -> Mapping[str, BankFact]:
        """What the bank says over every request number of each trade. Never raises for one trade: UNKNOWN."""
        ...

    def pay(self, request_no: str, amount: Money, payee_account: str) -> PayoutReply:
        """Ask for a payout, idempotent by number. Raises BankConflictError. A time-out is status unknown."""
        ...

    def check(self) -> str:
        """Say in a few words what was found; raises PortError."""
        ...


class StepLog(Protocol):
    """Where a fixer tells what it is doing, for the server to show live."""

    def __call__(self, step: StepRow, /) -> None: ...


class Cancellation(Protocol):
    """Whether a person cancelled the command."""

    def is_set(self) -> bool: ...


class Ports(msgspec.Struct, frozen=True):
    """Everything a fixer or collector may touch."""

    trades: TradePort
    ledger: LedgerPort
    bank: BankPort
