"""The journal's file: one SQLite database that one process holds, written in whole transactions.

What is written is on the disk when a call returns (synchronous = FULL). Any failure raises JournalError, and
nothing of that transaction is kept.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from agent.errors import JournalError, JournalInUseError
from agent.failpoints import Span

MOST_DEFERRED: Final = 256
PRIVATE: Final = 0o600
_FLUSH: Final = Span("agent.journal.flush")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS command (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    fence INTEGER NOT NULL,
    frame BLOB NOT NULL,
    boot_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('received', 'started', 'finished')),
    cancel_reason TEXT,
    received_at REAL NOT NULL,
    finished_at REAL,
    result_id TEXT,
    result BLOB,
    starts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (id, fence)
);
CREATE INDEX IF NOT EXISTS ix_command_unfinished ON command (seq) WHERE state <> 'finished';
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    command_id TEXT,
    frame BLOB NOT NULL
);
"""


class JournalFile:
    """An open journal. Safe to call from any thread.

    ``lock`` may be held around several calls that must see the same state.
    """

    def __init__(self, path: Path) -> None:
        """Open the file or make a new one. Raises JournalError: damaged, in use or not writable."""
        self.path = path
        self.lock = threading.RLock()
        self._deferred: list[tuple[str, tuple[object, ...]]] = []
        try:
            self.connection = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise _opening_failed(path, error) from error

    def rows(self, sql: str, args: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises JournalError."""
        with self.lock:
            try:
                return self.connection.execute(sql, args).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"journal {self.path} cannot be read: {error}") from error

    @contextmanager
    def writing(self, span: Span) -> Iterator[sqlite3.Connection]:
        """One transaction: what was deferred, then the block; on the disk at its end. Raises JournalError.

        ``span``: the failpoints of what is written.
        """
        span.before()
        with self.lock:
            deferred, sql = self._deferred, self.connection
            try:
                sql.execute("BEGIN IMMEDIATE")
                for statement, args in deferred:
                    sql.execute(statement, args)
                yield sql
                span.commit()
                sql.execute("COMMIT")
            except (sqlite3.Error, OverflowError) as error:
                self._roll_back()
                raise JournalError(f"journal {self.path} cannot be written: {error}") from error
            except BaseException:
                # What the block itself raised: a transaction left open would refuse every later one.
                self._roll_back()
                raise
            self._deferred = self._deferred[len(deferred) :]
        span.after()

    def defer(self, sql: str, *args: object) -> None:
        """Keep a statement in memory, to be written with the next transaction."""
        with self.lock:
            self._deferred.append((sql, args))

    def deferred(self, sql: str) -> set[object]:
        """Return the first argument of each statement of this text that waits to be written."""
        with self.lock:
            return {args[0] for statement, args in self._deferred if statement == sql}

    def flush(self, least: int = 1) -> None:
        """Write what was deferred, where that is at least so many statements. Raises JournalError."""
        if len(self._deferred) >= least:
            with self.writing(_FLUSH):
                pass

    def close(self) -> None:
        """Write what was deferred and give the file free."""
        with self.lock:
            try:
                self.flush()
            finally:
                self.connection.close()

    def _roll_back(self) -> None:
        # A full disk or a closed file has already ended the transaction; a second error would hide the first.
        with suppress(sqlite3.Error):
            self.connection.execute("ROLLBACK")


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Private before SQLite opens it: the file beside it (-wal) is made with the same rights.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE))
    os.chmod(path, PRIVATE)
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive before WAL: a second process is refused, and there is no shared memory file.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        _bring_up(connection)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(" ".join(str(verdict).split()))
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _bring_up(connection: sqlite3.Connection) -> None:
    """Give the journal of an older agent what it lacks; that agent can still use it."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(command)")}
    if "starts" not in columns:
        connection.execute("ALTER TABLE command ADD COLUMN starts INTEGER NOT NULL DEFAULT 0")


def _opening_failed(path: Path, error: Exception) -> JournalError:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return JournalInUseError(f"journal {path} is in use by another agent process")
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return JournalError(
            f"journal {path} is damaged ({error}); move it away: the server repeats what is open"
        )
    return JournalError(f"journal {path} cannot be opened: {error}")
