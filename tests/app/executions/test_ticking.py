"""Ticks: which anomalies get an attempt, that each due time is taken once, and what time alone decides."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.agents.models import Command
from app.anomalies.models import Anomaly, CollectionRun
from app.anomalies.service import WAITING_FIRST
from app.executions import limits, scheduler, ticking
from app.executions.models import Attempt
from app.executions.scheduler import Scheduler
from app.executions.ticking import TickPage
from app.extensions import db
from app.plans import ticks
from app.plans.models import CollectionSchedule, Plan, Tick
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.conftest import HandClock
from tests.factories import FIXER, NOW, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

TEN_MINUTES = "0 0/10 * * * ?"


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    group = make_group(session)
    make_agent(session, group)
    return group


def tick(session: WorkSession, plan: Plan) -> Tick:
    """Run the plan's due tick to its end."""
    (due,) = ticks.due_plans(session, NOW)
    page = ticking.begin_plan_tick(session, due, NOW)
    while page is not None and page.last_id is not None:
        page = ticking.attempt_tick_page(session, page, NOW)
    session.flush()
    return session.scalars(select(Tick).where(Tick.subject_id == plan.id)).one()


def commands_by_trade(session: WorkSession) -> dict[str | None, str]:
    return {command.trade_no: command.type for command in session.scalars(select(Command))}


def test_a_tick_attempts_open_anomalies_and_verifies_waiting_ones(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, level=2)
    for state in ("open", "waiting", "exhausted", "needs_human", "repaired", "ignored"):
        make_anomaly(session, group, state=state, trade_no=f"T-{state}")
    make_anomaly(session, group, trade_no="T-other", fixer_code="withdrawTimeoutFixServiceImpl")
    assert tick(session, plan).commands == 2
    assert commands_by_trade(session) == {"T-open": "Repair", "T-waiting": "Verify"}
    priorities = {command.type: command.priority for command in session.scalars(select(Command))}
    assert priorities == {"Repair": 2, "Verify": WAITING_FIRST}


