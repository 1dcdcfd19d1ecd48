"""The journal: commands received and messages not yet acknowledged, kept in one SQLite file beside the agent.

Every call that matters is on the disk when it returns (synchronous = FULL). The file is locked as long as it
is open, so two processes can never run one journal. Any failure raises JournalError: no work is taken.
"""

import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.errors import JournalError, ProtocolError
from agent.failpoints import Span
from agent.journal_file import MOST_DEFERRED, JournalFile
from agent.message import Message
from agent.orders import Entry, Key, command_id_of, key_of, without_hints
from agent.protocol import Command, decode_to_agent, encode

SCHEMA_VERSION: Final = 1
KEEP_DAYS: Final = 30
KEEP_COMMANDS: Final = 100_000
PRUNE_EVERY: Final = 1_000
"""Finished commands between two prunings."""

_OPEN: Final = Span("agent.journal.open")
_RECEIVE: Final = Span("agent.journal.receive")
_CANCEL: Final = Span("agent.journal.cancel")
_FINISH: Final = Span("agent.journal.finish")
_SUPERSEDE: Final = Span("agent.journal.supersede")
_PUT: Final = Span("agent.journal.put")
_REPEAT: Final = Span("agent.journal.repeat")
_DISCARD: Final = Span("agent.journal.discard")
_PRUNE: Final = Span("agent.journal.prune")


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
        self._file = JournalFile(Path(path))
        self._clock = clock
        self._keep_days = keep_days
        self._keep_commands = keep_commands
        self._finished_since_prune = 0
        try:
            self.journal_id = self._identity()
            self.prune()
        except BaseException:
            # An open file is a locked one: whoever tries again would be refused.
            self._file.connection.close()
            raise

    def _identity(self) -> str:
        with self._file.writing(_OPEN) as sql:
            sql.execute("INSERT OR IGNORE INTO meta VALUES ('journal_id', ?)", (uuid.uuid4().hex,))
            sql.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        stored = dict(self._file.rows("SELECT key, value FROM meta"))
        if stored["schema_version"] != str(SCHEMA_VERSION):
            raise JournalError(
                f"journal {self._file.path} is of version {stored['schema_version']}, not {SCHEMA_VERSION}"
            )
        return str(stored["journal_id"])

    # ---- commands

    def find(self, command_id: str) -> Entry | None:
        """Return the newest order of this command, or None when the journal does not hold it."""
        rows = self._file.rows(f"{_ENTRY} WHERE id = ? ORDER BY fence DESC LIMIT 1", (command_id,))
        return _entry(rows[0]) if rows else None

    def receive(self, command: Command, boot_id: str) -> Entry:
        """Keep one new order, as ``receive_all`` does."""
        (entry,) = self.receive_all((command,), boot_id)
        return entry

    def receive_all(self, commands: Sequence[Command], boot_id: str) -> list[Entry]:
        """Keep new orders in one write, all or none; they are durable on return, and follow each other.

        No command and fence of them may be there yet. What only an agent that names a feature is told is not
        kept: one of before the feature may open this journal, and a repair goes on after a restart only as
        the server sends it anew. Raises JournalError.
        """
        received_at = self._clock()
        try:
            rows = [
                (*key_of(command), encode(without_hints(command)), boot_id, received_at)
                for command in commands
            ]
        except ProtocolError as error:
            # Written out in full it may be larger than it came.
            raise JournalError(f"the journal cannot keep this command: {error}") from error
        with self._file.writing(_RECEIVE) as sql:
            sql.executemany(
                "INSERT INTO command (id, fence, frame, boot_id, state, received_at)"
                " VALUES (?, ?, ?, ?, 'received', ?)",
                rows,
            )
        return [
            Entry(command=command, boot_id=boot_id, state="received", received_at=received_at)
            for command in commands
        ]

    def start(self, key: Key, taken_up_by: str = "") -> None:
        """Note that work has begun; written with the next durable change.

        ``taken_up_by``: this start of the agent, where an earlier one accepted the order.
        """
        self._file.defer(
            "UPDATE command SET state = 'started' WHERE id = ? AND fence = ? AND state = 'received'", *key
        )
        if taken_up_by:
            self._file.defer(
                "UPDATE command SET taken_up_by = taken_up_by || ' ' || ? WHERE id = ? AND fence = ?",
                taken_up_by,
                *key,
            )

    def cancel(self, key: Key, reason: str) -> None:
        """Keep that a cancel was asked, so that a restart honours it too."""
        with self._file.writing(_CANCEL) as sql:
            sql.execute(
                "UPDATE command SET cancel_reason = coalesce(cancel_reason, ?)"
                " WHERE id = ? AND fence = ? AND state <> 'finished'",
                (reason, *key),
            )

    def finish(self, key: Key, result: Message) -> None:
        """Mark the command finished and put its result into the outbox, in one transaction."""
        frame = encode(result)
        with self._file.writing(_FINISH) as sql:
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
        with self._file.writing(_SUPERSEDE) as sql:
            sql.execute("DELETE FROM command WHERE id = ? AND fence = ? AND state <> 'finished'", key)

    def take_up(self) -> list[Entry]:
        """The agent starts: count this start for what the one before began; return the commands not finished.

        The oldest come first. Where the journal cannot be written the count waits for the next change.
        """
        self._file.defer("UPDATE command SET starts = starts + 1, state = 'received' WHERE state = 'started'")
        with suppress(JournalError):
            self._file.flush()
        return self.unfinished()

    def unfinished(self) -> list[Entry]:
        """Return the commands not finished, oldest first."""
        return [_entry(row) for row in self._file.rows(f"{_ENTRY} WHERE state <> 'finished' ORDER BY seq")]

    # ---- outbox

    def put(self, message: Message, frame: bytes) -> None:
        """Keep a message until it is acknowledged; durable on return."""
        with self._file.writing(_PUT) as sql:
            _put(sql, message.id, message.command_id, frame)

    def repeat_result(self, entry: Entry) -> None:
        """Put a finished command's result into the outbox again, under the id it had."""
        with self._file.writing(_REPEAT) as sql:
            _put(sql, str(entry.result_id), command_id_of(entry.command), entry.result or b"")

    def unsent(self, after: int, limit: int) -> list[Unsent]:
        """Return unacknowledged messages with ``seq`` above ``after``, in order."""
        self._file.flush(MOST_DEFERRED)
        with self._file.lock:
            forgotten = self._file.deferred(_FORGET)
            while rows := self._file.rows(_UNSENT, (after, limit)):
                unsent = [Unsent(*row) for row in rows if row[1] not in forgotten]
                if unsent:
                    return unsent
                after = rows[-1][0]
        return []

    def forget(self, message_id: str) -> None:
        """The server has the message: drop it, with the next durable change."""
        self._file.defer(_FORGET, message_id)

    def discard(self, command_id: str) -> None:
        """Drop every unsent message of a command whose work begins again."""
        with self._file.writing(_DISCARD) as sql:
            sql.execute("DELETE FROM outbox WHERE command_id = ?", (command_id,))

    def outbox_length(self) -> int:
        """Count the messages not acknowledged."""
        self.flush()
        return int(self._file.rows("SELECT count(*) FROM outbox")[0][0])

    # ---- upkeep

    def prune(self) -> None:
        """Drop finished commands that are old or too many, save those whose result is not acknowledged."""
        self._finished_since_prune = 0
        with self._file.writing(_PRUNE) as sql:
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
        self._file.flush()

    def close(self) -> None:
        """Write what was deferred and give the file free."""
        self._file.close()


_ENTRY: Final = (
    "SELECT frame, boot_id, state, received_at, cancel_reason, result_id, result, starts, taken_up_by"
    " FROM command"
)
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
    frame, boot_id, state, received_at, cancel_reason, result_id, result, starts, taken_up_by = row
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
        starts=starts,
        taken_up_by=tuple(taken_up_by.split()),
    )
