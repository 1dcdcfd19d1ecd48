"""Reading a trade table for a collection: by keyset, each statement a short transaction of its own."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import DateTime, Engine, and_, func, literal, select
from sqlalchemy.sql import ColumnElement, Select

from agent.adapters.asked import given, texts_asked
from agent.adapters.engine import read, read_within
from agent.adapters.names import TradeNames
from agent.adapters.narrow import Narrow
from agent.adapters.rows import MOST_ASKED, TradeReader, in_batches, naive
from agent.adapters.stepped import stepped_since
from agent.adapters.tables import TradeTables, unindexed
from agent.records import Pattern, Trade, Window

SLICE: Final = 10_000
"""Ids, or rows, that one statement looks at."""
DENSE: Final = 8
"""A window whose ids are at least 1 in 8 of their span is read along the primary key."""


class Scan:
    """Pages of a window's rows. Raises PortError.

    ``rows``: a statement that reads whole trade rows; ``now``: production's clock.
    """

    def __init__(
        self,
        engine: Engine,
        names: TradeNames,
        tables: TradeTables,
        read_trade: TradeReader,
        rows: Select[*tuple[Any, ...]],
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._names = names
        self._tables = tables
        self._read_trade = read_trade
        self._rows = rows
        self._now = now
        self._narrow = Narrow(names, tables, engine.dialect.name)
        cells, columns = tables.trade.c, names.columns
        self._id, self._no = cells[columns.trade_id], cells[columns.trade_no]
        self._changed_at = cells[columns.changed_at]
        self._select_many = rows.where(self._no.in_(texts_asked("trade_nos"))).order_by(self._id)

    def suspects(self, patterns: Sequence[Pattern], window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows that match a pattern or make no sense, ascending id; then those of no window."""
        for trades in self._pages(self._narrow.clause(patterns), window, page):
            wanted = [trade for trade in trades if self._narrow.wants(trade, patterns)]
            if wanted:
                yield wanted
        yield from self._undated(window, page)

    def duplicates(self, window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows of the window whose number another row has too, ascending id."""
        other = self._tables.trade.alias("other")
        columns = self._names.columns
        is_shared = (
            select(literal(1))
            .select_from(other)
            .where(other.c[columns.trade_no] == self._no, other.c[columns.trade_id] != self._id)
            .exists()
        )
        yield from self._pages(is_shared, window, page)

    def count(self, window: Window) -> int:
        """Rows of the window, divided by its shards."""
        return self._span(window)[2] // window.shards

    def stepped(
        self, steps: Sequence[str], since: datetime, window: Window, page: int
    ) -> Iterator[list[Trade]]:
        """Pages of the shard's trades of which a repair of ours took one of the steps."""
        at, after = naive(since), ""
        while True:
            numbers = self._stepped_page(steps, at, after, page)
            if found := self._numbered(numbers, window):
                yield found
            if len(numbers) < page:
                return
            after = numbers[-1]

    # ---- inside

    def _stepped_page(self, steps: Sequence[str], since: datetime, after: str, page: int) -> list[str]:
        tables = self._tables
        return read_within(
            self._engine, "read the repairs", lambda c: stepped_since(c, tables, steps, since, after, page)
        )

    def _numbered(self, trade_nos: Sequence[str], window: Window) -> list[Trade]:
        """The shard's rows with exactly these numbers, where the database ignores case too."""
        statement = self._select_many.where(self._in_shard(window))
        rows = [
            row
            for asked in in_batches(trade_nos, MOST_ASKED)
            for row in read(self._engine, "read the trade table", statement, given(trade_nos=asked))
        ]
        wanted = set(trade_nos)
        return [trade for trade in map(self._read_trade, rows) if trade.trade_no in wanted]

    def _pages(self, wanted: ColumnElement[bool], window: Window, page: int) -> Iterator[list[Trade]]:
        """The wanted rows of the window's shard, ascending id, each statement a transaction of its own.

        The time range is first resolved to ids. Where it fills them well, the primary key is walked a slice
        at a time and the planner kept off the index of change times; else the planner chooses, and is asked
        for more rows at once, because every statement may cost it the whole window.
        """
        first, last, rows = self._span(window)
        if not rows:
            return
        is_dense = isinstance(first, int) and isinstance(last, int) and last - first < DENSE * rows
        conditions = [self._in_window(window, is_indexed=not is_dense), self._in_shard(window), wanted]
        statement = self._rows.where(*conditions).order_by(self._id)
        for start in range(first, last + 1, SLICE) if is_dense else (first,):
            end = min(start + SLICE - 1, last) if is_dense else last
            yield from self._keyset(statement, start, end, page, page if is_dense else max(page, SLICE))

    def _undated(self, window: Window, page: int) -> Iterator[list[Trade]]:
        """Rows of the shard, outside the window, whose time of change lies in none a person would ask for.

        They are few: the planner is kept off the ids.
        """
        identity = unindexed(self._id)
        for is_undated in self._narrow.undated(self._now()):
            statement = self._rows.where(is_undated, self._in_shard(window)).order_by(identity)
            for trades in self._follow(statement, identity, None, page, max(page, SLICE)):
                if outside := [trade for trade in trades if not window.holds(trade.changed_at)]:
                    yield outside

    def _keyset(
        self, statement: Select[*tuple[Any, ...]], start: Any, end: Any, page: int, at_once: int
    ) -> Iterator[list[Trade]]:
        """Rows with ids from ``start`` to ``end`` in pages, ``at_once`` rows a statement."""
        statement = statement.where(self._id <= end)
        yield from self._follow(statement, self._id, self._id >= start, page, at_once)

    def _follow(
        self,
        statement: Select[*tuple[Any, ...]],
        identity: ColumnElement[Any],
        begins: ColumnElement[bool] | None,
        page: int,
        at_once: int,
    ) -> Iterator[list[Trade]]:
        """Rows of a statement ordered by ``identity``; each next statement begins behind the last row."""
        while True:
            limited = (statement if begins is None else statement.where(begins)).limit(at_once)
            found = read(self._engine, "read the trade table", limited)
            for rows in in_batches(found, page):
                yield [self._read_trade(row) for row in rows]
            if len(found) < at_once:
                return
            begins = identity > found[-1][0]

    def _span(self, window: Window) -> tuple[Any, Any, int]:
        """(lowest id, highest id, rows) of the window over all shards, from the index of change times."""
        statement = select(func.min(self._id), func.max(self._id), func.count())
        statement = statement.select_from(self._tables.trade).where(self._in_window(window))
        found = tuple(read(self._engine, "count the window", statement)[0])
        return found[0], found[1], int(found[2])

    def _in_window(self, window: Window, *, is_indexed: bool = True) -> ColumnElement[bool]:
        changed_at = self._changed_at if is_indexed else unindexed(self._changed_at)
        start, end = (literal(naive(at), DateTime()) for at in (window.start, window.end))
        return and_(changed_at >= start, changed_at < end)

    def _in_shard(self, window: Window) -> ColumnElement[bool]:
        if window.shards == 1:
            return literal(1) == literal(1)
        # Twice, because the remainder of a negative id is negative.
        return ((self._id % window.shards) + window.shards) % window.shards == window.shard
