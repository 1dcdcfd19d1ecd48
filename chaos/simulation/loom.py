"""Strands of work woven by a seed: one thread, one clock that moves only when nothing can run.

Every wait of agent and server becomes a switch here; which of the strands that could go on does so is drawn
from the seed. So a schedule is a pure function of its number.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import greenlet

START: Final = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
FOREVER: Final = float("inf")
TICK: Final = 1e-6
"""Seconds; no wait is shorter, or time could be asked to move by less than a float of its size can tell."""
MOST_AT_A_MOMENT: Final = 1_000_000
"""Turns without time passing; more than any schedule needs is work that goes round in circles."""


class Killed(BaseException):
    """The process this strand belongs to is dead; nothing in agent or server catches it."""


class StandstillError(Exception):
    """Strands go on for ever at one moment."""


class Clock(Protocol):
    """What moves the time that agent and server read."""

    def shift(self, delta: float) -> None:
        """Move on by seconds."""
        ...


class Owner(Protocol):
    """A process: its strands die with it."""

    name: str
    is_dead: bool


@dataclass(eq=False)
class Strand:
    """One line of work of a process. ``turn`` tells apart the waits that a timer may have outlived."""

    name: str
    owner: Owner
    body: greenlet.greenlet
    turn: int = 0
    is_ready: bool = False
    is_over: bool = False


class Loom:
    """Runs strands. ``clock`` is what everyone else calls time; ``monotonic`` counts the seconds woven."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.chance = chance
        self.seconds = 0.0
        self.current: Strand | None = None
        self.trace: deque[str] = deque(maxlen=400)
        self._clock = clock
        self._weaver = greenlet.getcurrent()
        self._ready: list[Strand] = []
        self._timers: list[tuple[float, int, Strand, int]] = []
        self._count = 0
        self._strands: list[Strand] = []
        self._thaws_at: dict[str, float] = {}
        self._turns = 0

    def monotonic(self) -> float:
        """Seconds since the schedule began."""
        return self.seconds

    def note(self, text: str) -> None:
        """Keep a line of the trace."""
        self.trace.append(f"{self.seconds:10.3f} {text}")

    # ---- strands

    def spawn(self, owner: Owner, name: str, work: Callable[[], None]) -> Strand:
        """Begin a strand of a process."""

        def body() -> None:
            try:
                work()
            except Killed:
                pass
            finally:
                strand.is_over = True

        strand = Strand(name, owner, greenlet.greenlet(body, parent=self._weaver))
        self._strands.append(strand)
        self._make_ready(strand)
        return strand

    def end(self, owner: Owner) -> None:
        """The process died: unwind its strands, so that what they hold is let go. Called by the weaver."""
        mine = [one for one in self._strands if one.owner is owner and not one.is_over]
        for strand in mine:
            if strand.body.dead or not strand.body:
                strand.is_over = True
                continue
            earlier, self.current = self.current, strand
            strand.body.throw(Killed)
            self.current = earlier
            strand.is_over = True
        self._strands = [one for one in self._strands if not one.is_over]
        self._ready = [one for one in self._ready if not one.is_over]

    def freeze(self, owner: Owner, seconds: float) -> float:
        """Let no strand of a process go on for so long; return by how much longer that is than it was."""
        thawed_at = max(self.seconds, self._thaws_at.get(owner.name, 0.0))
        self._thaws_at[owner.name] = max(thawed_at, self.seconds + seconds)
        return self._thaws_at[owner.name] - thawed_at

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self._wait(seconds)

    def give_way(self) -> None:
        """Let others go first, if the seed says so."""
        strand = self._mine()
        self._make_ready(strand)
        self._switch(strand)

    def wait_for_any(self, signals: "Sequence[Signal]", seconds: float) -> None:
        """Wait until one of the signals is set, no longer than ``seconds``."""
        strand = self._mine()
        for signal in signals:
            signal.watch(strand)
        try:
            self._wait(seconds)
        finally:
            for signal in signals:
                signal.forget(strand)

    def _wait(self, seconds: float) -> None:
        strand = self._mine()
        if seconds < FOREVER:
            self._wake_at(self.seconds + (max(TICK, seconds) if seconds > 0 else 0.0), strand)
        self._switch(strand)

    def _wake_at(self, at: float, strand: Strand) -> None:
        self._count += 1
        heapq.heappush(self._timers, (at, self._count, strand, strand.turn))

    def _mine(self) -> Strand:
        assert self.current is not None, "only a strand waits"
        return self.current

    def _switch(self, strand: Strand) -> None:
        self._weaver.switch()
        if strand.owner.is_dead:
            raise Killed

    def wake(self, strand: Strand) -> None:
        """Let a waiting strand go on before its time."""
        self._make_ready(strand)

    def _make_ready(self, strand: Strand) -> None:
        if not strand.is_ready and not strand.is_over:
            strand.is_ready = True
            self._ready.append(strand)

    # ---- weaving

    def run(self, until: float, is_done: Callable[[], bool] = lambda: False) -> bool:
        """Weave until ``until`` (seconds of the schedule) or ``is_done``; return whether it was done.

        Raises StandstillError.
        """
        while not is_done():
            self._wake_due()
            if self._ready:
                self._step()
                continue
            self._drop_stale()
            if not self._timers or self._timers[0][0] > until:
                self._advance(until)
                return is_done()
            self._advance(self._timers[0][0])
        return True

    def leap(self, seconds: float) -> None:
        """Let time pass in which nobody did anything, as over a night."""
        self._advance(self.seconds + seconds)

    def _step(self) -> None:
        self._turns += 1
        if self._turns > MOST_AT_A_MOMENT:
            raise StandstillError(f"at {self.seconds:.3f} s: {', '.join(one.name for one in self._ready)}")
        index = self.chance.randrange(len(self._ready))
        strand = self._ready[index]
        self._ready[index] = self._ready[-1]
        self._ready.pop()
        strand.is_ready = False
        if (thaws_at := self._thaws_at.get(strand.owner.name, 0.0)) > self.seconds:
            self._wake_at(thaws_at, strand)
            return
        strand.turn += 1
        if strand.is_over or strand.owner.is_dead:
            return
        self.current = strand
        try:
            strand.body.switch()
        finally:
            self.current = None

    def _advance(self, to: float) -> None:
        if to > self.seconds:
            self._clock.shift(to - self.seconds)
            self.seconds = to
            self._turns = 0

    def _drop_stale(self) -> None:
        while self._timers and self._is_stale(self._timers[0]):
            heapq.heappop(self._timers)

    def _is_stale(self, timer: tuple[float, int, Strand, int]) -> bool:
        _, _, strand, turn = timer
        return strand.is_over or strand.owner.is_dead or strand.turn != turn

    def _wake_due(self) -> None:
        while self._timers and self._timers[0][0] <= self.seconds:
            timer = heapq.heappop(self._timers)
            if not self._is_stale(timer):
                self._make_ready(timer[2])


class Signal:
    """What ``threading.Event`` is to threads, for strands."""

    def __init__(self, loom: Loom) -> None:
        self._loom = loom
        self._is_set = False
        self._waiting: list[Strand] = []

    def is_set(self) -> bool:
        """Whether it was set and not cleared."""
        return self._is_set

    def set(self) -> None:
        """Set it and wake who waits."""
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for strand in waiting:
            self._loom.wake(strand)

    def clear(self) -> None:
        """Forget that it was set."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, no longer than ``timeout`` seconds; return whether it is."""
        if not self._is_set:
            self._loom.wait_for_any((self,), FOREVER if timeout is None else timeout)
        return self._is_set

    def watch(self, strand: Strand) -> None:
        """Wake the strand at the next ``set``."""
        self._waiting.append(strand)

    def forget(self, strand: Strand) -> None:
        """It waits no longer."""
        if strand in self._waiting:
            self._waiting.remove(strand)
