"""What the tests of the failpoints share: which points lie on the way of which case, and one cell's check.

A point that lies on no case's way fails ``test_each_point_lies_on_the_way_of_some_case``; one that is said to
lie on a case's way and is not reached there fails that cell.
"""

import os
from collections.abc import Iterator
from typing import Final

import pytest

from agent import failpoints
from chaos.simulation import processes as _all_of_agent_and_server  # noqa: F401 - declares every point
from chaos.simulation.cells import Cell, run_cell
from chaos.simulation.faults import MODES
from chaos.simulation.workshop import Workshop

CASES: Final = ("S1", "S2", "S3", "S4", "S5", "S6", "S7a", "S7b", "S8", "S9")
PAYING: Final = frozenset({"S2", "S3", "S7a", "S7b"})
ONLY_ON_THE_WAY_OF: Final = {
    "bank.pay": PAYING,
    "production.note": PAYING,
    "production.request": frozenset({"S7a", "S7b"}),
    "ledger.reverse": PAYING,
    "ledger.post": frozenset(CASES) - {"S6", "S7a", "S9"},
}
"""Points that not every repair passes: only some cases pay, open a number of their own, or post."""
EVERY_CELL: Final = "PICULUS_EVERY_CELL"
"""Set, all modes of each point are run; else one of them, in turn over points and cases."""


def is_on_the_way(case_id: str, point: str) -> bool:
    """Whether the repair of the case comes to the point."""
    return case_id in ONLY_ON_THE_WAY_OF.get(point.rpartition(".")[0], CASES)


def cells(*case_ids: str) -> Iterator[Cell]:
    """The cells to be run for some cases."""
    for case_id in case_ids:
        for number, point in enumerate(failpoints.declared()):
            turn = (number + CASES.index(case_id)) % len(MODES)
            modes = MODES if os.environ.get(EVERY_CELL) else (MODES[turn],)
            if is_on_the_way(case_id, point):
                yield from (Cell(case_id, point, mode) for mode in modes)


def named(cell: Cell) -> str:
    """The name of a cell's test."""
    return f"{cell.case_id}-{cell.point}-{cell.mode}"


def check(workshop: Workshop, cell: Cell) -> None:
    """The point is reached, and whatever happens there, every invariant holds in the end."""
    found = run_cell(workshop, cell)
    if not found.was_reached:
        pytest.fail(f"{cell.point} was not reached:\n" + "\n".join(found.trace))
    assert found.violations == (), "\n".join(found.trace)
