"""What the tests of the failpoints share: which cells to run, and one cell's check."""

import os
from collections.abc import Iterator, Sequence
from typing import Final

from agent import failpoints
from chaos.simulation import schedule as _all_of_agent_and_server  # noqa: F401 - declares every point
from chaos.simulation.cells import CASES, Cell, every_cell, run_cell
from chaos.simulation.faults import MODES
from chaos.simulation.workshop import Workshop

EVERY_CELL: Final = "PICULUS_EVERY_CELL"
"""Set, all modes of each point are run, as ``make chaos`` does; else one, in turn over points and cases."""


def cells(*case_ids: str) -> list[Cell]:
    """The cells to be run for some cases."""
    return list(_chosen(case_ids))


def _chosen(case_ids: Sequence[str]) -> Iterator[Cell]:
    for cell in every_cell(case_ids):
        turn = failpoints.declared().index(cell.point) + CASES.index(cell.case_id)
        if os.environ.get(EVERY_CELL) or cell.mode == MODES[turn % len(MODES)]:
            yield cell


def named(cell: Cell) -> str:
    """The name of a cell's test."""
    return cell.name.replace(" ", "-")


def check(workshop: Workshop, cell: Cell) -> None:
    """The point is reached, and whatever happens there, every invariant holds in the end."""
    outcome = run_cell(workshop, cell)
    assert outcome.violations == [], "\n".join(outcome.trace)