def test_a_repair_command_carries_no_payee_and_only_the_amount_it_was_judged_by(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    anomaly = make_anomaly(session, group)
    tick(session, plan)
    message = session.scalars(select(Command)).one().message
    assert message == {
        "trade_no": anomaly.trade_no,
        "fixer_code": plan.fixer_code,
        "row_hash": "hash-1",
        "max_amount_minor": anomaly.amount_minor,
    }


def test_a_tick_exhausts_what_has_no_attempt_left(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, max_retries=1)
    make_anomaly(session, group, trade_no="T-left", failed_attempts=1)
    spent = make_anomaly(session, group, trade_no="T-spent", failed_attempts=2)
    make_anomaly(session, group, trade_no="T-paid", failed_attempts=2, has_moved_money=True)
    tick(session, plan)
    assert set(commands_by_trade(session)) == {"T-left", "T-paid"}
    assert spent.state == "exhausted"


def test_what_waits_is_verified_though_no_attempt_is_left(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, max_retries=0)
    make_anomaly(session, group, trade_no="T-clicked", state="waiting", failed_attempts=1)
    tick(session, plan)
    assert commands_by_trade(session) == {"T-clicked": "Verify"}


def test_a_click_that_has_moved_money_is_gone_on_with_without_another(
    session: WorkSession, group: SystemGroup
) -> None:
    make_plan(session, group, mode="manual")
    make_anomaly(session, group, trade_no="T-new")
    make_anomaly(session, group, trade_no="T-paid", has_moved_money=True)
    make_anomaly(session, group, trade_no="T-lost", has_moved_money=True, state="waiting")
    assert ticking.resume_clicked(session, NOW) == 2
    session.flush()
    assert commands_by_trade(session) == {"T-paid": "Repair", "T-lost": "Verify"}


def test_a_disabled_plan_goes_on_with_nothing(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, mode="manual", state="disabled")
    make_anomaly(session, group, trade_no="T-paid", has_moved_money=True)
    assert ticking.resume_clicked(session, NOW) == 0


def test_a_waiting_trade_is_not_asked_about_at_every_tick(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group)
    make_anomaly(session, group, state="waiting")
    for seconds in (0, 15, 31):
        page = TickPage(tick(session, plan).id if seconds == 0 else 1, plan.id, 0)
        ticking.attempt_tick_page(session, page, NOW + timedelta(seconds=seconds))
        session.execute(update(Command).values(state="finished"))
    asked = session.scalars(select(Command.created_at).order_by(Command.seq)).all()
    assert asked == [NOW, NOW + timedelta(seconds=31)]


def test_a_tick_pages_through_more_than_one_page(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "PAGE", 3)
    plan = make_plan(session, group)
    for _each in range(8):
        make_anomaly(session, group)
    assert tick(session, plan).commands == 8
    assert {state for (state,) in session.execute(select(Anomaly.state))} == {"repairing"}


def test_nothing_is_attempted_or_spent_while_no_online_agent_offers_the_fixer(session: WorkSession) -> None:
    group = make_group(session)
    make_agent(session, group, codes=("withdrawTimeoutFixServiceImpl",))
    make_agent(session, group, is_online=False)
    plan = make_plan(session, group)
    anomaly = make_anomaly(session, group)
    assert tick(session, plan).commands == 0
    assert (anomaly.state, anomaly.attempts) == ("open", 0)


@pytest.mark.parametrize("columns", [{"mode": "manual"}, {"state": "disabled"}])
def test_a_manual_or_disabled_plan_is_never_due(
    session: WorkSession, group: SystemGroup, columns: dict[str, str]
) -> None:
    make_plan(session, group, **columns)
    assert ticks.due_plans(session, NOW) == []


def test_missed_ticks_run_once_and_are_counted(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, retry_cron=TEN_MINUTES, next_due_at=NOW - timedelta(minutes=35))
    done = tick(session, plan)
    session.refresh(plan)
    assert (done.due_at, done.missed) == (NOW, 4)
    assert plan.next_due_at == NOW + timedelta(minutes=10)


def test_two_servers_cannot_both_run_a_tick(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, retry_cron=TEN_MINUTES)
    (due,) = ticks.due_plans(session, NOW)
    assert ticks.claim(session, due, NOW) is not None
    assert ticks.claim(session, due, NOW) is None
    assert len(session.scalars(select(Tick)).all()) == 1


def test_a_plan_disabled_between_two_pages_sends_no_more(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group)
    make_anomaly(session, group)
    (due,) = ticks.due_plans(session, NOW)
    page = ticking.begin_plan_tick(session, due, NOW)
    plan.state = "disabled"
    session.flush()
    assert page is not None
    assert ticking.attempt_tick_page(session, page, NOW) == TickPage(page.tick_id, plan.id, None)
    assert commands_by_trade(session) == {}


def make_schedule(session: WorkSession, group: SystemGroup, **columns: object) -> CollectionSchedule:
    values = {"cron": TEN_MINUTES, "next_due_at": NOW, "updated_at": NOW, "updated_by": "li.na"}
    schedule = CollectionSchedule(group_id=group.id, **(values | columns))
    session.add(schedule)
    session.flush()
    return schedule


def test_a_due_schedule_starts_a_collection_of_its_window(session: WorkSession, group: SystemGroup) -> None:
    make_schedule(session, group, window_hours=24)
    (due,) = ticks.due_schedules(session, NOW)
    run = ticking.run_schedule_tick(session, due, NOW)
    assert run is not None
    assert (run.trigger, run.state, run.window_start) == ("cron", "running", NOW - timedelta(hours=24))


def test_what_is_no_fixer_code_keeps_no_group_from_being_collected(
    session: WorkSession, group: SystemGroup
) -> None:
    make_agent(session, group, codes=("Not a code!", "x"))
    make_schedule(session, group)
    (due,) = ticks.due_schedules(session, NOW)
    run = ticking.run_schedule_tick(session, due, NOW)
    assert run is not None
    assert "x" in run.fixer_codes
    assert "Not a code!" not in run.fixer_codes


def test_a_due_schedule_waits_while_a_run_of_the_group_lives(
    session: WorkSession, group: SystemGroup
) -> None:
    schedule = make_schedule(session, group)
    for _each in range(2):
        schedule.next_due_at = NOW
        session.flush()
        session.execute(update(Tick).values(due_at=NOW - timedelta(days=1)))
        (due,) = ticks.due_schedules(session, NOW)
        ticking.run_schedule_tick(session, due, NOW)
        session.refresh(schedule)
    assert len(session.scalars(select(CollectionRun)).unique().all()) == 1


def test_the_first_collection_waits_for_all_agents_or_five_seconds(session: WorkSession) -> None:
    group = make_group(session)
    make_schedule(session, group, runs_on_first_connect=True)
    assert ticking.start_first_collections(session, NOW) == 0
    make_agent(session, group)
    late = make_agent(session, group, is_online=False)
    assert ticking.start_first_collections(session, NOW + timedelta(seconds=4)) == 0
    late.connected_at = late.last_seen_at = NOW + timedelta(seconds=4)
    session.flush()
    assert ticking.start_first_collections(session, NOW + timedelta(seconds=4)) == 1
    assert ticking.start_first_collections(session, NOW + timedelta(seconds=9)) == 0
    run = session.scalars(select(CollectionRun)).unique().one()
    assert (run.trigger, run.shards) == ("first_start", 2)


def test_the_first_collection_does_not_wait_until_a_clock_that_was_put_back_has_caught_up(
    session: WorkSession,
) -> None:
    group = make_group(session)
    make_schedule(session, group, runs_on_first_connect=True)
    make_agent(session, group, connected_at=NOW + timedelta(days=1))
    make_agent(session, group, is_online=False)
    assert ticking.start_first_collections(session, NOW) == 1


def test_a_group_collected_by_its_cron_needs_no_first_collection(
    session: WorkSession, group: SystemGroup
) -> None:
    make_schedule(session, group, runs_on_first_connect=True, next_due_at=NOW)
    (due,) = ticks.due_schedules(session, NOW)
    run = ticking.run_schedule_tick(session, due, NOW)
    assert run is not None
    assert ticking.start_first_collections(session, NOW) == 0
    run.state = "finished"
    session.flush()
    assert ticking.start_first_collections(session, NOW) == 0
    run.state = "failed"
    session.flush()
    assert ticking.start_first_collections(session, NOW) == 1


@pytest.mark.parametrize(
    ("columns", "state", "reason"),
    [
        (
            {"state": "waiting", "waiting_since": NOW - timedelta(days=11)},
            "needs_human",
            "waited_too_long",
        ),
        ({"state": "waiting", "waiting_since": NOW - timedelta(days=9)}, "waiting", ""),
        (
            {"has_moved_money": True, "money_moved_at": NOW - timedelta(hours=25)},
            "needs_human",
            "money_moved_too_long",
        ),
        ({"has_moved_money": True, "money_moved_at": NOW - timedelta(hours=23)}, "open", ""),
        (
            {
                "state": "repairing",
                "has_moved_money": True,
                "money_moved_at": NOW - timedelta(hours=25),
            },
            "repairing",
            "",
        ),
    ],
)
def test_time_limits_hand_over_to_a_person(
    session: WorkSession, group: SystemGroup, columns: dict[str, object], state: str, reason: str
) -> None:
    anomaly = make_anomaly(session, group, **columns)
    limits.apply_limits(session, NOW)
    session.flush()
    session.expire_all()
    assert (anomaly.state, anomaly.reason) == (state, reason)


def test_a_round_of_the_scheduler_attempts_what_is_due(app: Flask, clock: HandClock) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        make_anomaly(session, group)
    Scheduler(app).run_round()
    attempt = db.session.scalars(select(Attempt)).unique().one()
    assert (attempt.trigger, attempt.outcome, attempt.created_at) == ("tick", None, clock.now)


def test_each_page_of_a_tick_that_takes_long_goes_by_its_own_time(
    app: Flask, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        for code in (FIXER, "withdrawTimeoutFixServiceImpl"):
            make_plan(session, group, fixer_code=code)
            make_anomaly(session, group, fixer_code=code)
            make_anomaly(session, group, fixer_code=code)
    attempt_page = ticking.attempt_tick_page

    def take_long(session: WorkSession, page: TickPage, now: datetime) -> TickPage:
        following = attempt_page(session, page, now)
        clock.advance(1)
        return following

    monkeypatch.setattr(ticking, "attempt_tick_page", take_long)
    monkeypatch.setattr(ticking, "PAGE", 1)
    begun = clock.now
    Scheduler(app).run_round()
    dates = db.session.scalars(select(Attempt.created_at).order_by(Attempt.id)).all()
    assert [(one - begun).seconds for one in dates] == [0, 1, 3, 4]


def test_a_failing_part_does_not_stop_the_others(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_session: object, _now: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("app.executions.scheduler.overdue.has_work", fail)
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        make_anomaly(session, group)
    Scheduler(app).run_round()
    assert db.session.scalars(select(Attempt)).unique().one().trigger == "tick"


def test_a_plan_whose_tick_fails_does_not_hold_up_those_after_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        broken = make_plan(session, group, fixer_code="withdrawTimeoutFixServiceImpl").id
        make_anomaly(session, group, trade_no="T0", fixer_code="withdrawTimeoutFixServiceImpl")
        make_plan(session, group)
        make_anomaly(session, group)
    begin = ticking.begin_plan_tick

    def fail_once(session: WorkSession, due: ticks.Due, now: datetime) -> TickPage | None:
        if due.subject_id == broken:
            raise RuntimeError("broken")
        return begin(session, due, now)

    monkeypatch.setattr(ticking, "begin_plan_tick", fail_once)
    Scheduler(app).run_round()
    assert db.session.scalars(select(Attempt)).unique().one().trigger == "tick"


def test_plans_with_nothing_to_attempt_pass_their_due_times_together(app: Flask) -> None:
    codes = ("withdrawTimeoutFixServiceImpl", "rechargeTimeoutFixServiceImpl")
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        idle = [make_plan(session, group, fixer_code=code, next_due_at=NOW).id for code in codes]
        busy = make_plan(session, group, next_due_at=NOW).id
        make_anomaly(session, group)
        make_anomaly(session, group, trade_no="T0", fixer_code=codes[0], state="needs_human")
    scheduler.run_due_plans(NOW)
    ticks_of = {tick.subject_id: tick.commands for tick in db.session.scalars(select(Tick))}
    assert ticks_of == {idle[0]: 0, idle[1]: 0, busy: 1}
    assert all(plan.next_due_at > NOW for plan in db.session.scalars(select(Plan)).unique())
