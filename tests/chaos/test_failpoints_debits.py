"""Every failpoint in the repair of withdrawals not debited or not paid: death, failure and hanging there."""

import pytest

from chaos.simulation.cells import Cell
from chaos.simulation.workshop import Workshop
from tests.chaos.cell_checks import cells, check, named


@pytest.mark.parametrize("cell", cells("S2", "S3", "S8"), ids=named)
def test_nothing_is_lost_doubled_or_stuck(workshop: Workshop, cell: Cell) -> None:
    check(workshop, cell)
