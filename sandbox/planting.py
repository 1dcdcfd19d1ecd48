"""Puts scenes into row, ledger and bank in bulk, past the checks a posting goes through one by one.

Nothing here goes over HTTP: the bank's books are written directly, so no bank needs to run.
"""

# ruff: noqa: SIM300 - it takes upper-case columns for constants

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, update

from sandbox.bank.books import BankBooks
from sandbox.bank.records import PAYOUT, RECEIPT, BankRecord
from sandbox.database import writing
from sandbox.ledger import (
    BANK,
    CLEARING,
    CURRENCY,
    PostingOrder,
    entry_row,
    opening_order,
    shares_of,
    slots_of,
    voucher_number,
)
from sandbox.production import Production
from sandbox.scenes import RECHARGE, WITHDRAW, Scene

BATCH = 5_000
_BANK_DELAY = timedelta(milliseconds=300)
_SENDER_KNEW = {"success": "success", "failed": "failed", "accepted": "accepted", "never": "unknown"}

Row = dict[str, object]
Vouchers = dict[tuple[str, str], str]


@dataclass
class LedgerRows:
    """Rows for one bulk write, and what they change in the balances."""

    accounts: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    legs: list[Row] = field(default_factory=list)
    postings: list[Row] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, order: PostingOrder, number: str, shares: list[tuple[str, int]], at: datetime) -> None:
        self.entries.append(entry_row(order, number, at))
        for leg in slots_of(order.leg):
            self.legs.append({"VOUCHER_NO": number, "LEG": leg, "TRD_NUM": order.trade_no, "LIVE": 1})
        for name, amount in shares:
            self.postings.append({"VOUCHER_NO": number, "ACC_NO": name, "AMOUNT": amount})
            self.changes[name] += amount


def plant(production: Production, books: BankBooks, scenes: Sequence[Scene]) -> Vouchers:
    """Ledger first, then bank, then the trade database: a row never shows what is not behind it yet.

    Scenes of one customer must come in one call: its opening balance is reckoned from them.
    Returns the voucher number of each (trade number, leg 1 or 2).
    """
    vouchers = _plant_ledger(production, scenes)
    books.load(record for scene in scenes if (record := _bank_record(scene)) is not None)
    trade_rows = [trade_row(scene, vouchers) for scene in scenes]
    requests = [_request_row(scene) for scene in scenes if scene.bank is not None]
    with writing(production.engine) as connection:
        for table, rows in (
            (production.tables.trade, trade_rows),
            (production.tables.bank_request, requests),
        ):
            for batch in _batches(rows):
                connection.execute(insert(table), batch)
    return vouchers


def trade_row(scene: Scene, vouchers: Vouchers) -> Row:
    """The row, its voucher cells filled from the legs it says are booked."""
    is_withdrawal = scene.kind == WITHDRAW
    row: Row = {
        "TRD_ID": scene.trd_id,
        "TRD_NUM": scene.trade_no,
        "TRD_STATUS": scene.status,
        "ACC_TRD_NUM": vouchers[scene.trade_no, "1"] if scene.acc_booked else None,
        "ACC_TRD_STATUS": int(scene.acc_booked),
        "E_ACC_TRD_NUM": vouchers[scene.trade_no, "2"] if scene.e_acc_booked else None,
        "E_ACC_TRD_STATUS": int(scene.e_acc_booked) if is_withdrawal else None,
        "FAILED_MSG": scene.failed_msg,
        "TRD_KIND": scene.kind,
        "AMOUNT": scene.amount_minor,
        "CURRENCY": CURRENCY,
        "ACC_NO": scene.customer.account_no,
        "BANK_ACC_NO": scene.customer.bank_account_no,
        "CHANNEL": scene.customer.channel,
        "POSTING_MODE": scene.mode,
        "CREATED_AT": scene.created_at,
        "UPDATED_AT": scene.updated_at,
        "VERSION": 1,
    }
    row.update(scene.row_says)
    return row


def _request_row(scene: Scene) -> Row:
    status = "created" if scene.bank is None else _SENDER_KNEW[scene.bank.status]
    return {
        "REQUEST_NO": f"{scene.trade_no}-0",
        "TRD_NUM": scene.trade_no,
        "SEQ": 0,
        "KIND": RECEIPT if scene.kind == RECHARGE else PAYOUT,
        "STATUS": status,
        "AMOUNT": scene.amount_minor,
        "CREATED_AT": scene.created_at,
        "UPDATED_AT": scene.updated_at,
    }


