"""The ledger: every posting is one short transaction, balanced, idempotent by key, never edited.

Each posting takes the row of the voucher sequence first, so postings of one ledger are in line
behind each other, and everything read afterwards is fresh.
"""

# ruff: noqa: SIM300 - it takes upper-case columns for constants

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from sandbox.clock import Clock, utc_now
from sandbox.database import reading, writing
from sandbox.errors import (
    InsufficientBalanceError,
    KeyReusedError,
    LedgerError,
    LegTakenError,
    UnknownAccountError,
)
from sandbox.schema import LedgerTables, ledger_tables

CURRENCY = "CNY"
CLEARING = "CLEARING"
BANK = "BANK"
FIRST_SEQUENCE_VALUE = 100_000

# Signed shares of the amount, by (kind, leg): docs/production-interface.md §2.
_SHARES: Mapping[tuple[str, str], tuple[tuple[str, int], ...]] = {
    ("recharge", "1"): (("customer", 1), (BANK, -1)),
    ("withdraw", "both"): (("customer", -1), (CLEARING, 1), (CLEARING, -1), (BANK, 1)),
    ("withdraw", "1"): (("customer", -1), (CLEARING, 1)),
    ("withdraw", "2"): ((CLEARING, -1), (BANK, 1)),
}


@dataclass(frozen=True)
class PostingOrder:
    """What to post: ``kind`` recharge or withdraw, ``leg`` 1, 2 or both, a positive amount in fen."""

    trade_no: str
    kind: str
    leg: str
    amount_minor: int
    account_no: str
    idem_key: str
    posted_by: str
    currency: str = CURRENCY


def shares_of(kind: str, leg: str, account_no: str, amount_minor: int) -> list[tuple[str, int]]:
    """(account, signed fen) of an entry; they sum to zero. Raises LedgerError for no such posting."""
    shares = _SHARES.get((kind, leg))
    if shares is None:
        raise LedgerError(f"no posting of kind {kind!r} has a leg {leg!r}")
    return [(account_no if who == "customer" else who, sign * amount_minor) for who, sign in shares]


def slots_of(leg: str) -> tuple[str, ...]:
    """The legs an entry occupies: ``both`` holds 1 and 2."""
    return ("1", "2") if leg == "both" else (leg,)


def voucher_number(value: int, at: datetime) -> str:
    """``GA`` + UTC second + last six digits of the sequence."""
    return f"GA{at:%y%m%d%H%M%S}{value % 1_000_000:06d}"


