"""The sandbox for tests and scripts: one object that builds it, fills it, runs its bank and reads it.

    world = World(tmp_path)                     # or World(tmp_path, urls={"PBAP": GroupUrls(trade, ledger)})
    world.create()                              # schema of every group; World.created(tmp_path) does both
    case = world.load_case("S3")                # a LoadedCase: trade_no, amount_minor, account_no …
    world.load_case("S3", trade_no="WD1", trd_id=5, amount_minor=100, at=moment)
    world.load_cases()                          # all ten under their demo numbers
    world.load_healthy(100); world.load_broken(50)
    with world.bank() as bank:                  # RunningBank: bank.url, bank.token, bank.faults.set({...})
        ...
    world.row(case.trade_no)["TRD_STATUS"]      # the trade row by column name
    world.entries(no), world.payouts(no), world.receipts(no), world.requests(no), world.balance(account)
    world.trade_url("PBAP"), world.ledger_url("PBAP"), world.bank_token
    world.report().violations                   # the consistency report: sandbox/report.py
    world.clock                                 # World(clock=ManualClock(...)) closes bank days at will
    world.close()

Every reader takes ``group="PBAP"``. Nothing is running until ``bank()`` is entered. Loading needs no bank.
"""

# ruff: noqa: SIM300 - it takes upper-case columns for constants

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Table, select

from sandbox.bank.books import BankBooks
from sandbox.bank.days import BankCalendar
from sandbox.bank.records import PAYOUT, RECEIPT, BankRecord
from sandbox.bank.server import RunningBank, running_bank
from sandbox.broken import PlantedTrade, plant_broken
from sandbox.cases import LoadedCase, all_cases, case_scene, find_case, loaded_case
from sandbox.clock import Clock, utc_now
from sandbox.database import reading
from sandbox.healthy import plant_healthy
from sandbox.planting import note_planted, plant
from sandbox.production import Production, open_production
from sandbox.report import Report, consistency_report
from sandbox.scenes import Scene
from sandbox.settings import BANK_DAY_SECONDS, SYSTEM_GROUPS, GroupUrls, Settings, file_urls

Row = dict[str, Any]


