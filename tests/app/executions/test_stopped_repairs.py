"""Plans and clicks while a stop stands, a repair half done across one, and trades too old to go alone."""

from datetime import datetime, timedelta

import pytest
from flask import current_app
from sqlalchemy import select

from app.agents import stops
from app.agents.claims import assign
from app.agents.hub import AgentSession
from app.agents.models import Command, Stop
from app.agents.stops import Target
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.queries import AnomalyFilter
from app.errors import ConflictError
from app.executions import bulk, bulk_course, limits, results, selection, ticking, verifications
from app.executions.holding_back import TOO_OLD
from app.executions.service import attempt_one, retry_now
from app.executions.starting import Order
from app.plans import ticks
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    make_user,
)

pytestmark = pytest.mark.each_engine

CLICK = Order("click", PERSON, "the customer called", NOW)
LONG_AGO = NOW - timedelta(days=91)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    group = make_group(session)
    make_agent(session, group)
    return group


def stop(session: WorkSession, **target: int) -> Stop:
    return stops.set_stop(
        session, Target(**target), reason="look first", actor=PERSON, group_ids=None, now=NOW
    )


def lift(session: WorkSession, one: Stop, now: datetime = NOW) -> None:
    stops.lift(session, one.id, reason="well", actor=PERSON, group_ids=None, is_admin=True, now=now)


def tick(session: WorkSession, plan: Plan, now: datetime = NOW) -> int:
    """Run the plan's due tick to its end; return how many commands it made."""
    plan.next_due_at = now
    session.flush()
    (due,) = ticks.due_plans(session, now)
    page = ticking.begin_plan_tick(session, due, now)
    while page is not None and page.last_id is not None:
        page = ticking.attempt_tick_page(session, page, now)
    session.flush()
    return len(live(session))


def live(session: WorkSession) -> list[str]:
    """The types of the commands that live, oldest first."""
    found = select(Command.type).where(Command.state.in_(("pending", "running"))).order_by(Command.seq)
    return list(session.scalars(found))


def last_event(session: WorkSession, anomaly: Anomaly) -> AnomalyEvent:
    events = select(AnomalyEvent).where(AnomalyEvent.anomaly_id == anomaly.id)
    return session.scalars(events.order_by(AnomalyEvent.id.desc())).first()  # type: ignore[return-value]


# ---- while a stop stands


