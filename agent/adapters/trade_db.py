"""A trade database over SQL: reads in short transactions, writes that lock first and then read."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime

from sqlalchemy import Connection, select

from agent.adapters.asked import given, plain_asked, text_asked
from agent.adapters.begun import begun_since
from agent.adapters.check import describe
from agent.adapters.engine import clock, open_engine, read, read_within, write
from agent.adapters.holding import Holding
from agent.adapters.names import TradeNames
from agent.adapters.repairs import Repairs
from agent.adapters.requests import Requests
from agent.adapters.rows import MOST_ASKED, TradeReader, in_batches, moment
from agent.adapters.scan import Scan
from agent.adapters.setting import RowSetter
from agent.adapters.tables import TradeTables
from agent.errors import PortError, RowChangedError
from agent.records import (
    MOST_TWINS,
    BankRequest,
    Begun,
    Correction,
    Opened,
    Pattern,
    RepairRow,
    StepRow,
    Trade,
    Window,
)
from agent.standstill import EFFECT_WITHIN, FACTS_HOLD, TOLD_WITHIN, require_within


class SqlTrades:
    """TradePort on SQLite, PostgreSQL or MariaDB. Shared by threads, unless one ``is_alone`` in its process;
    connects at the first call.
    """

    def __init__(self, url: str, names: TradeNames | None = None, *, is_alone: bool = False) -> None:
        self._names = names or TradeNames()
        self._engine = open_engine(url, self._names.isolation, is_alone=is_alone)
        self._tables = TradeTables(self._names)
        dialect = self._engine.dialect
        self._now = clock(self._engine)
        self._read_trade = TradeReader(self._names.codes)
        self._holding = Holding(self._tables.repair, self._now, is_told=dialect.update_returning)
        self._repairs = Repairs(self._tables, self._now, self._holding, self._rows_of, dialect.name)
        self._setter = RowSetter(self._names, self._tables, self._now)
        cells, columns = self._tables.trade.c, self._names.columns
        number, identity = cells[columns.trade_no], cells[columns.trade_id]
        rows = select(*self._tables.stored, self._now.label("read_at"))
        numbered = rows.where(number == text_asked("trade_no")).order_by(identity)
        self._select_numbered = numbered.limit(MOST_TWINS)
        self._select_one = rows.where(identity == plain_asked("trade_id"))
        self._scan = Scan(self._engine, self._names, self._tables, self._read_trade, rows, self.now)
        self._lock_one = self._select_one.with_for_update()
        self._select_now = select(self._now.label("now"))
        self._requests = Requests(self._tables, self._names, self._now)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def check(self) -> str:
        """Tables, columns, keys and clock, read-only. Raises PortError that names what is missing."""
        tables, names = self._tables, self._names
        expected, amounts, keys = tables.expected, tables.amounts, tables.keys
        return describe(
            self._engine, names.schema, expected, names.table, self.now, amounts, keys, tables.versions
        )

    def now(self) -> datetime:
        """Production's clock, aware UTC."""
        found = read(self._engine, "read the clock", self._select_now)
        at = moment(found[0][0])
        if at is None:
            raise PortError("the database's clock cannot be read")
        return at

    # ---- rows

    def find(self, trade_no: str) -> list[Trade]:
        """Rows with this number, MOST_TWINS at most.

        Where case is ignored look-alikes may come too; alone they do not match.
        """
        rows = read(self._engine, "read the trade table", self._select_numbered, given(trade_no=trade_no))
        found = [self._read_trade(row) for row in rows]
        return found if any(trade.trade_no == trade_no for trade in found) else []

    def suspects(self, patterns: Sequence[Pattern], window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows that match a pattern or make no sense, ascending id; then those of no window."""
        return self._scan.suspects(patterns, window, page)

    def duplicates(self, window: Window, page: int) -> Iterator[list[Trade]]:
        """Pages of rows of the window whose number another row has too, ascending id."""
        return self._scan.duplicates(window, page)

    def stepped(
        self, steps: Sequence[str], since: datetime, window: Window, page: int
    ) -> Iterator[list[Trade]]:
        """Pages of the shard's trades of which a repair of ours took one of the steps."""
        return self._scan.stepped(steps, since, window, page)

    def count(self, window: Window) -> int:
        """Rows of the window, divided by its shards."""
        return self._scan.count(window)

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

        Raises FencedError, RowChangedError, RequestsChangedError, NumberTakenError, StoodStillError: nothing
        was written; PortError, also where its place is taken.
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

    def claim_repair(
        self, claim: RepairRow, over: str | None = None, trade: Trade | None = None
    ) -> RepairRow:
        """Begin a repair or take an open one over. Raises FencedError, RowChangedError."""

        def begin(connection: Connection) -> RepairRow:
            claimed = self._repairs.claim(connection, claim, over)
            if trade is not None:
                self._repairs.require_as_seen(connection, trade)
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

    def close_repair(
        self, claim: RepairRow, state: str, *steps: StepRow, looked_at: datetime | None = None
    ) -> None:
        """Set the repair done or abandoned, its last steps with it.

        Raises FencedError, StoodStillError: nothing was written.
        """

        def close(connection: Connection) -> None:
            at = self._repairs.close(connection, claim, state, steps)
            if looked_at is not None:
                require_within(TOLD_WITHIN, looked_at, at)

        write(self._engine, "close the repair", close)

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

    def _rows_of(self, connection: Connection, trade_no: str) -> list[Trade]:
        found = connection.execute(self._select_numbered, given(trade_no=trade_no))
        return [self._read_trade(row) for row in found]

    def _locked(self, connection: Connection, trade: Trade) -> dict[str, object]:
        """Lock the trade row and return every column read, as stored. Raises RowChangedError."""
        row = connection.execute(self._lock_one, given(trade_id=trade.trade_id)).first()
        if row is None or self._read_trade(row).row_hash != trade.row_hash:
            raise RowChangedError(f"the row of {trade.trade_no} is no longer what was read")
        return dict(zip((cell.name for cell in self._tables.stored), row[:-1], strict=True))
