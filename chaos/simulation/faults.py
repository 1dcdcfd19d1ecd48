"""What goes wrong at a failpoint: the process dies, an error nobody expects is raised, or time goes by."""

import random
from collections import Counter
from typing import Final, Protocol

from agent.failpoints import is_inside
from chaos.simulation.loom import Killed, Loom
from chaos.simulation.processes import Process

MODES: Final = ("kill", "raise", "hang")
HANGS: Final = (1.0, 20.0, 90.0, 700.0)
HANG_SECONDS: Final = 700.0
ON_ITS_WAY: Final = 0.06
CROWDED_SECONDS: Final = 150.0
CROWDED_POINT: Final = "agent.work.begin"
CROWDED_FROM: Final = 30.0
"""The collection is over by then."""


class FailpointError(Exception):
    """An error that no code knows by name."""


class Policy(Protocol):
    """Says what befalls a process at a point it has reached, '' for nothing."""

    def mode_at(self, name: str, process: Process) -> str: ...

    @property
    def hang_seconds(self) -> float: ...


class RandomPolicy:
    """Each point reached fails with the probability ``rate``, while ``is_rough``."""

    def __init__(self, chance: random.Random, rate: float) -> None:
        self._chance = chance
        self.rate = rate
        self.is_rough = True

    def mode_at(self, name: str, process: Process) -> str:
        if not self.is_rough or self._chance.random() >= self.rate:
            return ""
        return self._chance.choice(MODES)

    @property
    def hang_seconds(self) -> float:
        return self._chance.choice(HANGS)


class CellPolicy:
    """One point fails once, at its ``occurrence``-th time (from 1), '' the next point of any name.

    ``since``: seconds of the schedule; what is passed before does not count.
    ``is_crowded``: the first work of a repairer hangs as well, so that what comes after it waits.
    """

    def __init__(
        self, point: str, mode: str, occurrence: int, *, since: float = 0.0, is_crowded: bool = False
    ) -> None:
        self.point = point
        self.mode = mode
        self._left = occurrence
        self._since = since
        self._is_crowded = is_crowded
        self._hang_seconds = HANG_SECONDS
        self.was_reached = False

    @property
    def hang_seconds(self) -> float:
        return self._hang_seconds

    def mode_at(self, name: str, process: Process) -> str:
        if self._is_crowded and name == CROWDED_POINT and process.loom.seconds > CROWDED_FROM:
            self._is_crowded, self._hang_seconds = False, CROWDED_SECONDS
            return "hang"
        if name != (self.point or name) or self.was_reached or process.loom.seconds < self._since:
            return ""
        self._left -= 1
        if self._left > 0:
            return ""
        self.was_reached = True
        return self.mode


class Counting:
    """Nothing fails; the points passed in a stretch of time, in seconds of the schedule, are counted."""

    hang_seconds = 0.0

    def __init__(self, since: float, until: float) -> None:
        self.passed = 0
        self._since = since
        self._until = until

    def mode_at(self, name: str, process: Process) -> str:
        self.passed += self._since <= process.loom.seconds < self._until
        return ""


class Failer:
    """The hook behind every failpoint (agent.failpoints.armed)."""

    def __init__(self, loom: Loom, policy: Policy, counts: Counter[str]) -> None:
        self._loom = loom
        self._policy = policy
        self._counts = counts
        self.reached: Counter[str] = Counter()
        self.killed: list[Process] = []
        self.wakes_at = 0.0

    def __call__(self, name: str) -> None:
        strand = self._loom.current
        if strand is None or not isinstance(strand.owner, Process):
            return
        process = strand.owner
        if process.is_dead:
            raise Killed
        self.reached[name] += 1
        mode = self._policy.mode_at(name, process)
        if mode:
            self._counts[f"{mode} {process.name.partition('-')[0]}"] += 1
            self._loom.note(f"{mode} at {name} in {strand.name}")
        if mode == "kill":
            if is_inside(name):
                # What was sent too early arrives before the process is gone.
                self._loom.leap(ON_ITS_WAY)
            process.is_dead = True
            self.killed.append(process)
            raise Killed
        if mode == "raise":
            raise FailpointError(name)
        if is_inside(name):
            if mode == "hang":
                # Locks are held: nobody else could go on either. The whole machine stalls.
                self._loom.leap(self._policy.hang_seconds)
        elif mode == "hang":
            seconds = self._policy.hang_seconds
            self.wakes_at = max(self.wakes_at, self._loom.seconds + seconds)
            self._loom.sleep(seconds)
        else:
            self._loom.give_way()
