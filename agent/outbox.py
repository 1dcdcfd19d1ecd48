"""The outbox: messages that must arrive, in order, each kept until the server acknowledges it."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agent.errors import JournalError
from agent.journal import Journal, Unsent
from agent.message import Message
from agent.orders import Entry, Key
from agent.protocol import encode

log: Final = logging.getLogger("agent.outbox")
LONGEST_PAUSE: Final = 64
"""Calls of ``retry`` between two sendings of a message over which the server fails again and again."""
QUIET_RETRIES: Final = 6
"""Calls of ``retry`` with the same oldest message after which everything is sent again: a frame may have been
lost."""
POLL_SECONDS: Final = 0.5
"""How long a producer waiting for room sleeps at most before it looks whether it was stopped."""


class Outbox:
    """Durable messages, written by workers and sent by the connection. Safe to call from any thread.

    ``wake`` tells the connection that there is something to send.
    """

    def __init__(self, journal: Journal, wake: Callable[[], None]) -> None:
        self._journal = journal
        self._wake = wake
        self._sent_up_to = 0
        self._changed = threading.Condition()
        self._open: dict[str, str | None] = {}
        self._open_by_command: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._repeat_in = 0
        self._oldest = 0
        self._quiet = 0
        self._held: list[tuple[Key, Message]] = []

    def put(self, message: Message) -> None:
        """Keep and send a message. Raises JournalError, or ProtocolError when it is too large for a frame."""
        frame = encode(message)
        with self._counted(message.id, message.command_id):
            self._journal.put(message, frame)

    def finish(self, key: Key, result: Message) -> None:
        """Finish a command with its result.

        When the journal cannot be written the result waits in memory for ``retry``. Should the process die
        before that, the command is unfinished in the journal and its work is found done when it runs again.
        """
        try:
            with self._counted(result.id, key[0]):
                self._journal.finish(key, result)
        except JournalError as error:
            log.error("the result of command %s waits for the journal: %s", key[0], error)
            self.hold(key, result)

    def hold(self, key: Key, result: Message) -> None:
        """Keep a result in memory until ``retry`` has written it."""
        with self._changed:
            self._held.append((key, result))

    def repeat(self, entry: Entry) -> None:
        """Send the result of a finished command again. Raises JournalError."""
        self._journal.repeat_result(entry)
        self.rewind()
        self._wake()

    def retry(self) -> bool:
        """Write what waited for the journal and send again what the server failed over, or never answered;
        called now and then.

        Returns whether nothing waits for the journal any more. Raises JournalError.
        """
        if self._repeat_in:
            self._repeat_in -= 1
            if not self._repeat_in:
                self.rewind()
        self._repeat_unanswered()
        with self._changed:
            held = list(self._held)
        for key, result in held:
            with self._counted(result.id, key[0]):
                self._journal.finish(key, result)
            with self._changed:
                self._held.remove((key, result))
        return not self._held

    def _repeat_unanswered(self) -> None:
        """A frame can be lost on a connection that stands: what no Ack comes for is sent again, whatever else
        is acknowledged meanwhile.
        """
        oldest = next((unsent.seq for unsent in self._journal.unsent(0, 1)), 0)
        if oldest != self._oldest:
            self._oldest, self._quiet = oldest, 0
        if not oldest:
            self._failures.clear()
        is_unanswered = oldest > 0 and not self._repeat_in
        self._quiet = self._quiet + 1 if is_unanswered else 0
        if self._quiet >= QUIET_RETRIES:
            self._quiet = 0
            self.rewind()

    def rewind(self) -> None:
        """Begin again with the oldest message: the next connection replays everything not acknowledged."""
        self._sent_up_to = 0

    def next(self, limit: int) -> list[Unsent]:
        """Return the next messages to send, in order. Raises JournalError."""
        return self._journal.unsent(self._sent_up_to, limit)

    def sent(self, unsent: Unsent) -> None:
        """Note that a message has gone out on this connection."""
        self._sent_up_to = max(self._sent_up_to, unsent.seq)

    def acknowledge(self, message_id: str) -> None:
        """Forget a message the server holds, or will never take; an unknown id is ignored."""
        self._journal.forget(message_id)
        self._failures.pop(message_id, None)
        with self._changed:
            self._uncount(message_id)

    def try_again(self, message_id: str) -> int:
        """Send a message over which the server failed again: after 1 call of ``retry``, then 2, 4, 8 …

        It is never given up: it may be the only word of money that moved. Returns how often that was so.
        """
        self._failures[message_id] += 1
        pause = min(2 ** (self._failures[message_id] - 1), LONGEST_PAUSE)
        self._repeat_in = min(self._repeat_in or pause, pause)
        return self._failures[message_id]

    def wait_for_room(self, command_id: str, limit: int, is_stopped: Callable[[], bool]) -> None:
        """Wait until fewer than ``limit`` messages of the command are open, or the work was stopped."""
        with self._changed:
            while self._open_by_command[command_id] >= limit and not is_stopped():
                self._changed.wait(POLL_SECONDS)

    def wait_until_empty(self, seconds: float) -> bool:
        """Wait until every message of this process is acknowledged; return whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout=seconds)

    def discard(self, command_id: str) -> None:
        """Drop what an earlier run of a command left unsent. Raises JournalError."""
        self._journal.discard(command_id)

    @contextmanager
    def _counted(self, message_id: str, command_id: str | None) -> Iterator[None]:
        """Count a message as open, before the connection can see it and its Ack can come back."""
        with self._changed:
            self._open[message_id] = command_id
            if command_id is not None:
                self._open_by_command[command_id] += 1
        try:
            yield
        except Exception:
            # Not kept, whatever it was: no Ack comes for it.
            with self._changed:
                self._uncount(message_id)
            raise
        self._wake()

    def _uncount(self, message_id: str) -> None:
        command_id = self._open.pop(message_id, None)
        if command_id is not None:
            self._open_by_command[command_id] -= 1
            if self._open_by_command[command_id] <= 0:
                del self._open_by_command[command_id]
        self._changed.notify_all()
