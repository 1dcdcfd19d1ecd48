"""The ledger checked against itself: sums, balances, legs, reversals."""

# ruff: noqa: SIM300 - it takes upper-case columns for constants

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, func, select

from sandbox.database import snapshot
from sandbox.errors import LedgerError
from sandbox.ledger import BANK, CLEARING, Ledger, shares_of, slots_of

Fault = tuple[str, str, str]
Line = tuple[str, int]
_VOUCHER = re.compile(r"GA\d{18}")


@dataclass(frozen=True)
class Entry:
    """An unreversed entry; ``account_no`` is the customer it touches, None when none or several."""

    voucher_no: str
    trade_no: str
    leg: str
    kind: str
    amount_minor: int
    account_no: str | None


@dataclass
class LedgerAudit:
    """``faults`` are (rule, subject, detail)."""

    faults: list[Fault] = field(default_factory=list)
    _legs: dict[str, dict[str, Entry]] = field(default_factory=lambda: defaultdict(dict))

    def live_legs(self, trade_no: str) -> dict[str, Entry]:
        """Leg 1 and 2 of a trade, each with the entry that holds it."""
        return self._legs.get(trade_no, {})

    def hold(self, entry: Entry) -> None:
        for slot in slots_of(entry.leg):
            other = self._legs[entry.trade_no].get(slot)
            if other is not None:
                self.faults.append(
                    ("leg_posted_twice", entry.trade_no, f"{other.voucher_no}, {entry.voucher_no}")
                )
            self._legs[entry.trade_no][slot] = entry


def audit_ledger(ledger: Ledger) -> LedgerAudit:
    """Reads entries, legs, postings and accounts of one group."""
    audit = LedgerAudit()
    with snapshot(ledger.engine) as connection:
        lines = _lines(ledger, connection)
        slots = _live_slots(ledger, connection)
        entries = connection.execute(select(ledger.tables.entry)).mappings().all()
        _check_accounts(ledger, connection, audit)
    _check_reversals(entries, lines, audit)
    for row in entries:
        number = str(row["VOUCHER_NO"])
        _check_entry(row, lines.pop(number, []), slots.pop(number, set()), audit)
    audit.faults.extend(("posting_without_entry", number, "") for number in lines)
    audit.faults.extend(("leg_without_entry", number, "") for number in slots)
    return audit


def live_legs_now(ledger: Ledger, trade_no: str) -> dict[str, Entry]:
    """Legs of one trade as they stand now, for a reader whose audit may be a moment old."""
    entry, posting = ledger.tables.entry, ledger.tables.posting
    alive = (entry.c.TRD_NUM == trade_no) & entry.c.REVERSES.is_(None) & entry.c.REVERSED_BY.is_(None)
    audit = LedgerAudit()
    with snapshot(ledger.engine) as connection:
        for row in connection.execute(select(entry).where(alive)).mappings().all():
            of_entry = posting.c.VOUCHER_NO == row["VOUCHER_NO"]
            lines = connection.execute(select(posting.c.ACC_NO, posting.c.AMOUNT).where(of_entry)).all()
            audit.hold(_entry(row, [(line.ACC_NO, int(line.AMOUNT)) for line in lines]))
    return audit.live_legs(trade_no)


def _lines(ledger: Ledger, connection: Connection) -> dict[str, list[Line]]:
    posting = ledger.tables.posting
    lines: dict[str, list[Line]] = defaultdict(list)
    for number, account, amount in connection.execute(
        select(posting.c.VOUCHER_NO, posting.c.ACC_NO, posting.c.AMOUNT)
    ):
        lines[number].append((account, int(amount)))
    return lines


def _live_slots(ledger: Ledger, connection: Connection) -> dict[str, set[tuple[str, str]]]:
    leg = ledger.tables.entry_leg
    slots: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for number, trade_no, name in connection.execute(
        select(leg.c.VOUCHER_NO, leg.c.TRD_NUM, leg.c.LEG).where(leg.c.LIVE == 1)
    ):
        slots[number].add((trade_no, name))
    return slots


