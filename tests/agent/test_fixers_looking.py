"""What a look foretells beside the row: the steps, and that a finished repair of ours is not in flight."""

import pytest

from agent.fixers import FIXERS
from agent.fixers.base import verify
from tests.agent.world import CASES, Desk, load_case


@pytest.mark.parametrize("case_id", CASES)
def test_a_look_names_the_steps_a_repair_then_takes(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    foretold = verify(trade_no, desk.production.ports, desk.settings)
    assert foretold.steps
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.trades.repairs[trade_no].plan == foretold.steps


def test_a_look_names_no_steps_where_nothing_is_to_be_repaired_or_nobody_offers_it() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    others = {other: fixer for other, fixer in FIXERS.items() if other != code}
    assert verify(trade_no, desk.production.ports, desk.settings, others).steps == ()
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert verify(trade_no, desk.production.ports, desk.settings).steps == ()


@pytest.mark.parametrize("case_id", CASES)
def test_a_row_that_our_finished_repair_has_just_written_is_consistent_at_once(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.attempt(trade_no, code)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "consistent"


def test_a_row_changed_after_our_repair_is_in_flight_again() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    desk.attempt(trade_no, code)
    desk.production.trades._stored(trade_no)[0].row["FAILED_MSG"] = "生产改写"
    seen = verify(trade_no, desk.production.ports, desk.settings)
    assert (seen.outcome, seen.reason) == ("wait", "in flight")


def test_a_fresh_row_without_a_repair_of_ours_is_in_flight() -> None:
    desk = Desk()
    trade_no, _code = load_case(desk, "S1")
    desk.production.trades._stored(trade_no)[0].updated_at = desk.production.clock()
    assert verify(trade_no, desk.production.ports, desk.settings).reason == "in flight"
