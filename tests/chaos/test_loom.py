"""The loom: time moves whatever the strands wait for, and work in circles is found out."""

import random

import pytest

from chaos.simulation.draws import Draw
from chaos.simulation.loom import Loom, StandstillError
from chaos.simulation.schedule import Schedule
from chaos.simulation.workshop import Workshop


class StillClock:
    """A clock nobody looks at."""

    def shift(self, delta: float) -> None:
        """Do nothing."""


class Forever:
    """Whose strands they are; it never dies."""

    name = "forever"
    is_dead = False


@pytest.fixture
def loom() -> Loom:
    """A loom without a schedule."""
    return Loom(random.Random(1), StillClock())


def test_time_moves_by_a_wait_too_short_for_a_clock_that_has_run_long(loom: Loom) -> None:
    """A machine that was paused reckons on a clock that is behind: what is left there to wait is finer."""
    loom.leap(100_000.0)
    behind = 99_000.0
    due = loom.monotonic() - behind + 1e-13
    assert loom.monotonic() + 1e-13 == loom.monotonic()

    def wait_until_due() -> None:
        while loom.monotonic() - behind < due:
            loom.sleep(due - (loom.monotonic() - behind))

    strand = loom.spawn(Forever(), "waits", wait_until_due)
    loom.run(loom.seconds + 1.0)
    assert strand.is_over


def test_work_that_goes_round_in_circles_is_found_out(loom: Loom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.simulation.loom.MOST_AT_A_MOMENT", 1_000)

    def circle() -> None:
        while True:
            loom.give_way()

    loom.spawn(Forever(), "circles", circle)
    with pytest.raises(StandstillError, match="circles"):
        loom.run(1.0)


def test_a_schedule_in_which_time_stands_still_is_a_violation(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaos.simulation.loom.MOST_AT_A_MOMENT", 5)
    schedule = Schedule(workshop, 1, Draw(cases=("S2",), rough_seconds=90.0))
    with schedule.running():
        outcome = schedule.outcome()
    assert any(name == "I8" and "time stands still" in text for name, text in outcome.violations)
