"""A stop, an agent's own too, and a breaker are told while they last, and when they are over."""

from flask import Flask
from sqlalchemy import select

from app.agents import local_stops, service, stops
from app.agents.stops import Target
from app.alerts.models import AlertCondition, AlertEvent
from app.guards import breakers
from app.unit_of_work import WorkSession
from tests.factories import NOW, PERSON, make_agent, make_group, make_plan


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
    assert event.params == {"scope": "here", "name": "pbap-1", "reason": "changing disks"}
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
