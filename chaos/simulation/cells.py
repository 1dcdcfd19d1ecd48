"""Every cell of case × failpoint × mode: one fault, at one moment, of the repair of one case.

A cell fails a point the first time that the repair passes it; what is passed at boot or in the collection
only, there. What a repair does not come to by itself, a script brings it to (draw_for). A *moment* is finer:
of all the points that a repair passes one after the other, however often, the one of that number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent import failpoints
from chaos.simulation.draws import Draw
from chaos.simulation.faults import MODES, CellPolicy, Counting
from chaos.simulation.schedule import Outcome, Schedule
from chaos.simulation.workshop import Workshop

CASES: Final = ("S1", "S2", "S3", "S4", "S5", "S6", "S7a", "S7b", "S8", "S9")
PAYING: Final = frozenset({"S2", "S3", "S7a", "S7b"})
MAY_STILL_ARRIVE: Final = frozenset({"S2", "S3"})
"""Cases whose first request may come to the bank yet: at one that pays twice they are for a person."""
PAYS_TWICE: Final = "(pays twice)"
"""What a name says of a bank that does not de-duplicate."""
MOMENT: Final = "moment"
MENDED: Final = frozenset({"repaired", "healed"})
UNREACHED: Final = "unreached"
"""What a cell violates whose point was not passed."""
ONLY_ON_THE_WAY_OF: Final = {
    "bank.pay": PAYING,
    "production.note": PAYING,
    "production.request": PAYING,
    "ledger.reverse": PAYING,
    "ledger.post": frozenset(CASES) - {"S6", "S7a", "S9"},
}
"""Points that not every repair passes: only some cases pay, or post."""

BEHIND_THE_CLAIM: Final = (
    "bank.pay",
    "ledger.",
    "production.claim",
    "production.close",
    "production.note",
    "production.request",
    "production.row",
    "production.step",
)
"""Points that a repair passes which has decided to do something."""

BEFORE_THE_REPAIR: Final = (
    "agent.journal.open",
    "agent.journal.prune",
    "agent.journal.put",
    "agent.journal.discard",
)
"""Points passed at boot and in the collection only."""
FROM_THE_FIRST: Final = (
    *BEFORE_THE_REPAIR,
    "agent.frame",
    "agent.journal.finish",
    "agent.journal.flush",
    "agent.journal.receive",
    "agent.work",
    "bank.inquiry",
    "production.read",
    "server",
)
"""Points passed before the repair, too. What comes then is the same in each case."""
REPAIR_FROM: Final = 60.0
"""Seconds of a quiet schedule: the plan's first tick, which commands the repair."""
REPAIR_SECONDS: Final = 4.0
"""So long after it a quiet repair is over, and told."""

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
    """One point that fails once in one case. ``occurrence``: the how-manyth time, from 1.

    ``is_in_repair``: what is passed before the repair is commanded does not count. ``point`` '': a moment, of
    the number ``occurrence``; each point counts. ``deduplicates``: whether the bank does.
    """

    case_id: str
    point: str
    mode: str
    occurrence: int = 1
    is_in_repair: bool = False
    deduplicates: bool = True

    @property
    def seed(self) -> int:
        """The same for the modes of a point, and for all moments of a case, so that they begin alike."""
        return 1 + failpoints.declared().index(self.point) if self.point else 0

    @property
    def is_for_a_person(self) -> bool:
        """Whether no repair can decide anything: what was asked for once may come yet, and be paid twice."""
        return not self.deduplicates and self.case_id in MAY_STILL_ARRIVE

    @property
    def name(self) -> str:
        """What a report calls it."""
        bank = "" if self.deduplicates else f" {PAYS_TWICE}"
        if not self.point:
            return f"{self.case_id} {MOMENT} {self.occurrence} {self.mode}{bank}"
        return f"{self.case_id} {self.point} {self.mode}{bank}{'' if self.is_in_repair else ' (first)'}"


