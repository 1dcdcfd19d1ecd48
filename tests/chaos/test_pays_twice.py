"""At a bank that does not de-duplicate nothing is asked for twice: what is in doubt is for a person."""

import sqlite3
from contextlib import closing

import pytest

from chaos.simulation.bank import PAYOUTS, BankLine
from chaos.simulation.cells import MAY_STILL_ARRIVE, MODES, PAYING, Cell, draw_for, every_cell
from chaos.simulation.schedule import Schedule
from chaos.simulation.workshop import Workshop
from chaos.trying import cell_of


def quiet(workshop: Workshop, case_id: str) -> Schedule:
    """A case in which no point fails."""
    cell = Cell(case_id, "", "", deduplicates=False)
    return Schedule(workshop, 1, draw_for(cell))


def states(workshop: Workshop) -> list[str]:
    """How the trades stand."""
    with closing(sqlite3.connect(workshop.run / "piculus.db")) as server:
        return [state for (state,) in server.execute("SELECT state FROM anomaly")]


@pytest.mark.parametrize("case_id", sorted(MAY_STILL_ARRIVE))
def test_what_was_asked_for_and_may_still_arrive_is_for_a_person(workshop: Workshop, case_id: str) -> None:
    schedule = quiet(workshop, case_id)
    with schedule.running():
        assert schedule.outcome().violations == []
        assert states(workshop) == ["needs_human"]
        assert schedule.world.payouts(schedule.loaded[0].trade_no) == []


@pytest.mark.parametrize("case_id", sorted(PAYING - MAY_STILL_ARRIVE))
def test_a_request_whose_reply_is_lost_is_for_a_person(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, case_id: str
) -> None:
    def lose(line: BankLine, url: str) -> str:
        return "lost before" if url == PAYOUTS else ""

    monkeypatch.setattr(BankLine, "_fault", lose)
    schedule = quiet(workshop, case_id)
    with schedule.running():
        assert len(schedule.teller.numbers) == 1
        assert schedule.outcome().violations == []
        assert states(workshop) == ["needs_human"]


def test_each_point_of_a_repair_that_pays_there_is_failed_in_each_mode() -> None:
    cells = [cell for cell in every_cell() if not cell.deduplicates]
    assert {cell.case_id for cell in cells} == PAYING
    assert {(cell.point, cell.mode) for cell in cells if cell.case_id == "S7a"} >= {
        (f"bank.pay.{moment}", mode) for moment in ("before", "after") for mode in MODES
    }


@pytest.mark.parametrize("name", ["S7a moment 12 kill (pays twice)", "S2 moment 3 hang"])
def test_a_moment_is_tried_again_by_the_name_that_a_report_gives_it(name: str) -> None:
    assert cell_of(name).name == name
