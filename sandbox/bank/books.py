"""The bank's books: a SQLite file of its own, one writer at a time, every request kept once."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path

from sandbox.bank.days import BankCalendar, BankDay
from sandbox.bank.records import (
    ACCEPTED,
    ACCOUNT_CLOSED,
    ACCOUNT_FROZEN,
    FAILED,
    PAYER_BALANCE,
    PAYOUT,
    RECEIPT,
    SUCCESS,
    BankRecord,
)
from sandbox.clock import Clock, iso, parse_iso, utc_now
from sandbox.errors import BankError, DayStillOpenError, RequestConflictError

BUSY_TIMEOUT_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bank_record (
    request_no TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, code TEXT,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0), currency TEXT NOT NULL, account TEXT NOT NULL,
    accepted_at TEXT NOT NULL, completed_at TEXT, due_at TEXT, due_status TEXT, is_announced INTEGER NOT NULL,
    asked_minor INTEGER
);
CREATE TABLE IF NOT EXISTS bank_asking (request_no TEXT NOT NULL, asked_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS ix_bank_record_accepted ON bank_record (accepted_at);
CREATE INDEX IF NOT EXISTS ix_bank_record_due ON bank_record (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS ix_bank_record_unannounced ON bank_record (accepted_at) WHERE is_announced = 0;
"""
_COLUMNS = (
    "request_no, kind, status, code, amount_minor, currency, account, "
    "accepted_at, completed_at, due_at, due_status, is_announced, asked_minor"
)
_INSERT = f"INSERT INTO bank_record ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"

# The bank knows these customers: what it answers depends on how the account number ends.
_CLOSED, _FROZEN, _POOR = "00001", "00002", "00003"


@dataclass(frozen=True)
class Submission:
    """A payout or receipt as asked for."""

    request_no: str
    kind: str
    amount_minor: int
    currency: str
    account: str


@dataclass(frozen=True)
class Verdict:
    """What the bank makes of a request it has not seen before; ``due_seconds`` later, ``due_status``."""

    status: str
    code: str | None = None
    due_seconds: float | None = None
    due_status: str | None = None
    amount_minor: int | None = None


def verdict_on(account: str, kind: str, processing_seconds: float) -> Verdict:
    """The bank's own judgement: some accounts are closed, frozen or empty, the rest are served."""
    if account.endswith(_CLOSED):
        return Verdict(FAILED, ACCOUNT_CLOSED)
    if account.endswith(_FROZEN):
        return Verdict(FAILED, ACCOUNT_FROZEN)
    if account.endswith(_POOR) and kind == RECEIPT:
        return Verdict(FAILED, PAYER_BALANCE)
    if processing_seconds > 0 and kind == PAYOUT:
        return Verdict(ACCEPTED, due_seconds=processing_seconds, due_status=SUCCESS)
    return Verdict(SUCCESS)