def is_on_the_way(case_id: str, point: str) -> bool:
    """Whether the repair of the case comes to the point, at a bank that de-duplicates."""
    return case_id in ONLY_ON_THE_WAY_OF.get(point.rpartition(".")[0], CASES)


def every_cell(case_ids: Sequence[str] = CASES, modes: Sequence[str] = MODES) -> Iterator[Cell]:
    """Yield the cells of some cases, each point that lies on the case's way in each mode.

    What is passed before the repair is failed there, too, in the first of all cases.
    """
    for case_id in case_ids:
        for point in failpoints.declared():
            if not is_on_the_way(case_id, point):
                continue
            if not point.startswith(BEFORE_THE_REPAIR):
                yield from (Cell(case_id, point, mode, is_in_repair=True) for mode in modes)
            if point.startswith(BEFORE_THE_REPAIR if case_id != CASES[0] else FROM_THE_FIRST):
                yield from (Cell(case_id, point, mode) for mode in modes)
        if case_id in PAYING:
            yield from _where_it_pays_twice(case_id, modes)


def _where_it_pays_twice(case_id: str, modes: Sequence[str]) -> Iterator[Cell]:
    """Yield the cells of a paying case's repair at a bank that does not de-duplicate."""
    for point in failpoints.declared():
        cell = Cell(case_id, point, "", is_in_repair=True, deduplicates=False)
        is_passed = not (cell.is_for_a_person and point.startswith(BEHIND_THE_CLAIM))
        if is_on_the_way(case_id, point) and is_passed and not point.startswith(BEFORE_THE_REPAIR):
            yield from (replace(cell, mode=mode) for mode in modes)


def quiet_cells(case_ids: Sequence[str] = CASES) -> Iterator[Cell]:
    """Yield a cell of each case in which nothing fails; of a paying one also at a bank that pays twice."""
    for case_id in case_ids:
        yield Cell(case_id, "", "", is_in_repair=True)
        if case_id in PAYING:
            yield Cell(case_id, "", "", is_in_repair=True, deduplicates=False)


def every_moment(workshop: Workshop, case_ids: Sequence[str] = CASES) -> Iterator[Cell]:
    """Yield the moments of the repairs of some cases, in each mode. A quiet schedule counts them first."""
    for quiet in quiet_cells(case_ids):
        for number in range(1, count_moments(workshop, quiet) + 1):
            yield from (replace(quiet, mode=mode, occurrence=number) for mode in MODES)


def count_moments(workshop: Workshop, quiet: Cell) -> int:
    """Return how many points a quiet repair passes, from its command until its result is acknowledged."""
    policy = Counting(REPAIR_FROM, REPAIR_FROM + REPAIR_SECONDS)
    with Schedule(workshop, quiet.seed, draw_for(quiet), policy).running():
        return policy.passed


def run_cell(workshop: Workshop, cell: Cell) -> Outcome:
    """Run one cell to its end; a point that was not reached is a violation of the cell itself.

    After one fault the trade is repaired: that a person has it then would be too much caution. At a bank that
    does not de-duplicate it may be theirs.
    """
    is_crowded = cell.point.startswith(CROWDED)
    since = REPAIR_FROM if cell.is_in_repair else 0.0
    policy = CellPolicy(cell.point, cell.mode, cell.occurrence, since=since, is_crowded=is_crowded)
    schedule = Schedule(workshop, cell.seed, draw_for(cell), policy)
    with schedule.running():
        outcome = schedule.outcome(cell.name)
    if cell.deduplicates and (left := sorted(outcome.trades.keys() - MENDED)):
        outcome.violations.append(("I8", f"the trade is {', '.join(left)} after a single fault"))
    if not policy.was_reached:
        outcome.violations.append((UNREACHED, cell.point or f"moment {cell.occurrence}"))
    return outcome


def draw_for(cell: Cell) -> Draw:
    """Return the quiet schedule in which the cell's point is reached."""
    plain = Draw(
        cases=(cell.case_id,), rough_seconds=ROUGH_SECONDS, healthy=1, deduplicates=cell.deduplicates
    )
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
