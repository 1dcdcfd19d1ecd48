"""Every cell of case × failpoint × mode: one fault, at one moment, of the repair of one case.

What a repair does not come to by itself, a script brings it to (draw_for).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent import failpoints
from chaos.simulation.draws import Draw
from chaos.simulation.faults import MODES, CellPolicy
from chaos.simulation.schedule import Outcome, Schedule
from chaos.simulation.workshop import Workshop

CASES: Final = ("S1", "S2", "S3", "S4", "S5", "S6", "S7a", "S7b", "S8", "S9")
PAYING: Final = frozenset({"S2", "S3", "S7a", "S7b"})
ONLY_ON_THE_WAY_OF: Final = {
    "bank.pay": PAYING,
    "production.note": PAYING,
    "production.request": PAYING,
    "ledger.reverse": PAYING,
    "ledger.post": frozenset(CASES) - {"S6", "S7a", "S9"},
}
"""Points that not every repair passes: only some cases pay, or post."""

ROUGH_SECONDS: Final = 100.0
UNPAID_SECONDS: Final = 1500.0
"""Until a refused payout has settled and two people have the debit taken back."""
MUTED: Final = (61.0, 185.0)
"""From the first repair on, for longer than a lease."""
CROWDED: Final = ("agent.journal.supersede", "agent.journal.cancel")
"""Points that are reached only while the work on an order has not got far."""
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

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"{self.case_id} {self.point} {self.mode}"


def is_on_the_way(case_id: str, point: str) -> bool:
    """Whether the repair of the case comes to the point."""
    return case_id in ONLY_ON_THE_WAY_OF.get(point.rpartition(".")[0], CASES)


def every_cell(case_ids: Sequence[str] = CASES, modes: Sequence[str] = MODES) -> Iterator[Cell]:
    """Yield the cells of some cases, each point that lies on the case's way in each mode."""
    for case_id in case_ids:
        for point in failpoints.declared():
            if is_on_the_way(case_id, point):
                yield from (Cell(case_id, point, mode) for mode in modes)


def run_cell(workshop: Workshop, cell: Cell) -> Outcome:
    """Run one cell to its end; a point that was not reached is a violation of the cell itself."""
    is_crowded = cell.point.startswith(CROWDED)
    policy = CellPolicy(cell.point, cell.mode, cell.occurrence, is_crowded=is_crowded)
    schedule = Schedule(workshop, cell.seed, draw_for(cell), policy)
    with schedule.running():
        outcome = schedule.outcome(cell.name)
    if not policy.was_reached:
        outcome.violations.append(("unreached", cell.point))
    return outcome


def draw_for(cell: Cell) -> Draw:
    """Return the quiet schedule in which the cell's point is reached."""
    plain = Draw(cases=(cell.case_id,), rough_seconds=ROUGH_SECONDS, healthy=1)
    match cell.point.rpartition(".")[0]:
        case "agent.journal.cancel":
            return replace(plain, troubles=("person cancels at once",))
        case "agent.journal.repeat":
            return replace(plain, is_echoing=True)
        case "agent.journal.discard":
            return replace(plain, troubles=("agent killed in a collection",))
        case "ledger.reverse":
            return replace(plain, troubles=("reversed when unpaid",), rough_seconds=UNPAID_SECONDS)
        case "agent.journal.supersede":
            crowd = (cell.case_id, _OTHER.get(cell.case_id, "S1"))
            return replace(plain, cases=crowd, workers=1, muted=MUTED, rough_seconds=200.0)
        case _:
            return plain
