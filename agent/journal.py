"""The journal: commands received and messages not yet acknowledged, kept in one SQLite file beside the agent.

Every call that matters is on the disk when it returns (synchronous = FULL). The file is locked as long as it
is open, so two processes can never run one journal. Any failure raises JournalError: no work is taken.
"""

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.errors import JournalError, ProtocolError
from agent.orders import Entry, Key, command_id_of, key_of
from agent.protocol import Command, Message, decode_to_agent, encode

SCHEMA_VERSION: Final = 1
KEEP_DAYS: Final = 30
KEEP_COMMANDS: Final = 100_000
PRUNE_EVERY: Final = 1_000
"""Finished commands between two prunings."""

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


class Unsent(msgspec.Struct, frozen=True):
    """A frame the server has not acknowledged, in the order it was written."""

    seq: int
    message_id: str
    command_id: str | None
    frame: bytes


class Journal:
    """One agent's journal. Safe to call from any thread.

    ``clock`` gives seconds since 1970. Acknowledgements and starts are written with the next durable change:
    losing one costs a message sent twice, which the server knows again by its id.
    """

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], float] = time.time,
        keep_days: int = KEEP_DAYS,
        keep_commands: int = KEEP_COMMANDS,
    ) -> None:
        """Open the journal or make a new one. Raises JournalError: damaged, in use or not writable."""
        self.path = Path(path)
        self._clock = clock
        self._keep_days = keep_days
        self._keep_commands = keep_commands
        self._lock = threading.RLock()
        self._deferred: list[tuple[str, tuple[object, ...]]] = []
        self._finished_since_prune = 0
        try:
            self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            raise JournalError(_opening_failed(self.path, error)) from error
        self.journal_id = self._identity()
        self.prune()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            # Exclusive before WAL: a second process is refused, and there is no shared memory file.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(str(verdict))
        except sqlite3.Error:
            connection.close()
            raise
        os.chmod(self.path, 0o600)
        return connection

    def _identity(self) -> str:
        with self._writing() as sql:
            sql.execute("INSERT OR IGNORE INTO meta VALUES ('journal_id', ?)", (uuid.uuid4().hex,))
            sql.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        stored = dict(self._rows("SELECT key, value FROM meta"))
        if stored["schema_version"] != str(SCHEMA_VERSION):
            raise JournalError(
                f"journal {self.path} is of version {stored['schema_version']}, not {SCHEMA_VERSION}"
            )
        return str(stored["journal_id"])

    # ---- commands

    def find(self, command_id: str) -> Entry | None:
        """Return the newest order of this command, or None when the journal does not hold it."""
        rows = self._rows(f"{_ENTRY} WHERE id = ? ORDER BY fence DESC LIMIT 1", (command_id,))
        return _entry(rows[0]) if rows else None

    def receive(self, command: Command, boot_id: str) -> Entry:
        """Keep a new order; it is durable on return. The same command and fence must not be there yet."""
        key = key_of(command)
        received_at = self._clock()
        with self._writing() as sql:
            sql.execute(
                "INSERT INTO command (id, fence, frame, boot_id, state, received_at)"
                " VALUES (?, ?, ?, ?, 'received', ?)",
                (*key, encode(command), boot_id, received_at),
            )
        return Entry(command=command, boot_id=boot_id, state="received", received_at=received_at)

    def start(self, key: Key) -> None:
        """Note that work has begun; written with the next durable change."""
        self._defer(
            "UPDATE command SET state = 'started' WHERE id = ? AND fence = ? AND state = 'received'", *key
        )

    def cancel(self, key: Key, reason: str) -> None:
        """Keep that a cancel was asked, so that a restart honours it too."""
        with self._writing() as sql:
            sql.execute(
                "UPDATE command SET cancel_reason = coalesce(cancel_reason, ?)"
                " WHERE id = ? AND fence = ? AND state <> 'finished'",
                (reason, *key),
            )

    def finish(self, key: Key, result: Message) -> None:
        """Mark the command finished and put its result into the outbox, in one transaction."""
        frame = encode(result)
        with self._writing() as sql:
            sql.execute(
                "UPDATE command SET state = 'finished', finished_at = ?, result_id = ?, result = ?"
                " WHERE id = ? AND fence = ?",
                (self._clock(), result.id, frame, *key),
            )
            _put(sql, result.id, key[0], frame)
        self._finished_since_prune += 1
        if self._finished_since_prune >= PRUNE_EVERY:
            self.prune()

    def supersede(self, key: Key) -> None:
        """Forget an order that was never begun and that a newer fence of the same command replaces."""
        with self._writing() as sql:
            sql.execute("DELETE FROM command WHERE id = ? AND fence = ? AND state <> 'finished'", key)

    def unfinished(self) -> list[Entry]:
        """Return the commands not finished, oldest first."""
        return [_entry(row) for row in self._rows(f"{_ENTRY} WHERE state <> 'finished' ORDER BY seq")]

    # ---- outbox

    def put(self, message: Message, frame: bytes) -> None:
        """Keep a message until it is acknowledged; durable on return."""
        with self._writing() as sql:
            _put(sql, message.id, message.command_id, frame)

    def repeat_result(self, entry: Entry) -> None:
        """Put a finished command's result into the outbox again, under the id it had."""
        with self._writing() as sql:
            _put(sql, str(entry.result_id), command_id_of(entry.command), entry.result or b"")

    def unsent(self, after: int, limit: int) -> list[Unsent]:
        """Return unacknowledged messages with ``seq`` above ``after``, in order."""
        self._flush_deferred_if_many()
        with self._lock:
            forgotten = {args[0] for sql, args in self._deferred if sql == _FORGET}
            while rows := self._rows(_UNSENT, (after, limit)):
                unsent = [Unsent(*row) for row in rows if row[1] not in forgotten]
                if unsent:
                    return unsent
                after = rows[-1][0]
        return []

    def forget(self, message_id: str) -> None:
        """The server has the message: drop it, with the next durable change."""
        self._defer(_FORGET, message_id)

    def discard(self, command_id: str) -> None:
        """Drop every unsent message of a command whose work begins again."""
        with self._writing() as sql:
            sql.execute("DELETE FROM outbox WHERE command_id = ?", (command_id,))

    def outbox_length(self) -> int:
        """Count the messages not acknowledged."""
        self.flush()
        return int(self._rows("SELECT count(*) FROM outbox")[0][0])

    # ---- upkeep

    def prune(self) -> None:
        """Drop finished commands that are old or too many, save those whose result is not acknowledged."""
        self._finished_since_prune = 0
        with self._writing() as sql:
            sql.execute(
                f"DELETE FROM command WHERE {_PRUNABLE} AND finished_at < ?",
                (self._clock() - self._keep_days * 86_400,),
            )
            sql.execute(
                f"DELETE FROM command WHERE {_PRUNABLE} AND seq <= (SELECT max(seq) FROM command) - ?",
                (self._keep_commands,),
            )

    def flush(self) -> None:
        """Write what was deferred."""
        if self._deferred:
            with self._writing():
                pass

    def close(self) -> None:
        """Write what was deferred and give the file free."""
        with self._lock:
            try:
                self.flush()
            finally:
                self._connection.close()

    def _defer(self, sql: str, *args: object) -> None:
        with self._lock:
            self._deferred.append((sql, args))

    def _flush_deferred_if_many(self) -> None:
        if len(self._deferred) >= 256:
            self.flush()

    def _rows(self, sql: str, args: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(sql, args).fetchall()
            except sqlite3.Error as error:
                raise JournalError(f"journal {self.path} cannot be read: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            deferred, sql = self._deferred, self._connection
            try:
                sql.execute("BEGIN IMMEDIATE")
                for statement, args in deferred:
                    sql.execute(statement, args)
                yield sql
                sql.execute("COMMIT")
            except (sqlite3.Error, OverflowError) as error:
                self._roll_back()
                raise JournalError(f"journal {self.path} cannot be written: {error}") from error
            self._deferred = self._deferred[len(deferred) :]

    def _roll_back(self) -> None:
        # A full disk or a closed file has already ended the transaction; a second error would hide the first.
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")


_ENTRY: Final = "SELECT frame, boot_id, state, received_at, cancel_reason, result_id, result FROM command"
_UNSENT: Final = "SELECT seq, message_id, command_id, frame FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?"
_FORGET: Final = "DELETE FROM outbox WHERE message_id = ?"
_PRUNABLE: Final = "state = 'finished' AND result_id NOT IN (SELECT message_id FROM outbox)"


def _put(sql: sqlite3.Connection, message_id: str, command_id: str | None, frame: bytes) -> None:
    sql.execute(
        "INSERT INTO outbox (message_id, command_id, frame) VALUES (?, ?, ?)"
        " ON CONFLICT (message_id) DO NOTHING",
        (message_id, command_id, frame),
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    frame, boot_id, state, received_at, cancel_reason, result_id, result = row
    try:
        command = decode_to_agent(frame)
    except ProtocolError as error:
        raise JournalError(f"the journal holds a command it cannot read: {error}") from error
    if not isinstance(command, Command):
        raise JournalError(f"the journal holds a {type(command).__name__} as a command")
    return Entry(
        command=command,
        boot_id=boot_id,
        state=state,
        received_at=received_at,
        cancel_reason=cancel_reason,
        result_id=result_id,
        result=result,
    )


def _opening_failed(path: Path, error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return f"journal {path} is in use by another agent process"
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return f"journal {path} is damaged ({error}); move it away: the server repeats what is open"
    return f"journal {path} cannot be opened: {error}"
