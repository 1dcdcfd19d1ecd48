"""Clocks a day off, clocks that run backwards, summer time, ticks that overlap, hours without a server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
from sqlalchemy import select

from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.anomalies.service import order_verify
from app.executions import scheduler
from app.extensions import db
from app.plans import ticks
from app.plans.models import Plan
from app.plans.quartz import next_fire_time
from app.unit_of_work import WorkSession, unit_of_work
from tests.app.machines.server_machine import result_of
from tests.app.machines.stage import Stage
from tests.faults.conftest import Scene
from tests.faults.staged_agent import Killed, RealScene

DAY = timedelta(days=1).total_seconds()


def fail_all(scene: Scene) -> None:
    for agent, command_id in scene.held():
        agent.begin(command_id)
        agent.finish(command_id, result_of(agent, command_id, "cancelled"))


def attempts(scene: Scene) -> int:
    ((count,),) = scene.stage.rows("SELECT count(*) FROM attempt")
    return int(count)


def test_a_server_clock_put_back_by_a_day_does_not_hold_up_plans(scene: Scene) -> None:
    """It ran a day ahead and claimed due times there: put right, the next tick comes in two minutes."""
    scene.break_trade()
    scene.pass_time(DAY)
    fail_all(scene)
    assert attempts(scene) == 1
    scene.stage.clock.advance(-DAY)
    for _ in range(3):
        scene.pass_time(125)
        fail_all(scene)
    assert attempts(scene) >= 3
    assert not scene.stage.complaints.told


def test_due_times_that_come_a_second_time_run_again(scene: Scene) -> None:
    """The clock ran three hours ahead, ticking: what is due there later on is not refused as a repetition."""
    scene.break_trade()
    for _ in range(4):
        scene.pass_time(120)
        fail_all(scene)
    before = attempts(scene)
    scene.stage.clock.advance(-480)
    for _ in range(4):
        scene.pass_time(120)
        fail_all(scene)
    assert attempts(scene) > before
    assert not scene.stage.complaints.told


def test_a_lease_given_by_a_clock_ahead_does_not_outlive_its_agent(scene: Scene) -> None:
    """The clock is put back by a day while a repair is held: its lost agent is noticed within a minute."""
    trade_no = scene.break_trade()
    scene.stage.clock.advance(DAY)
    scene.pass_time(1)
    ((lost, command_id),) = scene.held()
    scene.stage.clock.advance(-DAY)
    lost.die(is_noticed=True)
    (other,) = [agent for agent in scene.agents if agent is not lost]
    for _ in range(3):
        scene.pass_time(61)
    other.begin(command_id)
    other.finish(command_id, result_of(other, command_id, "repaired"))
    assert scene.state_of(trade_no) == "repaired"


@pytest.mark.parametrize("mode", ["auto", "manual"])
def test_what_is_unknown_since_a_clock_ahead_is_verified_once_it_is_put_back(stage: Stage, mode: str) -> None:
    """A repair ended unknown, and was asked about, by a clock a day ahead: it is asked about again."""
    scene = Scene(stage, mode=mode)
    ahead = stage.clock() + timedelta(days=1)
    trade_no = scene.break_trade(
        state="waiting", unknown_since=ahead, waiting_since=ahead, has_moved_money=True, money_moved_at=ahead
    )
    stage.ask(lambda session: _ask_at(session, trade_no, ahead))
    for _ in range(3):
        scene.pass_time(61)
    with unit_of_work() as session:
        anomaly = session.scalars(select(Anomaly)).unique().one()
        dated = (anomaly.unknown_since, anomaly.waiting_since, anomaly.money_moved_at)
        asked = select(Command.created_at).where(Command.type == "Verify", Command.state != "finished")
        assert all(at is not None and at <= stage.clock() for at in dated)
        assert [at <= stage.clock() for at in session.scalars(asked)] == [True]


def _ask_at(session: WorkSession, trade_no: str, at: datetime) -> None:
    """A Verify was ordered at that time, and answered."""
    order_verify(
        session, session.scalars(select(Anomaly).where(Anomaly.trade_no == trade_no)).unique().one(), at
    )
    session.flush()
    command = session.scalars(select(Command)).one()
    command.state, command.finished_at = "finished", at


@pytest.fixture
def real(stage: Stage, tmp_path: Path) -> Iterator[RealScene]:
    """A broken trade and a real agent."""
    real = RealScene(stage, tmp_path)
    yield real
    real.agent.leave()


def wrong_clock(real: RealScene, days: int) -> time_machine.travel:
    """The agent's host is so many days off; server and production have clocks of their own."""
    return time_machine.travel(real.stage.clock() + timedelta(days=days), tick=False)


