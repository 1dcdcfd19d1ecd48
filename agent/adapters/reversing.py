"""Taking an entry back by a compensating one, inside a transaction that the caller holds.

As in posting.py, the row of the voucher sequence is taken first: reversals stand in line with postings.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from agent.adapters.entries import SLOTS, Entry, Shares, reversals_among, standing_among
from agent.adapters.names import LedgerNames
from agent.adapters.posting import Poster, voucher_number
from agent.adapters.rows import number, plain_amount
from agent.adapters.tables import LedgerTables
from agent.errors import (
    EntriesChangedError,
    EntryReversedError,
    EntryStandsError,
    LedgerRejectedError,
    PortError,
)
from agent.records import Reversal
from agent.standstill import EFFECT_WITHIN, require_within


class Reverser:
    """Reverses in the tables of a ledger. ``now`` is the database's clock in SQL."""

    def __init__(
        self, names: LedgerNames, tables: LedgerTables, poster: Poster, now: ColumnElement[datetime]
    ) -> None:
        self._names = names
        self._tables = tables
        self._poster = poster
        self._now = now

    def reverse(self, connection: Connection, reversal: Reversal) -> str:
        """The voucher number of the compensating entry, new or the one that the key was given before.

        Raises LedgerRejectedError and its kin, EntryStandsError, EntriesChangedError, StoodStillError: the
        transaction is then to be rolled back.
        """
        value, at = self._poster.next_value(connection)
        known = self._known(connection, reversal)
        if known is not None:
            return known
        require_within(EFFECT_WITHIN, reversal.intended_at, at)
        original = self._original(connection, reversal)
        if reversal.is_question:
            raise EntryStandsError
        self._require_as_seen(connection, reversal)
        voucher_no = voucher_number(value, at)
        lines = self._lines(connection, reversal.voucher_no)
        self._insert(connection, reversal, original, voucher_no)
        self._poster.write_lines(connection, voucher_no, lines)
        self._free(connection, reversal, number(original.LEG), voucher_no)
        self._poster.move(connection, lines)
        return voucher_no

    def _known(self, connection: Connection, reversal: Reversal) -> str | None:
        entry = self._tables.entry
        held = connection.execute(select(entry).where(entry.c["IDEM_KEY"] == reversal.key)).first()
        if held is None:
            return None
        stored = (number(held.IDEM_KEY), number(held.TRD_NUM), number(held.REVERSES))
        if stored != (reversal.key, reversal.trade_no, reversal.voucher_no):
            raise LedgerRejectedError(f"{reversal.key} was used for another entry, {held.VOUCHER_NO}")
        return number(held.VOUCHER_NO)

    def _original(self, connection: Connection, reversal: Reversal) -> Row[Any]:
        entry = self._tables.entry
        found = connection.execute(select(entry).where(entry.c["VOUCHER_NO"] == reversal.voucher_no)).first()
        if found is None or number(found.TRD_NUM) != reversal.trade_no:
            raise LedgerRejectedError(f"{reversal.trade_no} has no entry {reversal.voucher_no}")
        if found.REVERSES is not None or number(found.KIND) == self._names.reversal:
            raise LedgerRejectedError(f"{reversal.voucher_no} is itself a reversal")
        if found.REVERSED_BY is not None:
            by = number(found.REVERSED_BY)
            raise EntryReversedError(f"{reversal.voucher_no} is reversed already by {by}")
        return found

    def _require_as_seen(self, connection: Connection, reversal: Reversal) -> None:
        """Asked behind the lock of the sequence, which each posting takes.

        Raises EntriesChangedError where another entry stands than was seen, or one takes this one back which
        is not marked so: by hand, since the last look.
        """
        entries = self._of_trade(connection, reversal.trade_no)
        standing = {each.voucher_no: each for each in standing_among(self._names, entries)}
        if reversal.standing is not None and not standing.keys() <= reversal.standing:
            raise EntriesChangedError
        mine = standing.get(reversal.voucher_no)
        if mine is None or reversals_among(self._names, entries).of(mine) is not None:
            raise EntriesChangedError

    def _of_trade(self, connection: Connection, trade_no: str) -> list[Entry]:
        """Every entry of a trade, without its postings."""
        entry = self._tables.entry
        return [
            Entry(
                voucher_no=number(row.VOUCHER_NO),
                leg=number(row.LEG),
                kind=number(row.KIND),
                amount=row.AMOUNT,
                currency=number(row.CURRENCY),
                postings=None,
                reverses=number(row.REVERSES),
                reversed_by=number(row.REVERSED_BY),
            )
            for row in connection.execute(select(entry).where(entry.c["TRD_NUM"] == trade_no))
        ]

    def _lines(self, connection: Connection, voucher_no: str) -> Shares:
        """The postings that undo those of an entry; they sum to zero as those do."""
        cells = self._tables.posting.c
        mine = select(cells["ACC_NO"], cells["AMOUNT"]).where(cells["VOUCHER_NO"] == voucher_no)
        undone: list[tuple[str, int]] = []
        for line in connection.execute(mine):
            minor = plain_amount(line[1])
            if not isinstance(minor, int):
                raise LedgerRejectedError(f"a posting of {voucher_no} has no amount in fen")
            undone.append((number(line[0]), -minor))
        if not undone or sum(minor for _, minor in undone) != 0:
            raise LedgerRejectedError(f"the postings of {voucher_no} are not a balanced entry")
        return tuple(undone)

    def _insert(
        self, connection: Connection, reversal: Reversal, original: Row[Any], voucher_no: str
    ) -> None:
        connection.execute(
            insert(self._tables.entry).values(
                VOUCHER_NO=voucher_no,
                TRD_NUM=reversal.trade_no,
                LEG=number(original.LEG),
                KIND=self._names.reversal,
                AMOUNT=original.AMOUNT,
                CURRENCY=number(original.CURRENCY),
                IDEM_KEY=reversal.key,
                REVERSES=reversal.voucher_no,
                POSTED_BY=self._names.posted_by,
                POSTED_AT=self._now,
            )
        )

    def _free(self, connection: Connection, reversal: Reversal, leg: str, voucher_no: str) -> None:
        """Mark the entry reversed and its legs free. Compared again: a lock may not be kept by a database."""
        entry, legs = self._tables.entry, self._tables.entry_leg
        reversed_no = reversal.voucher_no
        marked = update(entry).where(entry.c["VOUCHER_NO"] == reversed_no, entry.c["REVERSED_BY"].is_(None))
        freed = update(legs).where(legs.c["VOUCHER_NO"] == reversed_no, legs.c["LIVE"] == 1)
        if connection.execute(marked.values(REVERSED_BY=voucher_no)).rowcount != 1:
            raise EntryReversedError(f"{reversed_no} was reversed meanwhile")
        if connection.execute(freed.values(LIVE=None)).rowcount != len(SLOTS.get(leg, ())):
            raise PortError(f"the legs of {reversed_no} are not held as its entry says")