class BankBooks:
    """Safe to share between threads; several processes may open the same file."""

    def __init__(self, path: Path, calendar: BankCalendar, clock: Clock = utc_now) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.calendar = calendar
        self.clock = clock
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def submit(self, asked: Submission, verdict: Verdict) -> tuple[BankRecord, bool]:
        """The stored record, and whether it is new. Raises RequestConflictError; then nothing changed.

        The moment of acceptance is read under the lock, so that no request enters a day whose file
        has been given out.
        """
        with self._writing() as connection:
            now = self.clock()
            known = self._find(asked.request_no)
            if known is None:
                record = _new_record(asked, verdict, now)
                connection.execute(_INSERT, _to_row(record))
        if known is None:
            return record, True
        _refuse_conflict(known, asked)
        return known.at(now), False

    def hear(self, request_no: str) -> None:
        """Note that this number was asked for, once more maybe, whatever becomes of it."""
        with self._writing() as connection:
            connection.execute("INSERT INTO bank_asking VALUES (?, ?)", (request_no, iso(self.clock())))

    def askings(self) -> Counter[str]:
        """How often each number was asked for that a bank has heard which does not de-duplicate."""
        with self._lock:
            query = "SELECT request_no, count(*) FROM bank_asking GROUP BY request_no"
            return Counter(dict(self._connection.execute(query).fetchall()))

    def find(self, request_nos: Sequence[str]) -> dict[str, BankRecord]:
        """Those of the numbers the bank knows, as they stand now."""
        now, found = self.clock(), {}
        with self._lock:
            for start in range(0, len(request_nos), 500):
                part = request_nos[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT {_COLUMNS} FROM bank_record WHERE request_no IN ({marks})"
                for row in self._connection.execute(query, tuple(part)):
                    found[row[0]] = _from_row(row).at(now)
        return found

    def of_trade(self, trade_no: str) -> list[BankRecord]:
        """Every record whose number is the trade number, a hyphen and a suffix."""
        with self._lock:
            query = (
                f"SELECT {_COLUMNS} FROM bank_record WHERE request_no > ? AND request_no < ? "
                "ORDER BY accepted_at, request_no"
            )
            rows = self._connection.execute(query, (trade_no + "-", trade_no + "-\uffff")).fetchall()
        return [_from_row(row).at(self.clock()) for row in rows]

    def everything(self) -> Iterable[BankRecord]:
        """All records as they stand now."""
        now = self.clock()
        with self._lock:
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM bank_record").fetchall()
        return (_from_row(row).at(now) for row in rows)

    def settled(self, name: str) -> list[BankRecord]:
        """What the bank accepted in a day. Raises DayStillOpenError, ValueError for no such day."""
        day: BankDay = self.calendar.named(name)
        with self._lock:
            now = self.clock()
            if now < day.closes_at:
                raise DayStillOpenError(f"bank day {name} closes at {iso(day.closes_at)}")
            query = (
                f"SELECT {_COLUMNS} FROM bank_record WHERE accepted_at >= ? AND accepted_at < ? "
                "ORDER BY accepted_at, request_no"
            )
            rows = self._connection.execute(query, (iso(day.opens_at), iso(day.closes_at))).fetchall()
        return [_from_row(row).at(now) for row in rows]

    def load(self, records: Iterable[BankRecord]) -> int:
        """Finished records as they stand, all or none. Raises RequestConflictError for a known number."""
        rows = [_to_row(record) for record in records]
        try:
            with self._writing() as connection:
                connection.executemany(_INSERT, rows)
        except sqlite3.IntegrityError as error:
            raise RequestConflictError(f"not loaded: {error}") from error
        return len(rows)

    def clear(self) -> None:
        """Forgets every record."""
        with self._lock:
            self._connection.executescript("DELETE FROM bank_record; DELETE FROM bank_asking")

    def complete_due(self) -> int:
        """Writes down what has fallen due; each is then announced. Returns how many."""
        with self._lock:
            now = iso(self.clock())
            done = self._connection.execute(
                "UPDATE bank_record SET status = due_status, code = NULL, completed_at = due_at, "
                "due_at = NULL, due_status = NULL, is_announced = 0 WHERE due_at <= ?",
                (now,),
            )
            return done.rowcount

    def unannounced(self, limit: int) -> list[BankRecord]:
        """Finished records of which no notice has gone out yet."""
        with self._lock:
            query = f"SELECT {_COLUMNS} FROM bank_record WHERE is_announced = 0 AND status IN (?, ?) LIMIT ?"
            rows = self._connection.execute(query, (SUCCESS, FAILED, limit)).fetchall()
        return [_from_row(row) for row in rows]

    def mark_announced(self, request_nos: Sequence[str]) -> None:
        with self._writing() as connection:
            connection.executemany(
                "UPDATE bank_record SET is_announced = 1 WHERE request_no = ?", [(no,) for no in request_nos]
            )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction under the lock; whatever the block raises, nothing of it is kept."""
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection

    def _find(self, request_no: str) -> BankRecord | None:
        query = f"SELECT {_COLUMNS} FROM bank_record WHERE request_no = ?"
        row = self._connection.execute(query, (request_no,)).fetchone()
        return None if row is None else _from_row(row)


def _new_record(asked: Submission, verdict: Verdict, now: datetime) -> BankRecord:
    if asked.amount_minor <= 0:
        raise BankError("an amount is positive")
    due = None if verdict.due_seconds is None else now + timedelta(seconds=verdict.due_seconds)
    return BankRecord(
        asked.request_no,
        asked.kind,
        verdict.status,
        verdict.code,
        verdict.amount_minor or asked.amount_minor,
        asked.currency,
        asked.account,
        accepted_at=now,
        completed_at=None if verdict.status == ACCEPTED else now,
        due_at=due,
        due_status=verdict.due_status,
        is_announced=False,
        asked_minor=None if verdict.amount_minor is None else asked.amount_minor,
    )


def _refuse_conflict(known: BankRecord, asked: Submission) -> None:
    amount = known.amount_minor if known.asked_minor is None else known.asked_minor
    before = (known.kind, amount, known.currency, known.account)
    if before != (asked.kind, asked.amount_minor, asked.currency, asked.account):
        raise RequestConflictError(f"{asked.request_no} is known with other content")


def _to_row(record: BankRecord) -> tuple[object, ...]:
    # Not astuple, which copies every value deeply.
    values = (getattr(record, field.name) for field in fields(record))
    return tuple(iso(value) if isinstance(value, datetime) else value for value in values)


def _from_row(row: Sequence[object]) -> BankRecord:
    values = list(row)
    for index in (7, 8, 9):
        if values[index] is not None:
            values[index] = parse_iso(str(values[index]))
    values[11] = bool(values[11])
    return BankRecord(*values)  # type: ignore[arg-type]