def test_a_tick_begins_spends_and_exhausts_nothing_and_still_looks(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    fresh = make_anomaly(session, group)
    spent = make_anomaly(session, group, failed_attempts=1)
    make_anomaly(session, group, state="waiting")
    one = stop(session, group_id=group.id)
    tick(session, plan)
    assert live(session) == ["Verify"]
    assert (fresh.state, spent.state, fresh.attempts) == ("open", "open", 0)
    lift(session, one)
    tick(session, plan, NOW + timedelta(seconds=1))
    assert sorted(live(session)) == ["Repair", "Verify"]
    assert (fresh.state, spent.state) == ("repairing", "exhausted")


@pytest.mark.parametrize("act", [attempt_one, retry_now])
def test_a_click_is_refused_with_who_and_why(session: WorkSession, group: SystemGroup, act: object) -> None:
    make_plan(session, group)
    anomaly = make_anomaly(session, group)
    stop(session)
    with pytest.raises(ConflictError) as refused:
        act(session, anomaly.id, CLICK, group_ids=None)  # type: ignore[operator]
    assert refused.value.code == "stopped_all"
    assert (refused.value.params["who"], refused.value.params["why"]) == ("li.na", "look first")
    assert (anomaly.state, live(session)) == ("open", [])


def test_a_selection_says_what_is_left_out_and_sends_nothing(
    session: WorkSession, group: SystemGroup
) -> None:
    make_plan(session, group)
    make_anomaly(session, group)
    stop(session, group_id=group.id)
    foreseen = selection.preview(session, AnomalyFilter(), NOW)
    assert (foreseen.count, [(skip.code, skip.count) for skip in foreseen.skipped]) == (
        0,
        [("stopped_group", 1)],
    )
    chosen = selection.choose(session, AnomalyFilter(), 10, NOW)
    assert (chosen.chosen, chosen.skipped) == ((), 1)


def test_a_bulk_repair_waits_while_a_stop_stands_and_skips_nothing(
    session: WorkSession, group: SystemGroup
) -> None:
    make_user(session)
    make_plan(session, group)
    make_anomaly(session, group)
    make_anomaly(session, group)
    begun = bulk.begin(session, AnomalyFilter(), CLICK)
    (one,) = begun.bulks
    stop(session, group_id=group.id)
    bulk_course.tend(session, one.id, NOW + timedelta(seconds=1))
    assert (one.state, one.skipped) == ("paused", 0)
    bulk.resume(session, one.id, reason="look", actor=PERSON, group_ids=None, now=NOW)
    bulk_course.tend(session, one.id, NOW + timedelta(seconds=2))
    assert (one.state, one.pause_code, one.skipped) == ("paused", "stopped_bulk", 0)


def test_a_wait_that_ends_goes_on_only_once_the_stop_is_lifted(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    anomaly = make_anomaly(session, group, state="waiting", has_moved_money=True, money_moved_at=NOW)
    one = stop(session)
    tick(session, plan)
    look = session.scalars(select(Command)).one()
    agent = make_agent(session, group)
    hand_to(session, look, agent)
    verifications.record_facts(session, agent, facts_read(look, "resume"), NOW)
    assert (anomaly.state, live(session)) == ("open", [])
    lift(session, one)
    tick(session, plan, NOW + timedelta(seconds=1))
    assert (anomaly.state, live(session)) == ("repairing", ["Repair"])


def test_a_manual_repair_half_done_is_not_resumed_either(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, mode="manual")
    anomaly = make_anomaly(session, group, has_moved_money=True, money_moved_at=NOW)
    one = stop(session, group_id=group.id)
    assert ticking.resume_clicked(session, NOW) == 0
    lift(session, one)
    assert ticking.resume_clicked(session, NOW) == 1
    assert anomaly.state == "repairing"


def test_a_repair_half_done_has_its_day_once_the_stop_is_lifted(
    session: WorkSession, group: SystemGroup
) -> None:
    anomaly = make_anomaly(session, group, has_moved_money=True, money_moved_at=NOW)
    one = stop(session, group_id=group.id)
    later = NOW + timedelta(days=3)
    assert limits.apply_limits(session, later) == 0
    lift(session, one, later)
    session.expire_all()
    assert limits.apply_limits(session, later + timedelta(hours=23)) == 0
    assert limits.apply_limits(session, later + timedelta(hours=25)) == 1
    assert anomaly.reason == "money_moved_too_long"


def test_the_stop_of_one_agent_leaves_that_day_running(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group, has_moved_money=True, money_moved_at=NOW)
    one = stop(session, agent_id=make_agent(session, group).id)
    lift(session, one, NOW + timedelta(hours=23))
    session.expire_all()
    assert anomaly.money_moved_at == NOW
    stop(session, agent_id=make_agent(session, group).id)
    assert limits.apply_limits(session, NOW + timedelta(hours=25)) == 1


def test_a_running_repair_that_had_moved_money_ends_as_it_would(
    session: WorkSession, group: SystemGroup
) -> None:
    plan, anomaly = make_plan(session, group), make_anomaly(session, group)
    tick(session, plan)
    command = session.scalars(select(Command)).one()
    agent = make_agent(session, group)
    hand_to(session, command, agent)
    stop(session)
    assert command.cancel_requested_at == NOW
    results.record_result(session, agent, finished(command, "repaired", money_moved=True), NOW)
    assert (anomaly.state, command.state) == ("repaired", "finished")


# ---- age


def test_a_click_says_that_a_person_asked_and_a_tick_does_not(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    ticked = make_anomaly(session, group)
    tick(session, plan)
    clicked = make_anomaly(session, group)
    attempt_one(session, clicked.id, CLICK, group_ids=None)
    said = {command.trade_no: command.message for command in session.scalars(select(Command))}
    assert "by_person" not in said[ticked.trade_no]
    assert said[clicked.trade_no]["by_person"] is True


def test_beside_an_agent_of_the_first_protocol_an_old_trade_is_for_a_person(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    old = make_anomaly(session, group, row_changed_at=LONG_AGO)
    begun = make_anomaly(session, group, row_changed_at=LONG_AGO, has_moved_money=True)
    young = make_anomaly(session, group)
    tick(session, plan)
    assert (old.state, begun.state, young.state) == ("needs_human", "repairing", "repairing")
    event = last_event(session, old)
    assert (event.code, event.reason, old.reason, old.attempts) == ("too_old", TOO_OLD, TOO_OLD, 0)
    retry_now(session, old.id, CLICK, group_ids=None)
    assert old.state == "repairing"


def test_an_agent_that_sees_to_it_is_asked(session: WorkSession) -> None:
    group = make_group(session)
    make_agent(session, group, features=["by_person"])
    plan = make_plan(session, group)
    old = make_anomaly(session, group, row_changed_at=LONG_AGO)
    tick(session, plan)
    assert old.state == "repairing"


@pytest.mark.parametrize(("features", "given"), [(["by_person"], ["OLD", "YOUNG"]), ([], ["YOUNG"])])
def test_an_old_trade_is_not_sent_to_an_agent_of_the_first_protocol_that_comes_online_later(
    session: WorkSession, features: list[str], given: list[str]
) -> None:
    group = make_group(session)
    make_agent(session, group, features=["by_person"])
    plan = make_plan(session, group)
    make_anomaly(session, group, trade_no="OLD", row_changed_at=LONG_AGO)
    make_anomaly(session, group, trade_no="YOUNG")
    tick(session, plan)
    late = AgentSession(current_app.extensions["runtime"].hub, 9, group.id, group.sys_code, "")
    late.fixer_codes, late.features = frozenset({plan.fixer_code}), frozenset(features)
    pending = list(session.scalars(select(Command)))
    assert sorted(str(one.command.trade_no) for one in assign(pending, [late], {9: 10})) == given
