"""Every cell of case × failpoint × mode: one fault, at one moment, of one repair."""

from dataclasses import dataclass, replace
from typing import Final

from agent import failpoints
from chaos.simulation.faults import CellPolicy
from chaos.simulation.invariants import Violation, violations
from chaos.simulation.schedule import Draw, Schedule
from chaos.simulation.workshop import Workshop

ROUGH_SECONDS: Final = 100.0
_OTHER: Final = {"S1": "S4"}


@dataclass(frozen=True)
class Cell:
    """One point that fails once in the repair of one case. ``occurrence``: the how-manyth time, from 1."""

    case_id: str
    point: str
    mode: str
    occurrence: int = 1

    @property
    def seed(self) -> int:
        """The same for the modes of a point, so that they begin alike."""
        return 1 + failpoints.declared().index(self.point)


@dataclass(frozen=True)
class Found:
    """What a cell showed. ``times``: how often each point was reached in it."""

    was_reached: bool
    violations: tuple[Violation, ...]
    times: dict[str, int]
    trace: tuple[str, ...]


def run_cell(workshop: Workshop, cell: Cell) -> Found:
    """Run one cell to its end."""
    is_crowded = cell.point.startswith("agent.journal.supersede")
    policy = CellPolicy(cell.point, cell.mode, cell.occurrence, is_crowded=is_crowded)
    schedule = Schedule(workshop, cell.seed, draw_for(cell), policy)
    with schedule.running():
        return Found(
            policy.was_reached,
            tuple(violations(schedule)),
            dict(schedule.failer.reached),
            tuple(schedule.loom.trace),
        )


def draw_for(cell: Cell) -> Draw:
    """Return the quiet schedule in which the cell's point is reached."""
    plain = Draw(cases=(cell.case_id,), rough_seconds=ROUGH_SECONDS, healthy=1)
    if cell.point.startswith("agent.journal.cancel"):
        return replace(plain, troubles=("person cancels at once",))
    if cell.point.startswith("agent.journal.repeat"):
        return replace(plain, is_echoing=True)
    if cell.point.startswith("agent.journal.supersede"):
        other = _OTHER.get(cell.case_id, "S1")
        return replace(
            plain, cases=(cell.case_id, other), workers=1, muted=(61.0, 185.0), rough_seconds=200.0
        )
    if cell.point.startswith("ledger.reverse"):
        return replace(plain, troubles=("reversed when unpaid",), rough_seconds=1500.0)
    if cell.point.startswith("agent.journal.discard"):
        return replace(plain, troubles=("agent killed in a collection",))
    return plain
