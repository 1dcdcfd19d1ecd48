"""When the connection acts: woken by other threads, or after a wait between two attempts."""

import random
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

BACKOFF_FIRST: Final = 1.0
BACKOFF_CAP: Final = 30.0
MOST_HURRIED: Final = 40
"""So many waits of one agent are not doubled while something is urgent: about half a minute."""


class Waker:
    """Wakes a thread that waits in select."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __call__(self) -> None:
        """Wake; many calls before one look count as one."""
        with suppress(BlockingIOError):  # full: the reader is woken already
            self._writer.send(b"\0")

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._reader.fileno()

    def writing_end(self) -> int:
        """The descriptor on which a byte written wakes, for signal.set_wakeup_fd."""
        return self._writer.fileno()

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        """Give both descriptors free."""
        self._reader.close()
        self._writer.close()


class Backoff:
    """Waits between attempts: doubling from one second to thirty, each drawn from the upper half of its span.

    ``fraction`` gives a number in [0, 1). Agents that lost one server together come back spread out.
    """

    def __init__(self, fraction: Callable[[], float] = random.random) -> None:
        self._fraction = fraction
        self._attempt = 0
        self._hurried = 0

    def next(self, *, is_urgent: bool = False) -> float:
        """Return the seconds to wait before the next attempt. ``is_urgent``: the first are not doubled."""
        if is_urgent and self._hurried < MOST_HURRIED:
            self._hurried += 1
            return BACKOFF_FIRST * (0.5 + 0.5 * self._fraction())
        span = min(BACKOFF_CAP, BACKOFF_FIRST * 2.0**self._attempt)
        self._attempt = min(self._attempt + 1, 16)
        return span * (0.5 + 0.5 * self._fraction())

    def reset(self) -> None:
        """Begin again at one second."""
        self._attempt = self._hurried = 0
