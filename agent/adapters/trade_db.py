"""A trade database over SQL: reads by keyset in short transactions, writes that lock first and then read."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, DateTime, and_, func, literal, select
from sqlalchemy.sql import ColumnElement, Select

from agent.adapters.asked import given, plain_asked, text_asked, texts_asked
from agent.adapters.begun import begun_since
from agent.adapters.check import describe
from agent.adapters.engine import clock, open_engine, read, read_within, write
from agent.adapters.holding import Holding
from agent.adapters.names import TradeNames
from agent.adapters.narrow import Narrow
from agent.adapters.repairs import Repairs
from agent.adapters.requests import Requests
from agent.adapters.rows import TradeReader, in_batches, moment, naive
from agent.adapters.setting import RowSetter
from agent.adapters.stepped import stepped_since
from agent.adapters.tables import TradeTables, unindexed
from agent.errors import PortError, RowChangedError
from agent.records import BankRequest, Begun, Correction, Opened, Pattern, RepairRow, StepRow, Trade, Window
from agent.standstill import EFFECT_WITHIN, FACTS_HOLD, require_within

MOST_ASKED: Final = 500
SLICE: Final = 10_000
"""Ids, or rows, that one statement looks at."""
DENSE: Final = 8
"""A window whose ids are at least 1 in 8 of their span is read along the primary key."""


class SqlTrades:
    """TradePort on SQLite, PostgreSQL or MariaDB. Shared by threads; connects at the first call."""

    def __init__(self, url: str, names: TradeNames | None = None) -> None:
        self._names = names or TradeNames()
        self._engine = open_engine(url, self._names.isolation)
        self._tables = TradeTables(self._names)
        dialect = self._engine.dialect
        self._now = clock(self._engine)
        self._narrow = Narrow(self._names, self._tables, dialect.name)
        self._read_trade = TradeReader(self._names.codes)
        self._holding = Holding(self._tables.repair, self._now, is_told=dialect.update_returning)
        self._repairs = Repairs(self._tables, self._now, self._holding, self._rows_of, dialect.name)
        self._setter = RowSetter(self._names, self._tables, self._now)
        cells, columns = self._tables.trade.c, self._names.columns
        self._id, self._no = cells[columns.trade_id], cells[columns.trade_no]
        self._changed_at = cells[columns.changed_at]
        of_number, of_id = self._no == text_asked("trade_no"), self._id == plain_asked("trade_id")
        self._select_numbered = self._select().where(of_number).order_by(self._id)
        of_numbers = self._no.in_(texts_asked("trade_nos"))
        self._select_many = self._select().where(of_numbers).order_by(self._id)
        self._select_one = self._select().where(of_id)
        self._lock_one = self._select_one.with_for_update()
        self._select_now = select(self._now.label("now"))
        self._requests = Requests(self._tables, self._names, self._now)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def check(self) -> str:
        """Tables, columns and clock, read-only. Raises PortError that names what is missing."""
        tables, names = self._tables, self._names
        expected, amounts, kept = tables.expected, tables.amounts, tables.versions
        return describe(self._engine, names.schema, expected, names.table, self.now, amounts, kept)

    def now(self) -> datetime:
        """Production's clock, aware UTC."""
        found = read(self._engine, "read the clock", self._select_now)
        at = moment(found[0][0])
        if at is None:
            raise PortError("the database's clock cannot be read")
        return at

    # ---- rows

    def find(self, trade_no: str) -> list[Trade]:
        """Rows with this number. Where case is ignored look-alikes may come too; alone they do not match."""
        rows = read(self._engine, "read the trade table", self._select_numbered, given(trade_no=trade_no))
        found = [self._read_trade(row) for row in rows]
        return found if any(trade.trade_no == trade_no for trade in found) else []

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

    # ---- bank requests

    def bank_requests(self, trade_nos: Sequence[str]) -> Mapping[str, list[BankRequest]]:
        """Every bank request of each trade, by seq."""
        by_trade: dict[str, list[BankRequest]] = {}
        for asked in in_batches(list(dict.fromkeys(trade_nos)), MOST_ASKED):
            for request in self._asked_for(asked):
                by_trade.setdefault(request.trade_no, []).append(request)
        return by_trade

    def payout_numbers(self, trade_no: str) -> Set[str]:
        """The numbers that payout steps of the trade name, of whichever round."""
        return read_within(
            self._engine, "read the payouts", lambda c: self._requests.written_down(c, trade_no)
        )

    def open_bank_request(
        self,
        claim: RepairRow,
        request: BankRequest,
        step: StepRow,
        seen: Set[str],
        trade: Trade | None = None,
    ) -> Opened:
        """Write a request's line and its step just before the bank is called.

        Raises FencedError, RowChangedError, RequestsChangedError, StoodStillError: nothing was written;
        PortError, also where its place is taken.
        """

        def open_it(connection: Connection) -> Opened:
            self._holding.hold(connection, claim)
            if trade is not None:
                self._repairs.require_as_seen(connection, trade)
            is_new = self._requests.open(connection, request, seen)
            at = self._holding.now(connection)
            require_within(EFFECT_WITHIN, claim.held_at, at)
            self._repairs.record_steps(connection, claim, (step,), at)
            return Opened(is_new, at)

        return write(self._engine, "open a bank request", open_it)

    def note_bank_request(self, claim: RepairRow, request_no: str, status: str) -> None:
        """Keep what the bank last said beside the request. Raises FencedError."""

        def note(connection: Connection) -> None:
            self._holding.hold(connection, claim)
            self._requests.note(connection, claim.trade_no, request_no, status)

        write(self._engine, "note a bank request", note)

    # ---- Piculus's own tables

    def find_repair(self, trade_no: str) -> RepairRow | None:
        """The newest repair of the trade with its steps, or None."""
        return read_within(self._engine, "read the repair", lambda c: self._repairs.find(c, trade_no))

    def begun_since(self, since: datetime, but: str) -> Begun:
        """The repairs begun since a time, by whichever agent, but for one trade's."""
        tables, columns = self._tables, self._names.columns
        return read_within(
            self._engine, "count the repairs", lambda c: begun_since(c, tables, columns, since, but)
        )

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

    def claim_repair(self, claim: RepairRow, over: str | None = None, seen: Trade | None = None) -> RepairRow:
        """Begin a repair or take an open one over. Raises FencedError, RowChangedError."""

        def begin(connection: Connection) -> RepairRow:
            claimed = self._repairs.claim(connection, claim, over)
            if seen is not None:
                self._repairs.require_as_seen(connection, seen)
            return claimed

        return write(self._engine, "claim the repair", begin)

    def renew_repair(self, claim: RepairRow) -> None:
        """Have an open repair count as begun now. Raises FencedError."""
        write(self._engine, "claim the repair", lambda c: self._repairs.renew(c, claim))

    def record_step(
        self,
        claim: RepairRow,
        *steps: StepRow,
        looked_at: datetime | None = None,
        seen: Set[str] | None = None,
        trade: Trade | None = None,
    ) -> datetime:
        """Write steps before or after their effect; return when.

        Raises FencedError, RowChangedError, RequestsChangedError, StoodStillError: nothing was written.
        """

        def record(connection: Connection) -> datetime:
            at = self._holding.hold_at(connection, claim)
            if trade is not None:
                self._repairs.require_as_seen(connection, trade)
            if seen is not None:
                self._requests.require_as_seen(connection, claim.trade_no, seen)
            if looked_at is not None:
                require_within(FACTS_HOLD, looked_at, at)
                require_within(FACTS_HOLD, claim.held_at, at)
            self._repairs.record_steps(connection, claim, steps, at)
            return at

        return write(self._engine, "record a step", record)

    def close_repair(self, claim: RepairRow, state: str, *steps: StepRow) -> None:
        """Set the repair done or abandoned, its last steps with it. Raises FencedError."""
        write(self._engine, "close the repair", lambda c: self._repairs.close(c, claim, state, steps))

    def write_row(self, claim: RepairRow, trade: Trade, correction: Correction, *steps: StepRow) -> Trade:
        """Correct the row by compare-and-set.

        Raises RowChangedError, FencedError, StoodStillError: nothing was written.
        """

        def correct(connection: Connection) -> Trade:
            self._holding.hold(connection, claim)
            before = self._locked(connection, trade)
            self._setter.compare_and_set(connection, before, correction)
            after = self._read_trade(
                connection.execute(self._select_one, given(trade_id=trade.trade_id)).one()
            )
            # Behind all that it may have had to wait for.
            require_within(EFFECT_WITHIN, claim.held_at, after.read_at)
            self._repairs.keep_old_row(connection, claim, before, trade, after.row)
            self._repairs.record_steps(connection, claim, steps, after.read_at)
            return after

        return write(self._engine, "write the trade row", correct)

    # ---- inside

    def _asked_for(self, trade_nos: Sequence[str]) -> list[BankRequest]:
        return read_within(
            self._engine, "read the bank requests", lambda c: self._requests.of_trades(c, trade_nos)
        )

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

    def _select(self) -> Select[*tuple[Any, ...]]:
        return select(*self._tables.stored, self._now.label("read_at"))

    def _rows_of(self, connection: Connection, trade_no: str) -> list[Trade]:
        found = connection.execute(self._select_numbered, given(trade_no=trade_no))
        return [self._read_trade(row) for row in found]

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
        statement = self._select().where(*conditions).order_by(self._id)
        for start in range(first, last + 1, SLICE) if is_dense else (first,):
            end = min(start + SLICE - 1, last) if is_dense else last
            yield from self._keyset(statement, start, end, page, page if is_dense else max(page, SLICE))

    def _undated(self, window: Window, page: int) -> Iterator[list[Trade]]:
        """Rows of the shard, outside the window, whose time of change lies in none a person would ask for.

        They are few: the planner is kept off the ids.
        """
        identity = unindexed(self._id)
        for is_undated in self._narrow.undated(self.now()):
            statement = self._select().where(is_undated, self._in_shard(window)).order_by(identity)
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

    def _locked(self, connection: Connection, trade: Trade) -> dict[str, object]:
        """Lock the trade row and return every column read, as stored. Raises RowChangedError."""
        row = connection.execute(self._lock_one, given(trade_id=trade.trade_id)).first()
        if row is None or self._read_trade(row).row_hash != trade.row_hash:
            raise RowChangedError(f"the row of {trade.trade_no} is no longer what was read")
        return dict(zip((cell.name for cell in self._tables.stored), row[:-1], strict=True))
