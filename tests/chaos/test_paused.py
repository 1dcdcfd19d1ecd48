"""A machine that is paused amid a repair, its own clock with it, while others go on with the trade."""

import pytest

from chaos.simulation.draws import Draw
from chaos.simulation.schedule import Schedule
from chaos.simulation.workshop import Workshop


@pytest.mark.parametrize("case_id", ["S1", "S2", "S3", "S7a"])
def test_an_agent_whose_machine_is_paused_amid_a_repair_breaks_nothing(
    workshop: Workshop, case_id: str
) -> None:
    paused = Draw(cases=(case_id,), agents=2, rough_seconds=100.0, troubles=("machine paused",))
    schedule = Schedule(workshop, 1, paused)
    with schedule.running():
        outcome = schedule.outcome()
    assert any(" is paused for " in line for line in outcome.trace)
    assert outcome.violations == [], "\n".join(outcome.trace)
