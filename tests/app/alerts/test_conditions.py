"""Stops, breakers and bulk repairs that paused are told while that lasts, and when it is over."""

from flask import Flask
from sqlalchemy import select

from app.agents import local_stops, service, stops
from app.agents.stops import Target
from app.alerts.models import AlertCondition, AlertEvent
from app.anomalies.queries import AnomalyFilter
from app.executions import bulk, bulk_course
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.models import Attempt
from app.executions.starting import Order
from app.guards import breakers
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import User
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan, make_user
from tests.fakes.alert_sender import FakeSender


def told(session: WorkSession) -> list[tuple[str, bool, str]]:
    events = session.scalars(select(AlertEvent).order_by(AlertEvent.id))
    return [(event.kind, event.is_recovery, event.params["name"]) for event in events]


def test_a_stop_is_told_when_it_is_set_and_when_it_is_lifted(app: Flask, session: WorkSession) -> None:
    group = make_group(session)
    stop = stops.set_stop(
        session, Target(group_id=group.id), reason="drill", actor=PERSON, group_ids=None, now=NOW
    )
    assert told(session) == [("stop_switch", False, "PBAP")]
    stops.lift(session, stop.id, reason="over", actor=PERSON, group_ids=None, is_admin=True, now=NOW)
    assert told(session) == [("stop_switch", False, "PBAP"), ("stop_switch", True, "PBAP")]


def test_an_agent_s_own_stop_is_told_when_it_stands_and_when_it_is_over(
    app: Flask, session: WorkSession
) -> None:
    agent = make_agent(session, make_group(session), name="pbap-1")
    for reason in ("changing disks", "changing disks", "more disks"):
        local_stops.keep(session, agent, reason, NOW)
    (event,) = session.scalars(select(AlertEvent))
    assert (event.group_id, event.key) == (agent.group_id, f"local:{agent.id}")
    assert event.params == {
        "scope": "here",
        "name": "pbap-1",
        "reason": "changing disks",
        "at": NOW.isoformat(),
    }
    local_stops.keep(session, agent, None, NOW)
    assert told(session) == [("stop_switch", False, "pbap-1"), ("stop_switch", True, "pbap-1")]


def test_the_own_stop_of_a_revoked_agent_is_just_not_told_any_more(app: Flask, session: WorkSession) -> None:
    agent = make_agent(session, make_group(session), name="pbap-1")
    local_stops.keep(session, agent, "changing disks", NOW)
    service.revoke(session, agent.id, actor=PERSON, reason="replaced", now=NOW)
    assert told(session) == [("stop_switch", False, "pbap-1")]
    assert session.scalars(select(AlertCondition)).all() == []


def test_a_breaker_is_told_when_it_trips_and_when_it_is_reset(app: Flask, session: WorkSession) -> None:
    plan = make_plan(session, make_group(session))
    figures = {"failures": 10, "attempts": 20, "threshold": 10}
    assert breakers.trip(session, breakers.subject_of_plan(plan), "failures", figures, NOW)
    (breaker,) = breakers.stops(session, plan)
    assert told(session) == [("breaker", False, plan.fixer_code)]
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    assert told(session) == [("breaker", False, plan.fixer_code), ("breaker", True, plan.fixer_code)]


def test_the_message_of_a_breaker_names_what_stopped_and_no_more(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    with unit_of_work() as session:
        plan = make_plan(session, make_group(session))
        for subject in breakers.subjects_of(plan):
            breakers.trip(session, subject, "failures", {"failed": 3, "attempts": 9, "threshold": 3}, NOW)
    rounds.run(120, step=30)
    (letter,) = sender.sent
    cause = "一小时内最后 9 次自动执行中，失败、待人工或结果未知 3 次，达到阈值 3 次"
    assert letter.body.splitlines()[:3] == [
        "PBAP 熔断 2 次，熔断的方案或系统组别不再自动开始新的修复，等人复位。",
        f"- 方案 {plan.fixer_code} · {cause}",
        f"- 系统组别 PBAP · {cause}",
    ]


def test_a_breaker_that_trips_for_another_cause_is_told_again_and_its_end_once(
    app: Flask, session: WorkSession
) -> None:
    plan = make_plan(session, make_group(session))
    for code in ("amount", "failures"):
        assert breakers.trip(session, breakers.subject_of_plan(plan), code, {"threshold": 10}, NOW)
    (breaker,) = breakers.stops(session, plan)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    events = session.scalars(select(AlertEvent).order_by(AlertEvent.id))
    assert [(event.params["cause"], event.is_recovery) for event in events] == [
        ("amount", False),
        ("failures", False),
        ("failures", True),
    ]


def begin_bulk(session: WorkSession) -> BulkRepair:
    make_user(session)
    group = make_group(session)
    make_agent(session, group)
    make_plan(session, group)
    for _each in range(5):
        make_anomaly(session, group)
    (begun,) = bulk.begin(session, AnomalyFilter(), Order("click", PERSON, "日终处理", NOW)).bulks
    return begun


def test_a_bulk_repair_is_told_when_it_pauses_by_itself_and_when_a_person_has_decided(
    app: Flask, session: WorkSession
) -> None:
    one = begin_bulk(session)
    item = session.scalars(select(BulkItem).where(BulkItem.state == "repairing")).one()
    session.get_one(Attempt, item.attempt_id).outcome = "needs_human"
    bulk_course.tend(session, one.id, NOW)
    (event,) = session.scalars(select(AlertEvent))
    assert (event.group_id, event.key) == (one.group_id, f"bulk:{one.id}")
    told_of = {"name": f"#{one.id}", "code": "needs_human", "trade_no": item.trade_no}
    assert event.params == told_of
    bulk.stop(session, one.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    name = f"#{one.id}"
    assert told(session) == [("bulk_paused", False, name), ("bulk_paused", True, name)]


def test_whose_person_may_go_on_no_longer_is_told_with_the_cause(app: Flask, session: WorkSession) -> None:
    one = begin_bulk(session)
    session.get_one(User, PERSON.id).is_enabled = False
    bulk_course.tend(session, one.id, NOW)
    (event,) = session.scalars(select(AlertEvent))
    assert event.params["cause"] == "disabled"
    assert (event.params["code"], event.params["in_name_of"]) == ("person_may_not", PERSON.name)


def test_who_pauses_a_bulk_repair_is_not_told_of_it(app: Flask, session: WorkSession) -> None:
    one = begin_bulk(session)
    bulk.pause(session, one.id, reason="a look", actor=PERSON, group_ids=None, now=NOW)
    bulk.resume(session, one.id, reason="on with it", actor=PERSON, group_ids=None, now=NOW)
    assert told(session) == []
