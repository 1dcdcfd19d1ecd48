"""The ports: what fixers and collectors may ask of a production system.

Adapters implement them for real systems, tests/fakes for tests; both pass the same contract tests.
Any call may raise PortError: the answer is then unknown, whatever happened.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from agent.facts import BankFact, LegFact
from agent.money import Money
from agent.records import (
    BankRequest,
    Begun,
    Correction,
    Opened,
    Pattern,
    PayoutReply,
    Posting,
    RepairRow,
    Reversal,
    StepRow,
    Trade,
    Window,
)

NO_NUMBERS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


class TradePort(Protocol):
    """Production's trade database: rows, bank requests, and Piculus's own tables beside them."""

    def now(self) -> datetime:
        """Production's clock, aware UTC."""
        ...

    def find(self, trade_no: str) -> list[Trade]:
        """Rows with this number: none, one, or duplicates, by ascending id, of which MOST_TWINS at most."""
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

    def payout_numbers(self, trade_no: str) -> Set[str]:
        """The numbers that payout steps (PAYOUT_STEPS) of the trade's repairs name, of whichever round."""
        ...

    def open_bank_request(
        self,
        claim: RepairRow,
        request: BankRequest,
        step: StepRow,
        seen: Set[str],
        trade: Trade | None = None,
    ) -> Opened:
        """Write, just before the bank is called, the step, and the request's line where none stands.

        The line is dated now. One of the same number and trade is left as it is. ``seen``: every number of
        the trade that the bank was asked about; ``trade``: the row that says whom to pay, as read. Raises
        FencedError, RowChangedError as ``claim_repair``, RequestsChangedError where the trade has
        others, or fewer, but for this one; StoodStillError where ``claim.held_at`` is longer ago than
        EFFECT_WITHIN, NumberTakenError where the number is another trade's, PortError where the place is
        another number's.
        """
        ...

    def note_bank_request(self, claim: RepairRow, request_no: str, status: str) -> None:
        """Keep what the bank last said beside a request of the claim's trade; one that is said to be paid by
        then stays. Raises FencedError.
        """
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

    def claim_repair(
        self, claim: RepairRow, over: str | None = None, trade: Trade | None = None
    ) -> RepairRow:
        """Begin a repair or take one over; returns it as it now stands.

        A repair that is open is taken over when ``claim.fence`` is higher, or equal with the same boot id or
        while ``over`` holds it: the boot id of an earlier start of the agent, so that of two that would take
        its place one does. Its plan, before row, terms and steps stay; one that has begun nothing counts as
        begun now. Otherwise a new round begins. ``trade``: the row that it rests on, as read.

        Raises FencedError when a newer fence, or another start, holds it; RowChangedError where that row is
        no longer the trade's only row, or not as it was; PortError also where it could not be corrected.
        """
        ...

    def renew_repair(self, claim: RepairRow) -> None:
        """Have an open repair count as begun now: all that it had begun has come to nothing.

        ``claim.held_at`` goes on counting from the last write under the claim. Raises FencedError.
        """
        ...

    def record_step(
        self,
        claim: RepairRow,
        *steps: StepRow,
        looked_at: datetime | None = None,
        seen: Set[str] | None = None,
        trade: Trade | None = None,
    ) -> datetime:
        """Write steps before (intended) or after (done, failed) their effect: all, or none.

        Returns when, by production's clock: the start of those that name none. A step whose key stands
        already is replaced and belongs to the claim's round from then on. ``looked_at``: when what a step
        rests on was read, by production's clock; ``seen``: every number of the trade that the bank was asked
        about; ``trade``: the row it rests on, as read. Raises FencedError; RowChangedError as
        ``claim_repair``; RequestsChangedError where the trade has others, or fewer; StoodStillError
        where ``looked_at``, or the last write under this claim (``claim.held_at``), is longer ago than
        FACTS_HOLD.
        """
        ...

    def close_repair(
        self, claim: RepairRow, state: str, *steps: StepRow, looked_at: datetime | None = None
    ) -> None:
        """Set the repair done or abandoned, its last steps with it. ``looked_at``: when what they tell was
        read, by production's clock.

        Raises FencedError; StoodStillError where ``looked_at`` is longer ago than TOLD_WITHIN.
        """
        ...

    def write_row(self, claim: RepairRow, trade: Trade, correction: Correction, *steps: StepRow) -> Trade:
        """Correct the row by compare-and-set over everything read, with the correction record that keeps the
        old row and the steps (this one done, the next intended), in one transaction; return the row after,
        whose ``read_at`` is the start of a step that names none.

        Raises RowChangedError, FencedError; StoodStillError where ``claim.held_at`` is longer ago than
        EFFECT_WITHIN.
        """
        ...


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
        EntryStandsError where none has and this is a question, EntriesChangedError where an entry of
        the trade stands that is none of ``standing``, LedgerRejectedError where the trade has no
        such entry, it is itself a reversal, the key stands for another, or a balance does not cover it,
        StoodStillError as post: nothing was posted. PortError: unknown.
        """
        ...

    def check(self) -> str:
        """Say in a few words what was found; raises PortError."""
        ...


class BankPort(Protocol):
    """The bank."""

    deduplicates: bool
    """Whether the bank de-duplicates by payout number; if not, a lost reply goes to a person."""

    def facts(
        self,
        trades: Sequence[Trade],
        requests: Mapping[str, list[BankRequest]],
        without_line: Mapping[str, Sequence[str]] = NO_NUMBERS,
    ) -> Mapping[str, BankFact]:
        """What the bank says over every request number of each trade. Never raises for one trade: UNKNOWN.

        ``without_line``: numbers of a trade that are asked about in the same inquiry, only whether the bank
        knows them.
        """
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
