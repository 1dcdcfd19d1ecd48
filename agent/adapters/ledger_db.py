"""A double-entry ledger over SQL."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from agent.adapters.asked import AmongTexts
from agent.adapters.check import describe
from agent.adapters.engine import ConstraintError, clock, open_engine, read, read_within, write
from agent.adapters.entries import Entry, leg_facts, net
from agent.adapters.names import LedgerNames
from agent.adapters.posting import Poster
from agent.adapters.reversing import Reverser
from agent.adapters.rows import MOST_ASKED, in_batches, moment, number, plain_amount
from agent.adapters.tables import LedgerTables
from agent.errors import LedgerRejectedError, PortError
from agent.facts import Kind, LegFact, LegState
from agent.records import Posting, Reversal, Trade

_TOLD: Final = (
    *("TRD_NUM", "VOUCHER_NO", "LEG", "KIND", "AMOUNT", "CURRENCY"),
    *("REVERSES", "REVERSED_BY", "POSTED_BY"),
)
"""Columns of an entry that tell what it says of its trade."""


class SqlLedger:
    """LedgerPort on SQLite, PostgreSQL or MariaDB. Shared by threads; connects at the first call."""

    def __init__(self, url: str, names: LedgerNames | None = None, *, is_alone: bool = False) -> None:
        self._names = names or LedgerNames()
        self._engine = open_engine(url, self._names.isolation, is_alone=is_alone)
        self._tables = LedgerTables(self._names)
        self._now = clock(self._engine)
        is_told = self._engine.dialect.update_returning
        self._poster = Poster(self._names, self._tables, self._now, is_told=is_told)
        self._reverser = Reverser(self._names, self._tables, self._poster, self._now)
        cells, line = self._tables.entry.c, self._tables.posting.c
        told = select(*(cells[name] for name in _TOLD))
        self._of_trades = AmongTexts(cells["TRD_NUM"], told.where)
        # Not joined: two columns of production's may sort otherwise, and a database then refuses to compare.
        lines = select(line["VOUCHER_NO"], line["ACC_NO"], line["AMOUNT"])
        self._lines = AmongTexts(line["VOUCHER_NO"], lines.where)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def check(self) -> str:
        """Tables, columns, keys, house accounts and clock, read-only. PortError names what is missing."""
        tables, names = self._tables, self._names
        expected, amounts, keys = tables.expected, tables.amounts, tables.keys
        found = describe(self._engine, names.schema, expected, names.entry, self.now, amounts, keys)
        cells, house = tables.account.c, {names.clearing_account, names.bank_account}
        rows = read(
            self._engine, "read the accounts", select(cells["ACC_NO"]).where(cells["ACC_NO"].in_(house))
        )
        missing = sorted(house - {number(row[0]) for row in rows})
        if missing:
            raise PortError(f"missing: account {', '.join(missing)}")
        return found

    def now(self) -> datetime:
        """The ledger's own clock, aware UTC."""
        at = moment(read(self._engine, "read the clock", select(self._now.label("now")))[0][0])
        if at is None:
            raise PortError("the ledger's clock cannot be read")
        return at

    def legs(self, trades: Sequence[Trade]) -> Mapping[str, tuple[LegFact, LegFact | None]]:
        """Both legs of each trade by number; a batch that cannot be read is UNKNOWN."""
        found: dict[str, tuple[LegFact, LegFact | None]] = {}
        for batch in in_batches(trades, MOST_ASKED):
            try:
                entries = self._entries([trade.trade_no for trade in batch])
            except PortError as error:
                unread = LegFact(LegState.UNKNOWN, detail=str(error))
                for trade in batch:
                    found[trade.trade_no] = (unread, None if trade.kind is Kind.RECHARGE else unread)
                continue
            for trade in batch:
                found[trade.trade_no] = leg_facts(self._names, trade, entries.get(trade.trade_no, []))
        return found

    def post(self, posting: Posting) -> str:
        """Post one balanced entry and return its voucher number; the same key returns the same number."""
        try:
            return write(self._engine, "post to the ledger", lambda c: self._poster.post(c, posting))
        except ConstraintError as error:
            raise LedgerRejectedError(str(error)) from error

    def reverse_entry(self, reversal: Reversal) -> str:
        """Post the entry that takes another one back; the same key returns the same number."""
        try:
            return write(self._engine, "reverse in the ledger", lambda c: self._reverser.reverse(c, reversal))
        except ConstraintError as error:
            raise LedgerRejectedError(str(error)) from error

    def _entries(self, trade_nos: Sequence[str]) -> Mapping[str, list[Entry]]:
        """Every entry of each trade, with the postings of those that stand, as of one moment."""

        def look(connection: Connection) -> Mapping[str, list[Entry]]:
            rows = self._of_trades.rows(connection, trade_nos)
            standing = [number(row[1]) for row in rows if row.REVERSED_BY is None]
            postings: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
            for vouchers in in_batches(standing, MOST_ASKED):
                for line in self._lines.rows(connection, vouchers):
                    # An account that is missing is no account: such an entry fits no trade.
                    account = None if line[1] is None else number(line[1])
                    postings[number(line[0])].append((account, plain_amount(line[2])))
            return _by_trade(rows, postings)

        return read_within(self._engine, "read the ledger", look)


def _by_trade(
    rows: Sequence[Row[*tuple[Any, ...]]], postings: Mapping[str, list[tuple[Any, Any]]]
) -> Mapping[str, list[Entry]]:
    by_trade: dict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        trade_no, voucher_no, leg, kind, amount, currency = row[:6]
        lines = postings.get(number(voucher_no), [])
        readable = all(account is not None and isinstance(minor, int) for account, minor in lines)
        entry = Entry(
            voucher_no=number(voucher_no),
            leg=number(leg),
            kind=number(kind),
            amount=plain_amount(amount),
            currency=number(currency),
            postings=net(lines) if readable else None,
            reverses=number(row.REVERSES),
            reversed_by=number(row.REVERSED_BY),
            posted_by=number(row.POSTED_BY),
        )
        by_trade[number(trade_no)].append(entry)
    return by_trade