def _check_accounts(ledger: Ledger, connection: Connection, audit: LedgerAudit) -> None:
    """Each balance is the sum of its postings, no customer is overdrawn, all accounts sum to zero."""
    account, posting = ledger.tables.account, ledger.tables.posting
    by_account = select(posting.c.ACC_NO, func.sum(posting.c.AMOUNT)).group_by(posting.c.ACC_NO)
    sums = {str(name): int(amount) for name, amount in connection.execute(by_account)}
    total = 0
    for name, kind, balance in connection.execute(
        select(account.c.ACC_NO, account.c.KIND, account.c.BALANCE)
    ):
        posted = sums.pop(name, 0)
        total += balance
        if posted != balance:
            audit.faults.append(
                ("balance_not_sum_of_postings", name, f"balance {balance}, postings {posted}")
            )
        if kind == "customer" and balance < 0:
            audit.faults.append(("customer_overdrawn", name, str(balance)))
    audit.faults.extend(("posting_without_account", name, "") for name in sums)
    if total:
        audit.faults.append(("ledger_not_balanced", "all accounts", str(total)))


def _check_entry(row: RowMapping, lines: list[Line], slots: set[tuple[str, str]], audit: LedgerAudit) -> None:
    number, trade_no, leg = str(row["VOUCHER_NO"]), str(row["TRD_NUM"]), str(row["LEG"])
    if sum(amount for _, amount in lines) or not lines:
        audit.faults.append(("entry_not_balanced", number, str(lines)))
    if _VOUCHER.fullmatch(number) is None:
        audit.faults.append(("voucher_malformed", number, trade_no))
    is_live = row["REVERSES"] is None and row["REVERSED_BY"] is None
    wanted = {(trade_no, slot) for slot in slots_of(leg)} if is_live else set()
    if slots != wanted:
        audit.faults.append(("legs_not_held", number, f"{sorted(slots)} instead of {sorted(wanted)}"))
    if row["REVERSES"] is None:
        _check_shares(row, lines, audit)
    if is_live:
        audit.hold(_entry(row, lines))


def _entry(row: RowMapping, lines: list[Line]) -> Entry:
    touched = {name for name, _ in lines} - {BANK, CLEARING}
    customer = touched.pop() if len(touched) == 1 else None
    number, trade_no, leg = str(row["VOUCHER_NO"]), str(row["TRD_NUM"]), str(row["LEG"])
    return Entry(number, trade_no, leg, str(row["KIND"]), int(row["AMOUNT"]), customer)


def _check_shares(row: RowMapping, lines: list[Line], audit: LedgerAudit) -> None:
    """The lines are those of its kind and leg, over its amount."""
    touched = {name for name, _ in lines} - {BANK, CLEARING}
    customer = min(touched, default="")
    kind = "recharge" if row["KIND"] == "opening" else str(row["KIND"])
    try:
        wanted = shares_of(kind, str(row["LEG"]), customer, int(row["AMOUNT"]))
    except LedgerError as error:
        audit.faults.append(("entry_of_no_kind", str(row["VOUCHER_NO"]), str(error)))
        return
    if len(touched) > 1 or sorted(lines) != sorted(wanted):
        audit.faults.append(("postings_not_of_kind", str(row["VOUCHER_NO"]), f"{sorted(lines)}"))


def _check_reversals(entries: Sequence[RowMapping], lines: dict[str, list[Line]], audit: LedgerAudit) -> None:
    """A reversal and what it reverses name each other and cancel out."""
    by_number = {row["VOUCHER_NO"]: row for row in entries}
    for row in entries:
        back = row["REVERSED_BY"] if row["REVERSED_BY"] is not None else row["REVERSES"]
        if back is None:
            continue
        number, other = str(row["VOUCHER_NO"]), by_number.get(back)
        if other is None or number not in (other["REVERSES"], other["REVERSED_BY"]):
            audit.faults.append(("reversal_one_sided", number, str(back)))
        elif sorted(lines[number]) != sorted((name, -amount) for name, amount in lines[str(back)]):
            audit.faults.append(("reversal_not_opposite", number, str(back)))
