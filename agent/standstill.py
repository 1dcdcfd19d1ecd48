"""How long an agent may stand still before what it begins, by the clock of the database that takes it.

A paused machine's own clocks stand still with it, so that it notices nothing; a database's go on.
"""

import threading
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.errors import StoodStillError

EFFECT_WITHIN: Final = timedelta(seconds=30)
"""An effect that was written down longer ago than this is not begun: its agent may have been given up."""
FACTS_HOLD: Final = timedelta(minutes=5)
"""Nothing is written down as about to happen on a look at the trade older than this, nor so long after the
last write under the same claim: a fresh look does not tell that its agent was given up meanwhile."""
TOLD_WITHIN: Final = timedelta(minutes=1)
"""Nothing is told as repaired on a look at the trade older than this: a slow bank may answer within it."""


def require_within(most: timedelta, since: datetime, at: datetime) -> None:
    """Raises StoodStillError unless both moments of one database's clock lie no further apart than ``most``.

    Either way: a clock that was put back says nothing of how long it has been.
    """
    if abs(at - since) > most:
        raise StoodStillError


class Seen(msgspec.Struct, frozen=True, tag=True):
    """What a Watch goes by: production's clock, aware UTC, as read at ``own`` seconds of the monotonic clock.

    It may have stood still until ``stood_still_until`` seconds; None: it has not, as far as noted.
    """

    at: datetime
    own: float
    stood_still_until: float | None = None


class Watch:
    """Tells whether this machine has stood still, by how production's clock has gone on beside its own.

    A production clock that was set looks alike: an order is then doubted once, and nothing worse.
    """

    _DRIFT: Final = 0.001
    """Two clocks may part by so much of the time between two looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[datetime, float] | None = None
        self._stood_still_until: float | None = None

    def note(self, at: datetime, own: float) -> None:
        """Take in production's clock, aware UTC, as read at ``own`` seconds of the monotonic clock."""
        with self._lock:
            if self._last is not None:
                then, own_then = self._last
                passed = own - own_then
                parted = abs((at - then).total_seconds() - passed)
                if parted > EFFECT_WITHIN.total_seconds() + self._DRIFT * abs(passed):
                    self._stood_still_until = max(own, own_then)
            self._last = at, own

    @property
    def seen(self) -> Seen | None:
        """What another process of this machine is to go by; None where nothing was noted."""
        with self._lock:
            return Seen(*self._last, self._stood_still_until) if self._last else None

    def learn(self, seen: Seen) -> None:
        """Take in what another process of this machine goes by."""
        self.note(seen.at, seen.own)
        if seen.stood_still_until is not None:
            with self._lock:
                known = self._stood_still_until
                self._stood_still_until = max(seen.stood_still_until, known or seen.stood_still_until)

    def has_stood_still_since(self, own: float) -> bool:
        """Whether it may have stood still after ``own`` seconds of the monotonic clock, as far as noted."""
        with self._lock:
            return self._stood_still_until is not None and own <= self._stood_still_until