class Ledger:
    """The books of one system group."""

    def __init__(self, engine: Engine, clock: Clock = utc_now) -> None:
        self.engine = engine
        self.clock = clock
        self.tables: LedgerTables = ledger_tables()

    def create(self) -> None:
        """Tables, the voucher sequence and the two house accounts; what exists is left alone."""
        self.tables.metadata.create_all(self.engine)
        with writing(self.engine) as connection:
            sequence = self.tables.voucher_sequence
            if connection.execute(select(sequence.c.ID)).first() is None:
                connection.execute(insert(sequence).values(ID=1, LAST_VALUE=FIRST_SEQUENCE_VALUE))
            for account_no, kind in ((CLEARING, "clearing"), (BANK, "bank")):
                if self._account(connection, account_no) is None:
                    self._insert_account(connection, account_no, kind)

    def open_account(self, account_no: str, opening_minor: int = 0) -> None:
        """A customer's account; the opening balance is an entry like any other, with kind ``opening``."""
        with writing(self.engine) as connection:
            self._insert_account(connection, account_no, "customer")
            if opening_minor:
                shares = [(account_no, opening_minor), (BANK, -opening_minor)]
                self._insert_entry(connection, opening_order(account_no, opening_minor), shares)

    def balance(self, account_no: str) -> int:
        """Fen. Raises UnknownAccountError."""
        with reading(self.engine) as connection:
            account = self._account(connection, account_no)
        if account is None:
            raise UnknownAccountError(f"no account {account_no}")
        return int(account["BALANCE"])

    def post(self, order: PostingOrder) -> str:
        """The voucher number; the one given before when the key is known.

        Raises KeyReusedError, UnknownAccountError, LegTakenError, InsufficientBalanceError; then
        nothing is stored.
        """
        shares = shares_of(order.kind, order.leg, order.account_no, order.amount_minor)
        if order.amount_minor <= 0:
            raise LedgerError(f"an amount is positive, not {order.amount_minor}")
        try:
            with writing(self.engine) as connection:
                value = self._next_value(connection)
                known = self._by_key(connection, order)
                if known is not None:
                    return known
                self._check_customer(connection, order)
                self._check_slots_free(connection, order)
                return self._insert_entry(connection, order, shares, value)
        except IntegrityError as error:
            # Another writer that does not take the sequence first can still come between.
            raise LegTakenError(f"{order.trade_no} leg {order.leg}: refused by the database") from error

    def reverse(self, voucher_no: str, idem_key: str, posted_by: str) -> str:
        """A compensating entry's number; frees the legs. The same key again returns the same number.

        Raises LedgerError when there is no such entry or it is already reversed.
        """
        with writing(self.engine) as connection:
            value = self._next_value(connection)
            entry, legs = self.tables.entry, self.tables.entry_leg
            original = (
                connection.execute(select(entry).where(entry.c.VOUCHER_NO == voucher_no)).mappings().first()
            )
            if original is None:
                raise LedgerError(f"no entry {voucher_no}")
            again = select(entry.c.REVERSES, entry.c.VOUCHER_NO).where(entry.c.IDEM_KEY == idem_key)
            known = connection.execute(again).first()
            if known is not None and known.REVERSES == voucher_no:
                return str(known.VOUCHER_NO)
            if known is not None:
                raise KeyReusedError(f"{idem_key} belongs to another entry")
            if original["REVERSED_BY"] is not None or original["REVERSES"] is not None:
                raise LedgerError(f"{voucher_no} is reversed already, or is itself a reversal")
            number = self._insert_reversal(connection, original, idem_key, posted_by, value)
            taken = entry.c.VOUCHER_NO == voucher_no
            connection.execute(update(entry).where(taken).values(REVERSED_BY=number))
            connection.execute(update(legs).where(legs.c.VOUCHER_NO == voucher_no).values(LIVE=None))
            return number

    def reserve_values(self, connection: Connection, count: int) -> int:
        """The first of ``count`` consecutive sequence values that nobody else will get."""
        return self._next_value(connection, count) - count + 1

    def _next_value(self, connection: Connection, count: int = 1) -> int:
        sequence = self.tables.voucher_sequence
        connection.execute(update(sequence).values(LAST_VALUE=sequence.c.LAST_VALUE + count))
        return int(connection.execute(select(sequence.c.LAST_VALUE)).scalar_one())

    def _account(self, connection: Connection, account_no: str) -> RowMapping | None:
        account = self.tables.account
        return connection.execute(select(account).where(account.c.ACC_NO == account_no)).mappings().first()

    def _insert_account(self, connection: Connection, account_no: str, kind: str) -> None:
        values = {"ACC_NO": account_no, "KIND": kind, "BALANCE": 0, "CURRENCY": CURRENCY}
        connection.execute(insert(self.tables.account).values(values))

    def _by_key(self, connection: Connection, order: PostingOrder) -> str | None:
        entry, posting = self.tables.entry, self.tables.posting
        row = connection.execute(select(entry).where(entry.c.IDEM_KEY == order.idem_key)).mappings().first()
        if row is None:
            return None
        touched = select(posting.c.ACC_NO).where(posting.c.VOUCHER_NO == row["VOUCHER_NO"])
        accounts = set(connection.execute(touched).scalars())
        wanted = {name for name, _ in shares_of(order.kind, order.leg, order.account_no, 1)}
        same = (row["TRD_NUM"], row["KIND"], row["LEG"], row["AMOUNT"], row["CURRENCY"]) == (
            order.trade_no, order.kind, order.leg, order.amount_minor, order.currency,
        )  # fmt: skip
        if not same or accounts != wanted or row["REVERSED_BY"] is not None:
            raise KeyReusedError(
                f"{order.idem_key} belongs to {row['VOUCHER_NO']}, another posting or reversed"
            )
        return str(row["VOUCHER_NO"])

    def _check_customer(self, connection: Connection, order: PostingOrder) -> None:
        account = self._account(connection, order.account_no)
        if account is None or account["KIND"] != "customer" or account["CURRENCY"] != order.currency:
            raise UnknownAccountError(f"no customer account {order.account_no} in {order.currency}")

    def _check_slots_free(self, connection: Connection, order: PostingOrder) -> None:
        legs = self.tables.entry_leg
        taken = select(legs.c.VOUCHER_NO).where(
            legs.c.TRD_NUM == order.trade_no, legs.c.LEG.in_(slots_of(order.leg)), legs.c.LIVE == 1
        )
        voucher_no = connection.execute(taken).scalars().first()
        if voucher_no is not None:
            raise LegTakenError(f"{order.trade_no} leg {order.leg} is held by {voucher_no}")

    def _insert_entry(
        self,
        connection: Connection,
        order: PostingOrder,
        shares: list[tuple[str, int]],
        value: int | None = None,
    ) -> str:
        at = self.clock()
        number = voucher_number(self._next_value(connection) if value is None else value, at)
        connection.execute(insert(self.tables.entry).values(entry_row(order, number, at)))
        leg_rows = [
            {"VOUCHER_NO": number, "LEG": leg, "TRD_NUM": order.trade_no, "LIVE": 1}
            for leg in slots_of(order.leg)
        ]
        connection.execute(insert(self.tables.entry_leg), leg_rows)
        self._move(connection, number, shares)
        return number

    def _insert_reversal(
        self, connection: Connection, original: RowMapping, idem_key: str, posted_by: str, value: int
    ) -> str:
        at = self.clock()
        number = voucher_number(value, at)
        changed = {"VOUCHER_NO": number, "KIND": "reversal", "IDEM_KEY": idem_key, "POSTED_BY": posted_by}
        links = {"POSTED_AT": at, "REVERSES": original["VOUCHER_NO"], "REVERSED_BY": None}
        connection.execute(insert(self.tables.entry).values({**original, **changed, **links}))
        posting = self.tables.posting
        lines = select(posting.c.ACC_NO, posting.c.AMOUNT).where(
            posting.c.VOUCHER_NO == original["VOUCHER_NO"]
        )
        shares = [(line.ACC_NO, -line.AMOUNT) for line in connection.execute(lines).all()]
        self._move(connection, number, shares)
        return number

    def _move(self, connection: Connection, number: str, shares: list[tuple[str, int]]) -> None:
        account = self.tables.account
        lines = [{"VOUCHER_NO": number, "ACC_NO": name, "AMOUNT": amount} for name, amount in shares]
        connection.execute(insert(self.tables.posting), lines)
        for name, amount in shares:
            enough = (account.c.KIND != "customer") | (account.c.BALANCE + amount >= 0)
            change = update(account).where(account.c.ACC_NO == name, enough)
            if connection.execute(change.values(BALANCE=account.c.BALANCE + amount)).rowcount != 1:
                raise InsufficientBalanceError(f"account {name} does not hold {-amount} fen")


def opening_order(account_no: str, amount_minor: int) -> PostingOrder:
    """The entry of an opening balance: under a trade number that no trade has."""
    trade_no = f"OPENING-{account_no}"
    return PostingOrder(trade_no, "opening", "1", amount_minor, account_no, trade_no, "sandbox")


def entry_row(order: PostingOrder, voucher_no: str, at: datetime) -> dict[str, object]:
    """The row of gl_entry for a posting."""
    return {
        "VOUCHER_NO": voucher_no,
        "TRD_NUM": order.trade_no,
        "LEG": order.leg,
        "KIND": order.kind,
        "AMOUNT": order.amount_minor,
        "CURRENCY": order.currency,
        "IDEM_KEY": order.idem_key,
        "REVERSES": None,
        "REVERSED_BY": None,
        "POSTED_BY": order.posted_by,
        "POSTED_AT": at,
    }
