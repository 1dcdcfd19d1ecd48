"""A double-entry ledger in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from agent.errors import (
    EntriesChangedError,
    EntryReversedError,
    EntryStandsError,
    InsufficientBalanceError,
    LedgerRejectedError,
    LegTakenError,
)
from agent.facts import Kind, Leg, LegFact, LegState
from agent.records import Posting, Reversal, Trade
from agent.standstill import EFFECT_WITHIN, require_within
from agent.unpaid import REVERSED_BEFORE
from tests.fakes.faults import Clock, Faults, port_call

SLOTS = {Leg.FIRST: (Leg.FIRST,), Leg.SECOND: (Leg.SECOND,), Leg.BOTH: (Leg.FIRST, Leg.SECOND)}


class Entry(msgspec.Struct):
    """One balanced entry; ``postings`` are (account, signed amount)."""

    voucher_no: str
    trade_no: str
    kind: Kind
    leg: Leg
    account_no: str
    amount: int
    currency: str
    key: str
    postings: tuple[tuple[str, int], ...]
    posted_by: str
    is_reversed: bool = False
    reverses: str | None = None


class FakeLedger:
    """LedgerPort in memory. ``balances`` may not go below zero for a customer's account.

    Of the trades in ``unreadable`` the ledger says nothing.
    """

    port_name = "ledger"

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.balances: dict[str, int] = {"CLEARING": 0, "BANK": 0}
        self.entries: list[Entry] = []
        self.unreadable: set[str] = set()
        self._last_number = 0

    # ---- what tests do to it

    def put(self, trade: Trade, leg: Leg, *, voucher_no: str | None = None, amount: int | None = None) -> str:
        """Production posts an entry under its own key; nothing is checked. Returns its voucher number."""
        assert trade.kind is not None
        assert trade.amount_minor is not None
        return self._book(
            Entry(
                voucher_no=voucher_no or self._next_number(),
                trade_no=trade.trade_no,
                kind=trade.kind,
                leg=leg,
                account_no=trade.account_no,
                amount=amount if amount is not None else trade.amount_minor,
                currency=trade.currency,
                key=f"production:{trade.trade_no}:{leg}:{len(self.entries)}",
                postings=_postings(trade.kind, leg, trade.account_no, amount or trade.amount_minor),
                posted_by="production",
            )
        )

    def reverse(self, voucher_no: str) -> None:
        """A person reverses an entry: its legs are free again."""
        for entry in self.entries:
            if entry.voucher_no == voucher_no:
                entry.is_reversed = True
                for account, amount in entry.postings:
                    self.balances[account] -= amount

    def of_trade(self, trade_no: str) -> list[Entry]:
        """Every entry of a trade, reversed ones too."""
        return [entry for entry in self.entries if entry.trade_no == trade_no]

    # ---- the port

    @port_call
    def now(self) -> datetime:
        return self.clock()

    @port_call
    def legs(self, trades: Sequence[Trade]) -> Mapping[str, tuple[LegFact, LegFact | None]]:
        return {
            trade.trade_no: (
                self._leg(trade, Leg.FIRST),
                self._leg(trade, Leg.SECOND) if trade.kind is Kind.WITHDRAW else None,
            )
            for trade in trades
        }

    @port_call
    def post(self, posting: Posting) -> str:
        for entry in self.entries:
            if entry.key == posting.key:
                return _repeated(entry, posting)
        require_within(EFFECT_WITHIN, posting.intended_at, self.clock())
        if posting.account_no not in self.balances:
            raise LedgerRejectedError(f"no account {posting.account_no}")
        if any(self._live(posting.trade_no, slot) for slot in SLOTS[posting.leg]):
            raise LegTakenError
        postings = _postings(posting.kind, posting.leg, posting.account_no, posting.amount.minor)
        change = sum(amount for account, amount in postings if account == posting.account_no)
        if self.balances[posting.account_no] + change < 0:
            raise InsufficientBalanceError
        return self._book(
            Entry(
                voucher_no=self._next_number(),
                trade_no=posting.trade_no,
                kind=posting.kind,
                leg=posting.leg,
                account_no=posting.account_no,
                amount=posting.amount.minor,
                currency=posting.amount.currency,
                key=posting.key,
                postings=postings,
                posted_by="piculus",
            )
        )

    @port_call
    def reverse_entry(self, reversal: Reversal) -> str:
        asked = (reversal.trade_no, reversal.voucher_no)
        for entry in self.entries:
            if entry.key == reversal.key:
                if (entry.trade_no, entry.reverses) != asked:
                    raise LedgerRejectedError("the key belongs to another entry")
                return entry.voucher_no
        require_within(EFFECT_WITHIN, reversal.intended_at, self.clock())
        held = [each for each in self.of_trade(reversal.trade_no) if each.voucher_no == reversal.voucher_no]
        if not held or held[0].reverses:
            raise LedgerRejectedError("no such entry, or itself a reversal")
        if held[0].is_reversed:
            raise EntryReversedError
        if reversal.is_question:
            raise EntryStandsError
        unreversed = [e for e in self.of_trade(reversal.trade_no) if not (e.is_reversed or e.reverses)]
        live = {each.voucher_no for each in unreversed}
        if reversal.standing is not None and not live <= reversal.standing:
            raise EntriesChangedError
        held[0].is_reversed = True
        return self._book(
            msgspec.structs.replace(
                held[0],
                voucher_no=self._next_number(),
                key=reversal.key,
                postings=tuple((account, -amount) for account, amount in held[0].postings),
                posted_by="piculus",
                is_reversed=False,
                reverses=reversal.voucher_no,
            )
        )

    @port_call
    def check(self) -> str:
        return f"{len(self.entries)} entries"

    # ---- inside

    def _book(self, entry: Entry) -> str:
        assert sum(amount for _, amount in entry.postings) == 0
        for account, amount in entry.postings:
            self.balances[account] = self.balances.get(account, 0) + amount
        self.entries.append(entry)
        return entry.voucher_no

    def _next_number(self) -> str:
        self._last_number += 1
        return f"GA{self.clock():%y%m%d%H%M%S}{self._last_number % 10**6:06d}"

    def _live(self, trade_no: str, slot: Leg) -> list[Entry]:
        return [
            entry
            for entry in self.of_trade(trade_no)
            if not (entry.is_reversed or entry.reverses) and slot in SLOTS[entry.leg]
        ]

    def _leg(self, trade: Trade, slot: Leg) -> LegFact:
        if trade.trade_no in self.unreadable:
            return LegFact(LegState.UNKNOWN, detail="timed out")
        live = self._live(trade.trade_no, slot)
        if not live:
            return LegFact(LegState.NONE)
        entry = live[0]
        agrees = len(live) == 1 and (entry.amount, entry.currency, entry.account_no, entry.kind) == (
            trade.amount_minor,
            trade.currency,
            trade.account_no,
            trade.kind,
        )
        if not agrees:
            return LegFact(
                LegState.MISMATCH, entry.voucher_no, entry.amount, "the entry does not fit the trade"
            )
        reversed_legs = [each.leg for each in self.of_trade(trade.trade_no) if each.reverses]
        detail = REVERSED_BEFORE if entry.leg in reversed_legs else ""
        return LegFact(LegState.POSTED, entry.voucher_no, entry.amount, detail)


def _repeated(entry: Entry, posting: Posting) -> str:
    asked = (posting.trade_no, posting.kind, posting.leg, posting.account_no, posting.amount.minor)
    if entry.is_reversed or asked != (entry.trade_no, entry.kind, entry.leg, entry.account_no, entry.amount):
        raise LedgerRejectedError("the key belongs to another or a reversed entry")
    return entry.voucher_no


def _postings(kind: Kind, leg: Leg, account_no: str, amount: int) -> tuple[tuple[str, int], ...]:
    if kind is Kind.RECHARGE:
        return ((account_no, amount), ("BANK", -amount))
    first = ((account_no, -amount), ("CLEARING", amount))
    second = (("CLEARING", -amount), ("BANK", amount))
    return {Leg.FIRST: first, Leg.SECOND: second, Leg.BOTH: first + second}[leg]
