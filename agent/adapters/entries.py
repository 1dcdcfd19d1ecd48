"""What a ledger entry must look like for a trade, and what the entries found say of its legs. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import Final

import msgspec

from agent.adapters.names import LedgerNames
from agent.facts import Kind, Leg, LegFact, LegState
from agent.money import NOT_FEN, has_decimals
from agent.records import Trade
from agent.unpaid import REVERSED_BEFORE

SLOTS: Final[Mapping[str, tuple[str, ...]]] = {"1": ("1",), "2": ("2",), "both": ("1", "2")}
"""The legs that an entry occupies."""

Shares = tuple[tuple[str, int], ...]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as stored.

    ``postings`` is the net of each account it touches, zeros left out. ``reverses`` and ``reversed_by`` are
    numbers of entries, empty where there is none.
    """

    voucher_no: str
    leg: str
    kind: str
    amount: object
    currency: str
    postings: Mapping[str, int] | None
    reverses: str = ""
    reversed_by: str = ""
    posted_by: str = ""


class Reversals(msgspec.Struct, frozen=True):
    """The entries of a trade that take others back. ``ours``: the legs of which we have reversed an entry.

    ``unmarked``: those that no entry is marked to be reversed by.
    """

    ours: Set[str]
    unmarked: Sequence[Entry]

    def of(self, entry: Entry) -> Entry | None:
        """An entry that takes this one back, which is not marked so: or may, naming none of its leg."""
        slots = _slots(entry)
        return next(
            (
                each
                for each in self.unmarked
                if each.reverses == entry.voucher_no or (not each.reverses and slots & _slots(each))
            ),
            None,
        )


def _slots(entry: Entry) -> Set[str]:
    return set(SLOTS.get(entry.leg, ("1", "2")))


def shares(names: LedgerNames, kind: Kind, leg: Leg, account_no: str, minor: int) -> Shares | None:
    """The signed postings of an entry, in minor units, summing to zero; None where there is no such entry."""
    clearing, bank = names.clearing_account, names.bank_account
    match kind, leg:
        case Kind.RECHARGE, Leg.FIRST:
            return ((account_no, minor), (bank, -minor))
        case Kind.WITHDRAW, Leg.BOTH:
            return ((account_no, -minor), (clearing, minor), (clearing, -minor), (bank, minor))
        case Kind.WITHDRAW, Leg.FIRST:
            return ((account_no, -minor), (clearing, minor))
        case Kind.WITHDRAW, Leg.SECOND:
            return ((clearing, -minor), (bank, minor))
        case _:
            return None


def net(postings: Sequence[tuple[str, int]]) -> dict[str, int]:
    """What each account gains, accounts that gain nothing left out."""
    gains: dict[str, int] = defaultdict(int)
    for account_no, amount in postings:
        gains[account_no] += amount
    return {account_no: amount for account_no, amount in gains.items() if amount}


def leg_facts(names: LedgerNames, trade: Trade, entries: Sequence[Entry]) -> tuple[LegFact, LegFact | None]:
    """Both legs of a trade from all of its entries; a recharge has no second.

    An entry in the place of one that we have reversed says so.
    """
    reversals = reversals_among(names, entries)
    standing = standing_among(names, entries)
    if trade.kind is Kind.RECHARGE:
        # Nothing of a recharge belongs on the second leg: what stands there spoils the first.
        return _leg(names, trade, standing, reversals), None
    return tuple(
        _leg(names, trade, [entry for entry in standing if _is_on(entry, leg)], reversals)
        for leg in (Leg.FIRST, Leg.SECOND)
    )  # type: ignore[return-value]


def _is_reversal(names: LedgerNames, entry: Entry) -> bool:
    return bool(entry.reverses) or entry.kind == names.reversal


def standing_among(names: LedgerNames, entries: Sequence[Entry]) -> list[Entry]:
    """Those of a trade's entries that are not marked as reversed, and are no reversals."""
    return [each for each in entries if not (each.reversed_by or _is_reversal(names, each))]


def reversals_among(names: LedgerNames, entries: Sequence[Entry]) -> Reversals:
    """Those of a trade's entries that take others back."""
    taking = [each for each in entries if _is_reversal(names, each)]
    marked = {each.reversed_by for each in entries if each.reversed_by}
    ours = {each.leg for each in taking if (each.kind, each.posted_by) == (names.reversal, names.posted_by)}
    return Reversals(ours, [each for each in taking if each.voucher_no not in marked])


def _is_on(entry: Entry, leg: Leg) -> bool:
    # An entry on a leg that nobody knows is held against both.
    return leg.value in SLOTS.get(entry.leg, ("1", "2"))


def _leg(names: LedgerNames, trade: Trade, entries: Sequence[Entry], reversals: Reversals) -> LegFact:
    if not entries:
        return LegFact(LegState.NONE)
    if len(entries) > 1:
        numbers = ", ".join(sorted(entry.voucher_no for entry in entries))
        return LegFact(LegState.MISMATCH, detail=f"more than one entry: {numbers}"[:300])
    entry = entries[0]
    amount = entry.amount if isinstance(entry.amount, int) else None
    difference = _difference(names, trade, entry)
    if not difference and (by := reversals.of(entry)) is not None:
        # By hand, and not marked: the money may be back, though the entry reads as if it stood.
        difference = f"{by.voucher_no} reverses it, and it is not marked so"
    if difference:
        return LegFact(LegState.MISMATCH, entry.voucher_no, amount, difference)
    detail = REVERSED_BEFORE if entry.leg in reversals.ours else ""
    return LegFact(LegState.POSTED, entry.voucher_no, amount, detail)


def _difference(names: LedgerNames, trade: Trade, entry: Entry) -> str:
    """How an entry differs from what the trade asks for; empty where it does not."""
    kinds = {Kind.RECHARGE: names.recharge, Kind.WITHDRAW: names.withdraw}
    if trade.kind is None or entry.kind != kinds[trade.kind]:
        return f"kind {entry.kind}"
    if has_decimals(entry.amount):
        return f"amount {entry.amount} {NOT_FEN}"
    if trade.amount_minor is None or entry.amount != trade.amount_minor:
        return f"amount {entry.amount}"
    if entry.currency != trade.currency:
        return f"currency {entry.currency}"
    if entry.leg not in SLOTS:
        return f"leg {entry.leg}"
    wanted = shares(names, trade.kind, Leg(entry.leg), trade.account_no, trade.amount_minor)
    if wanted is None:
        return f"leg {entry.leg} of a {trade.kind.value}"
    if entry.postings is None:
        return "a posting without an account or an amount in fen"
    if entry.postings != net(wanted):
        return f"postings {dict(sorted(entry.postings.items()))}"[:300]
    return ""
