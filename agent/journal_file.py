"""The journal's file: one SQLite database that one process holds, written in whole transactions.

What is written is on the disk when a call returns (synchronous = FULL). Any failure raises JournalError, and
nothing of what it wrote is kept. Threads that write at one moment share a transaction, and one wait for the
disk: each returns only when that has been committed.
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
MOST_TOGETHER: Final = 64
"""Writes that share one transaction."""
LONGEST_WAIT_S: Final = 0.1
"""How long a write waits for another thread to commit it, before it does so itself."""
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
    taken_up_by TEXT NOT NULL DEFAULT '',
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


class Batch:
    """What several threads write in one transaction. ``error``: why nothing of it was kept."""

    def __init__(self, deferred: int) -> None:
        self.deferred = deferred
        self.size = 0
        self.is_over = threading.Event()
        self.error: Exception | None = None


class JournalFile:
    """An open journal. Safe to call from any thread.

    ``lock`` may be held around several calls that must see the same state.
    """

    def __init__(self, path: Path) -> None:
        """Open the file or make a new one. Raises JournalError: damaged, in use or not writable."""
        self.path = path
        self.lock = threading.RLock()
        self._deferred: list[tuple[str, tuple[object, ...]]] = []
        self._batch: Batch | None = None
        self._arriving = 0
        self._counting = threading.Lock()
        try:
            self.connection = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise _opening_failed(path, error) from error

    def rows(self, sql: str, args: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query; nothing that is not yet on the disk. Raises JournalError."""
        with self.lock:
            self._commit()
            try:
                return self.connection.execute(sql, args).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"journal {self.path} cannot be read: {error}") from error

    @contextmanager
    def writing(self, span: Span) -> Iterator[sqlite3.Connection]:
        """What was deferred, then the block, whole or not at all; on the disk at its end.

        Raises JournalError. ``span``: the failpoints of what is written.
        """
        span.before()
        with self._place():
            batch = self._joined()
            try:
                yield self.connection
                span.commit()
                self.connection.execute("RELEASE one")
            except (sqlite3.Error, OverflowError) as error:
                self._take_back(batch, error)
                raise self._unwritten(error) from error
            except BaseException:
                # What the block itself raised: a transaction left open would refuse every later one.
                self._take_back(batch, None)
                raise
            batch.size += 1
            self._commit_unless_joined()
        self._wait_for(batch)
        span.after()

    @contextmanager
    def _place(self) -> Iterator[None]:
        """The lock; whoever holds it can tell that others are on their way to write."""
        with self._counting:
            self._arriving += 1
        try:
            self.lock.acquire()
        finally:
            with self._counting:
                self._arriving -= 1
        try:
            yield
        finally:
            self.lock.release()

    def _joined(self) -> Batch:
        """The transaction that stands open, or a new one with what was deferred. Raises JournalError."""
        try:
            if self._batch is None:
                self._begin()
            self.connection.execute("SAVEPOINT one")
        except (sqlite3.Error, OverflowError) as error:
            self._fail(error)
            raise self._unwritten(error) from error
        assert self._batch is not None
        return self._batch

    def _begin(self) -> None:
        self._batch = Batch(len(self._deferred))
        self.connection.execute("BEGIN IMMEDIATE")
        for statement, args in self._deferred:
            self.connection.execute(statement, args)

    def _take_back(self, batch: Batch, error: Exception | None) -> None:
        """Undo what this thread wrote; what others wrote before it in the same transaction stays.

        Where the database has given up the whole transaction, theirs is lost with it, and they are told.
        """
        try:
            if batch.size == 0 or not self.connection.in_transaction:
                self._fail(error or sqlite3.OperationalError("the transaction was given up"))
                return
            self.connection.execute("ROLLBACK TO one")
            self.connection.execute("RELEASE one")
        except sqlite3.Error as worse:
            self._fail(worse)
            return
        self._commit_unless_joined()

    def _commit_unless_joined(self) -> None:
        """Commit, unless someone stands at the lock: they will, with what they write."""
        if self._batch is not None and (self._arriving == 0 or self._batch.size >= MOST_TOGETHER):
            self._commit()

    def _commit(self) -> None:
        """End the open transaction, if one is. Never raises: those who wrote in it are told."""
        batch = self._batch
        if batch is None:
            return
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)
            return
        self._deferred = self._deferred[batch.deferred :]
        self._batch = None
        batch.is_over.set()

    def _fail(self, error: Exception) -> None:
        batch, self._batch = self._batch, None
        self._roll_back()
        if batch is not None:
            batch.error = error
            batch.is_over.set()

    def _wait_for(self, batch: Batch) -> None:
        """Return when the transaction is on the disk. Raises JournalError when it was not kept."""
        while not batch.is_over.wait(LONGEST_WAIT_S):
            # Whoever was to commit has not come.
            with self.lock:
                self._commit()
        if batch.error is not None:
            raise self._unwritten(batch.error) from batch.error

    def _unwritten(self, error: Exception) -> JournalError:
        return JournalError(f"journal {self.path} cannot be written: {error}")

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
                self._commit()
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
    if "taken_up_by" not in columns:
        connection.execute("ALTER TABLE command ADD COLUMN taken_up_by TEXT NOT NULL DEFAULT ''")


def _opening_failed(path: Path, error: Exception) -> JournalError:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return JournalInUseError(f"journal {path} is in use by another agent process")
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return JournalError(
            f"journal {path} is damaged ({error}); move it away: the server repeats what is open"
        )
    return JournalError(f"journal {path} cannot be opened: {error}")
