"""Every moment of a repair: a fault at each point that it passes, each time that it passes it."""

import os
from dataclasses import replace

import pytest

from chaos.simulation.cells import CASES, Cell, count_moments, quiet_cells, run_cell
from chaos.simulation.faults import MODES
from chaos.simulation.workshop import Workshop
from tests.chaos.cell_checks import EVERY_CELL, check

STRIDE = 1 if os.environ.get(EVERY_CELL) else 10
"""Of so many moments one is tried here, each in one mode in turn; ``python -m chaos --moments`` tries all."""


@pytest.mark.parametrize(
    "quiet", quiet_cells(), ids=lambda one: one.case_id + ("" if one.deduplicates else "-pays-twice")
)
def test_nothing_is_lost_doubled_or_stuck_whatever_the_moment(workshop: Workshop, quiet: Cell) -> None:
    count = count_moments(workshop, quiet)
    assert count > (20 if quiet.is_for_a_person else 100)
    turn = CASES.index(quiet.case_id)
    for number in range(1 + turn % STRIDE, count + 1, STRIDE):
        mode = MODES[(turn + number // STRIDE) % len(MODES)]
        check(workshop, replace(quiet, mode=mode, occurrence=number))


def test_moments_begin_with_the_command_of_the_repair_and_end_behind_its_result(workshop: Workshop) -> None:
    """Each one fails another point, in the order in which the repair passes them."""
    count = count_moments(workshop, Cell("S2", "", ""))
    failed = {}
    for number in (1, count // 2, count):
        outcome = run_cell(workshop, Cell("S2", "", "raise", number, is_in_repair=True))
        (failed[number],) = (line.strip() for line in outcome.trace if "raise at" in line)
    moments = [float(line.split()[0]) for line in failed.values()]
    assert moments == sorted(moments)
    assert moments[0] == 60.0
    assert 60.0 < moments[1] < moments[2] < 64.0


def test_a_moment_that_never_comes_is_told(workshop: Workshop) -> None:
    outcome = run_cell(workshop, Cell("S2", "", "kill", 100_000, is_in_repair=True))
    assert outcome.violations == [("unreached", "moment 100000")]