class World:
    """A whole sandbox in one directory. ``urls`` replaces the SQLite files of the groups it names."""

    def __init__(
        self,
        directory: Path,
        *,
        groups: Sequence[str] = SYSTEM_GROUPS,
        urls: Mapping[str, GroupUrls] | None = None,
        clock: Clock = utc_now,
        day_seconds: int = BANK_DAY_SECONDS,
        bank_token: str = "sandbox-bank-token",
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.calendar = BankCalendar(day_seconds)
        self.bank_token = bank_token
        self.bank_path = directory / "bank.db"
        self.urls = {code: (urls or {}).get(code) or file_urls(directory, code) for code in groups}
        self._productions = {code: open_production(code, self.urls[code], clock) for code in groups}
        self._books: BankBooks | None = None

    @classmethod
    def created(cls, directory: Path, **options: Any) -> Self:
        """A world with its schema in place."""
        world = cls(directory, **options)
        world.create()
        return world

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The world the command line works on."""
        return cls(
            settings.directory,
            groups=tuple(settings.groups),
            urls=settings.groups,
            bank_token=settings.bank_token,
        )

    def create(self) -> None:
        """Every table that is not there yet."""
        for production in self._productions.values():
            production.create()
        self.books.complete_due()

    def close(self) -> None:
        for production in self._productions.values():
            production.close()
        if self._books is not None:
            self._books.close()
            self._books = None

    @property
    def books(self) -> BankBooks:
        """The bank's books, read directly: what the bank really holds, whatever it answers."""
        if self._books is None:
            self._books = BankBooks(self.bank_path, self.calendar, self.clock)
        return self._books

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(self._productions)

    def production(self, group: str = "PBAP") -> Production:
        return self._productions[group]

    def trade_url(self, group: str = "PBAP") -> str:
        return self.urls[group].trade

    def ledger_url(self, group: str = "PBAP") -> str:
        return self.urls[group].ledger

    def three_days_ago(self) -> datetime:
        """Three bank days before now: the day in which a scene of then ends is closed, and so is the next."""
        return self.clock() - 3 * self.calendar.length

    # Loading

    def load_case(
        self,
        case_id: str,
        *,
        trade_no: str | None = None,
        trd_id: int | None = None,
        amount_minor: int | None = None,
        voucher_no: str | None = None,
        at: datetime | None = None,
        group: str = "PBAP",
    ) -> LoadedCase:
        """Row, ledger and bank as the case has them; demo numbers and three bank days ago unless told.

        Give ``trade_no`` and ``trd_id`` together, or neither.
        """
        case = find_case(case_id)
        scene = case_scene(
            case,
            at or self.three_days_ago(),
            trade_no=trade_no,
            trd_id=trd_id,
            amount_minor=amount_minor,
            voucher_no=voucher_no,
        )
        vouchers = self.plant([scene], group)
        note_planted(self.production(group), [(scene, f"case {case_id}", f"repair:{case.fixer}")])
        return loaded_case(case, scene, vouchers.get((scene.trade_no, "1")))

    def load_cases(self, group: str = "PBAP") -> list[LoadedCase]:
        """All ten under their demo numbers, at one moment."""
        at = self.three_days_ago()
        return [self.load_case(case.id, at=at, group=group) for case in all_cases()]

    def load_healthy(
        self,
        count: int,
        *,
        group: str = "PBAP",
        seed: int = 1,
        days: float = 6.5,
        rows_only: bool = False,
        leaving: int = 0,
    ) -> int:
        """Trades on which all three agree, spread over the last ``days``; returns how many.

        ``leaving``: trade ids left to what production opens meanwhile.
        """
        production = self.production(group)
        first_id = production.next_trade_id(leaving=leaving)
        return plant_healthy(production, self.books, count, seed, days, rows_only, first_id)

    def load_broken(
        self, count: int, *, group: str = "PBAP", seed: int = 2, leaving: int = 0
    ) -> list[PlantedTrade]:
        """Trades of every kind of break in turn, with what is expected of each; ``leaving`` likewise."""
        production = self.production(group)
        first_id = production.next_trade_id(leaving=leaving)
        return plant_broken(production, self.books, count, seed, self.three_days_ago(), first_id)

    def plant(self, scenes: Sequence[Scene], group: str = "PBAP") -> dict[tuple[str, str], str]:
        """Any scene at all; returns voucher numbers by (trade number, leg)."""
        return plant(self.production(group), self.books, scenes)

    # Running

    @contextmanager
    def bank(
        self,
        *,
        port: int = 0,
        processing_seconds: float = 0.0,
        deduplicates: bool = True,
        notify_url: str | None = None,
    ) -> Iterator[RunningBank]:
        """The bank's server in a thread of this process, on a free port unless told."""
        with running_bank(
            self.bank_path,
            self.bank_token,
            port=port,
            day_seconds=int(self.calendar.length.total_seconds()),
            processing_seconds=processing_seconds,
            deduplicates=deduplicates,
            notify_url=notify_url,
            clock=self.clock,
        ) as bank:
            yield bank

    # Reading

    def row(self, trade_no: str, group: str = "PBAP") -> Row:
        """The one trade row of that number. Raises LookupError for none or several."""
        rows = self.rows(trade_no, group)
        if len(rows) != 1:
            raise LookupError(f"{len(rows)} rows of {trade_no}")
        return rows[0]

    def rows(self, trade_no: str, group: str = "PBAP") -> list[Row]:
        production = self.production(group)
        return _select(production, production.tables.trade, trade_no, "TRD_ID")

    def all_rows(self, group: str = "PBAP") -> list[Row]:
        """Every trade row, by id."""
        production = self.production(group)
        trade = production.tables.trade
        with reading(production.engine) as connection:
            return [
                dict(row) for row in connection.execute(select(trade).order_by(trade.c.TRD_ID)).mappings()
            ]

    def requests(self, trade_no: str, group: str = "PBAP") -> list[Row]:
        """Production's own table of bank requests, by number."""
        production = self.production(group)
        return _select(production, production.tables.bank_request, trade_no, "SEQ")

    def entries(self, trade_no: str, group: str = "PBAP") -> list[Row]:
        """Every ledger entry of the trade, reversed ones and reversals included."""
        ledger = self.production(group).ledger
        entry = ledger.tables.entry
        query = (
            select(entry).where(entry.c.TRD_NUM == trade_no).order_by(entry.c.POSTED_AT, entry.c.VOUCHER_NO)
        )
        with reading(ledger.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def postings(self, voucher_no: str, group: str = "PBAP") -> list[Row]:
        ledger = self.production(group).ledger
        posting = ledger.tables.posting
        query = select(posting).where(posting.c.VOUCHER_NO == voucher_no).order_by(posting.c.ID)
        with reading(ledger.engine) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def balance(self, account_no: str, group: str = "PBAP") -> int:
        """Fen in the customer's account."""
        return self.production(group).ledger.balance(account_no)

    def payouts(self, trade_no: str) -> list[BankRecord]:
        """What the bank really holds for the trade, failed ones included."""
        return [record for record in self.books.of_trade(trade_no) if record.kind == PAYOUT]

    def receipts(self, trade_no: str) -> list[BankRecord]:
        return [record for record in self.books.of_trade(trade_no) if record.kind == RECEIPT]

    def planted(self, group: str = "PBAP") -> list[Row]:
        """What was loaded broken on purpose: TRD_NUM, KIND, EXPECTED."""
        production = self.production(group)
        table = production.tables.planted
        with reading(production.engine) as connection:
            return [
                dict(row) for row in connection.execute(select(table).order_by(table.c.TRD_ID)).mappings()
            ]

    def report(self) -> Report:
        """Money invariants and disagreements over all groups."""
        return consistency_report(list(self._productions.values()), self.books)


def _select(production: Production, table: Table, trade_no: str, order: str) -> list[Row]:
    query = select(table).where(table.c.TRD_NUM == trade_no).order_by(table.c[order])
    with reading(production.engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
