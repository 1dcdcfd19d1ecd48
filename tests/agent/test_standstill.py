"""An order that a paused machine took hours ago is not begun: production's clock went on beside its own."""

from datetime import timedelta

import pytest

from agent.fixers import FIXERS
from agent.fixers.order import RepairSettings
from agent.orders import Holder
from agent.protocol import Repair
from agent.standstill import Watch
from agent.work import ProductionWork
from tests.agent.world import Desk, load_case, numbers

LONG: timedelta = timedelta(hours=2)


class Machine:
    """One agent's machine, whose own clock only goes where it is moved."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.own = 1000.0
        self._settings = RepairSettings(
            sys_code="PBAP", clock=desk.production.clock, monotonic=lambda: self.own
        )
        self._work = ProductionWork("pbap-1", desk.production.ports, self._settings, FIXERS)

    def pass_by(self, by: timedelta) -> None:
        """Time goes on for everybody."""
        self.own += by.total_seconds()
        self.desk.production.clock.at += by

    def pause(self, by: timedelta) -> None:
        """Time goes on for all but this machine."""
        self.desk.production.clock.at += by

    def attempt(self, trade_no: str, code: str, fence: int, given_at: float) -> tuple[str, str]:
        """Carry out an order, and return its outcome and reason."""
        row_hash = self.desk.production.trade(trade_no).row_hash
        order = Repair(
            id=f"r.{fence}",
            command_id="r",
            trade_no=trade_no,
            fixer_code=code,
            row_hash=row_hash,
            fence=fence,
            deadline_ms=600_000,
        )
        holder = Holder("boot-1", (), given_at)
        report = self._work.repair(order, "r", holder, lambda _: None, self.desk.cancellation)
        return report.outcome, report.reason


@pytest.mark.parametrize("case_id", ["S1", "S2", "S7b"])
def test_an_order_taken_before_the_machine_was_paused_moves_nothing(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    machine = Machine(desk)
    given_at = machine.own
    before = numbers(desk), desk.production.balance(trade_no), desk.production.trades.row(trade_no)
    machine.pause(LONG)
    assert machine.attempt(trade_no, code, 1, given_at) == (
        "unknown",
        "the agent stood still before an effect",
    )
    assert (numbers(desk), desk.production.balance(trade_no), desk.production.trades.row(trade_no)) == before


def test_an_order_given_after_it_woke_is_carried_out() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    machine = Machine(desk)
    machine.pause(LONG)
    assert machine.attempt(trade_no, code, 1, machine.own)[0] == "unknown"
    machine.pass_by(timedelta(seconds=1))
    assert machine.attempt(trade_no, code, 2, machine.own)[0] == "repaired"


def test_an_order_that_waited_while_time_went_on_for_all_is_carried_out() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    machine = Machine(desk)
    given_at = machine.own
    machine.pass_by(timedelta(minutes=9))
    assert machine.attempt(trade_no, code, 1, given_at)[0] == "repaired"


def test_clocks_that_part_slowly_are_no_standstill() -> None:
    watch, start = Watch(), Desk().production.clock()
    watch.note(start, 0.0)
    watch.note(start + timedelta(days=3, seconds=60), timedelta(days=3).total_seconds())
    assert not watch.has_stood_still_since(0.0)


@pytest.mark.parametrize("seconds", [31, -31])
def test_a_clock_that_leaves_the_other_behind_is_one_until_that_moment(seconds: int) -> None:
    watch, start = Watch(), Desk().production.clock()
    watch.note(start, 0.0)
    watch.note(start + timedelta(seconds=10 + seconds), 10.0)
    watch.note(start + timedelta(seconds=20 + seconds), 20.0)
    assert [watch.has_stood_still_since(own) for own in (0.0, 10.0, 10.1)] == [True, True, False]