@pytest.mark.parametrize("days", [-1, 1])
def test_an_agent_whose_clock_is_a_day_off_is_told_of_and_repairs(real: RealScene, days: int) -> None:
    """Deadlines travel as time left; of the agent's clock only the difference is shown."""
    with wrong_clock(real, days):
        real.agent.beat()
        real.stage.dispatch()
        assert real.stage.rows("SELECT skew_ms FROM agent") == [(days * 86_400_000,)]
        real.order()
        real.go_on()
    assert real.effects() == {"postings": 1, "payouts": 1, "rows written": 1}
    assert (real.state(), real.attempts()) == ("repaired", [(1, "repaired")])


@pytest.mark.parametrize("days", [-1, 1])
def test_an_agent_whose_clock_is_set_by_a_day_while_it_is_down_goes_on(real: RealScene, days: int) -> None:
    """It died with the customer debited; by its own clock the order is a day old, or of tomorrow."""
    with wrong_clock(real, 0):
        real.order()
        real.agent.read()
        real.desk.production.faults.down("bank.pay", "before", Killed())
        with pytest.raises(Killed):
            real.agent.work()
    with wrong_clock(real, days):
        real.kill_both()
        real.go_on()
    assert real.effects() == {"postings": 1, "payouts": 1, "rows written": 1}
    assert (real.state(), real.attempts()) == ("repaired", [(1, "repaired")])


def test_an_agent_whose_clock_is_a_day_ahead_leaves_alone_what_is_in_flight(real: RealScene) -> None:
    """Production changed the row a minute ago, by its own clock."""
    production = real.desk.production
    production.trades._stored(real.trade_no)[0].updated_at = production.clock() - timedelta(minutes=1)
    with wrong_clock(real, 1):
        real.order()
        real.go_on()
    assert real.effects() == {"postings": 0, "payouts": 0, "rows written": 0}
    assert real.attempts() == [(1, "wait")]


@pytest.mark.parametrize(("day", "utc_hours"), [((2026, 3, 29), None), ((2026, 10, 25), 1)])
def test_a_plan_of_half_past_two_runs_once_a_day_over_a_change_of_the_clocks(
    scene: Scene, day: tuple[int, int, int], utc_hours: int | None
) -> None:
    """In Berlin 02:30 is skipped in spring and comes twice in autumn: not that day, and then once."""
    scene.stage.ask(lambda session: _set_plan(session, "0 30 2 * * ?", "Europe/Berlin", day))
    noon = datetime(*day, 12, tzinfo=UTC) - timedelta(days=1)
    scene.stage.clock.now = noon
    due_at = []
    for _ in range(72):
        scene.stage.clock.advance(1800)
        scene.stage.tick()
    for (at,) in scene.stage.rows("SELECT due_at FROM tick WHERE subject = 'plan' ORDER BY due_at"):
        due_at.append(datetime.fromisoformat(str(at)).replace(tzinfo=UTC))
    on_the_day = [at for at in due_at if at.astimezone(ZoneInfo("Europe/Berlin")).date().day == day[2]]
    assert [at.hour for at in on_the_day] == ([] if utc_hours is None else [utc_hours])


def _set_plan(session: WorkSession, cron: str, zone: str, day: tuple[int, int, int]) -> None:
    plan = session.scalars(select(Plan)).one()
    plan.retry_cron, plan.zone = cron, zone
    plan.next_due_at = next_fire_time(cron, zone, datetime(*day, 12, tzinfo=UTC) - timedelta(days=1))


def test_a_tick_that_overlaps_itself_attempts_once(scene: Scene) -> None:
    """Two rounds saw the same due time, and one was slow: its attempt would be a second one of that time."""
    scene.break_trade()
    now = scene.stage.clock()
    (seen_by_both,) = ticks.due_plans(db.session, now)
    db.session.remove()
    scheduler._run_due_plan(seen_by_both, now)
    scene.go_on()
    fail_all(scene)
    assert scene.stage.rows("SELECT state FROM anomaly") == [("open",)]
    scheduler._run_due_plan(seen_by_both, now)
    scheduler.Scheduler(scene.stage.app).run_round()
    assert attempts(scene) == 1
    assert scene.stage.rows("SELECT count(*) FROM tick WHERE subject = 'plan'") == [(1,)]


def test_three_hours_without_a_server_are_one_tick_and_counted(scene: Scene) -> None:
    """Ninety due times were missed: they run once together, and the plan's page shows how many."""
    scene.stage.tick()
    scene.break_trade()
    scene.pass_time(3 * 3600)
    assert attempts(scene) == 1
    ((missed,),) = scene.stage.rows("SELECT max(missed) FROM tick WHERE subject = 'plan'")
    assert missed == 89