def _bank_record(scene: Scene) -> BankRecord | None:
    bank = scene.bank
    if bank is None or bank.status == "never":
        return None
    accepted_at = scene.created_at + _BANK_DELAY
    return BankRecord(
        f"{scene.trade_no}-0",
        RECEIPT if scene.kind == RECHARGE else PAYOUT,
        bank.status,
        bank.code,
        scene.amount_minor + bank.extra_minor,
        CURRENCY,
        scene.customer.bank_account_no,
        accepted_at,
        None if bank.status == "accepted" else accepted_at + _BANK_DELAY,
        asked_minor=scene.amount_minor if bank.extra_minor else None,
    )


def _plant_ledger(production: Production, scenes: Sequence[Scene]) -> Vouchers:
    """Writes accounts, entries and balances; returns the voucher of each (trade number, slot)."""
    ledger, rows = production.ledger, LedgerRows()
    vouchers: Vouchers = {}
    with writing(ledger.engine) as connection:
        needed = 2 * len(scenes) + sum(len(scene.ledger) for scene in scenes)
        values = iter(range(first := ledger.reserve_values(connection, needed), first + needed))
        for scene in scenes:
            _add_entries(production.sys_code, scene, values, rows, vouchers)
        _add_accounts(scenes, values, rows)
        tables = ledger.tables
        account = tables.account
        for table, listed in (
            (account, rows.accounts),
            (tables.entry, rows.entries),
            (tables.entry_leg, rows.legs),
            (tables.posting, rows.postings),
        ):
            for batch in _batches(listed):
                connection.execute(insert(table), batch)
        house = [
            {"name": name, "change": rows.changes[name]} for name in (BANK, CLEARING) if name in rows.changes
        ]
        if house:
            change = update(account).where(account.c.ACC_NO == bindparam("name"))
            connection.execute(change.values(BALANCE=account.c.BALANCE + bindparam("change")), house)
    return vouchers


def _add_entries(
    sys_code: str,
    scene: Scene,
    values: Iterable[int],
    rows: LedgerRows,
    vouchers: Vouchers,
) -> None:
    numbers = iter(values)
    for side in scene.ledger:
        at = scene.created_at + timedelta(seconds=1)
        number = side.voucher_no or voucher_number(next(numbers), at)
        amount = scene.amount_minor + side.extra_minor
        key = f"{sys_code}:{scene.trade_no}:{side.leg}"
        customer = scene.customer.account_no
        order = PostingOrder(scene.trade_no, scene.kind, side.leg, amount, customer, key, "production")
        rows.add(order, number, shares_of(scene.kind, side.leg, customer, amount), at)
        for slot in slots_of(side.leg):
            vouchers[scene.trade_no, slot] = number


def _add_accounts(scenes: Sequence[Scene], values: Iterable[int], rows: LedgerRows) -> None:
    """A new account a customer, opened before its first trade with what it will have given out."""
    first_seen: dict[str, datetime] = {}
    spare: dict[str, int] = defaultdict(int)
    for scene in scenes:
        name = scene.customer.account_no
        first_seen[name] = min(first_seen.get(name, scene.created_at), scene.created_at)
        spare[name] = max(spare[name], scene.spare_minor)
    debits: dict[str, int] = defaultdict(int)
    for line in rows.postings:
        debits[str(line["ACC_NO"])] += max(0, -int(str(line["AMOUNT"])))
    numbers = iter(values)
    for name, seen_at in first_seen.items():
        opening = debits[name] + spare[name]
        if opening:
            at = seen_at - timedelta(days=30)
            shares = [(name, opening), (BANK, -opening)]
            rows.add(opening_order(name, opening), voucher_number(next(numbers), at), shares, at)
        balance = rows.changes[name]
        rows.accounts.append({"ACC_NO": name, "KIND": "customer", "BALANCE": balance, "CURRENCY": CURRENCY})


def note_planted(production: Production, planted: Sequence[tuple[Scene, str, str]]) -> None:
    """Writes down which trades stand broken on purpose: (scene, kind of break, expected outcome)."""
    rows = [
        {
            "TRD_ID": scene.trd_id,
            "TRD_NUM": scene.trade_no,
            "KIND": kind,
            "EXPECTED": expected,
            "PAID_UNDEBITED": int(scene.is_paid_undebited),
            "PLANTED_AT": production.clock(),
        }
        for scene, kind, expected in planted
    ]
    with writing(production.engine) as connection:
        for batch in _batches(rows):
            connection.execute(insert(production.tables.planted), batch)


def _batches(rows: Sequence[Row]) -> Iterable[Sequence[Row]]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
