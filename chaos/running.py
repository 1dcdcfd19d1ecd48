"""Many schedules over a few processes, and one report of them."""

import json
import logging
import multiprocessing
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, Final

from agent import failpoints
from chaos.simulation.cells import Cell, every_moment, run_cell
from chaos.simulation.invariants import INVARIANTS
from chaos.simulation.schedule import Outcome, run
from chaos.simulation.workshop import Workshop

log: Final = logging.getLogger("chaos")

IN_MEMORY: Final = Path("/dev/shm")
"""Where there is one, a file there costs no disk."""
CRASH: Final = "crash"
"""What a schedule that breaks off violates."""
NAMED: Final = 20
"""So many points that nothing reached are named; more tell only that the run was short."""

Task = int | Cell
"""A seed, or a cell."""


@dataclass
class Tally:
    """What came of many schedules."""

    schedules: int = 0
    cells: int = 0
    simulated_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    trades: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str, str]] = field(default_factory=list)
    trace: tuple[str, ...] = ()

    @property
    def over(self) -> int:
        """How many schedules and cells have been run."""
        return self.schedules + self.cells

    def add(self, outcome: Outcome) -> None:
        """Count one in."""
        is_cell = not outcome.name.startswith("seed ")
        self.cells += is_cell
        self.schedules += not is_cell
        self.simulated_seconds += outcome.seconds
        self.faults += outcome.counts
        self.reached += outcome.reached
        self.trades += outcome.trades
        self.violations += [(outcome.name, invariant, text) for invariant, text in outcome.violations]

    def by_invariant(self) -> dict[str, int]:
        """Violations of each invariant, those never broken included, then of what is none, if any."""
        counts = Counter(invariant for _, invariant, _ in self.violations)
        others = sorted({*counts} - {*INVARIANTS})
        return {invariant: counts[invariant] for invariant in (*INVARIANTS, *others)}

    def unreached(self) -> tuple[str, ...]:
        """The failpoints that no schedule and no cell came to."""
        return tuple(point for point in failpoints.declared() if not self.reached[point])

    def as_text(self) -> str:
        """For a terminal."""
        hours = self.simulated_seconds / 3600
        lines = [
            *self.trace,
            f"schedules  {self.schedules}",
            f"cells      {self.cells} of case × failpoint or moment × mode",
            f"time       {hours:.1f} hours by the clocks inside",
            f"trades     {', '.join(f'{count} {state}' for state, count in self.trades.most_common())}",
            f"faults     {self.faults.total()}",
            *(f"  {count:8d}  {kind}" for kind, count in sorted(self.faults.items())),
            *self._points(),
            f"violations {len(self.violations)}",
            "  " + "  ".join(f"{name} {count}" for name, count in self.by_invariant().items()),
            *(f"  {name}  {invariant}  {text}" for name, invariant, text in self.violations),
        ]
        return "\n".join(lines)

    def _points(self) -> Iterator[str]:
        unreached, declared = self.unreached(), len(failpoints.declared())
        yield f"failpoints {declared - len(unreached)} of {declared} reached"
        if 0 < len(unreached) <= NAMED:
            yield f"  not reached: {', '.join(unreached)}"

    def as_json(self) -> str:
        """For a script."""
        content = {
            "schedules": self.schedules,
            "cells": self.cells,
            "simulated_seconds": round(self.simulated_seconds),
            "faults": dict(sorted(self.faults.items())),
            "trades": dict(sorted(self.trades.items())),
            "failpoints": len(failpoints.declared()),
            "unreached": self.unreached(),
            "violations": self.by_invariant(),
            "violated": sorted({name for name, _, _ in self.violations}),
            "found": self.violations,
        }
        return json.dumps(content, indent=2)


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A folder for schedules, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    try:
        yield Workshop(folder / "workshop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_one(place: Workshop, task: Task) -> Outcome:
    """Run one seed or cell; one that breaks off is violated, too: its trace tells the error and the steps."""
    try:
        return run_cell(place, task) if isinstance(task, Cell) else run(place, task)
    except Exception as error:
        # One schedule's edge: the others go on, and the report names this one.
        name = task.name if isinstance(task, Cell) else f"seed {task}"
        log.exception("%s broke off", name)
        trace = "".join(traceback.format_exception(error)).splitlines()
        violation = (CRASH, f"{type(error).__name__}: {error}".partition("\n")[0])
        return Outcome(name, Counter(), Counter(), [violation], trace=tuple(trace))


def run_traced(seed: int) -> Tally:
    """Run one seed in this process and keep what happened in it."""
    tally = Tally()
    with workshop() as place:
        outcome = try_one(place, seed)
        tally.add(outcome)
        tally.trace = outcome.trace
    return tally


def all_moments() -> list[Task]:
    """Return every moment of the repair of each case, in each mode: some thousands."""
    with workshop() as place:
        return list(every_moment(place))


def run_all(
    tasks: Sequence[Task],
    jobs: int,
    *,
    stop_at_first: bool = False,
    on_outcome: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Run every seed and cell, in so many processes, and count them.

    ``stop_at_first``: only until one is violated. ``on_outcome`` hears of each one that is over. An interrupt
    (Ctrl-C) ends the run; what was over by then is counted.
    """
    context = multiprocessing.get_context("spawn")
    outcomes: Any = context.Queue()
    stop = context.Event()
    workers = [
        context.Process(target=_work, args=(tasks[number::jobs], outcomes, stop), daemon=True)
        for number in range(jobs)
    ]
    for worker in workers:
        worker.start()
    tally = Tally()
    with suppress(KeyboardInterrupt):
        while tally.over < len(tasks) and not (stop_at_first and tally.violations):
            tally.add(_next(outcomes, workers))
            on_outcome(tally)
    stop.set()
    for worker in workers:
        worker.join(10)
        worker.terminate()
    return tally


def _next(outcomes: Any, workers: Sequence[Any]) -> Outcome:
    """Return the next outcome. Raises RuntimeError when a process that had more to run is gone."""
    while True:
        try:
            outcome: Outcome = outcomes.get(timeout=1)
        except Empty:
            if any(worker.exitcode for worker in workers):
                raise RuntimeError("a process that runs schedules broke off; see what it wrote") from None
        else:
            return outcome


def _work(tasks: Sequence[Task], outcomes: Any, stop: Any) -> None:
    """One process: its own workshop, its share of the tasks. An interrupt is for the one that counts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    with workshop() as place:
        for task in tasks:
            if stop.is_set():
                return
            outcomes.put(try_one(place, task))
