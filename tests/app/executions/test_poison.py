"""Attempts that tell nothing of their trade: however many, they set it aside for nobody."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from agent.answers import BROKE_OFF, Started
from agent.protocol import Rejected
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.service import verify
from app.executions import attempt_record, results, verifications
from app.executions.models import Attempt
from app.executions.poison import ALIKE_LIMIT, CRASH_LIMIT, CRASHED
from app.guards import breakers
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from tests.app.guards.test_verdicts import tick
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
)

pytestmark = pytest.mark.each_engine


def withdrawn(session: WorkSession, agent: Agent, plan: Plan, *, was_begun: bool, now: datetime) -> Command:
    """The trade's repair is with an agent until its lease ends; then a breaker trips."""
    repair = session.scalars(select(Command).where(Command.state == "pending")).one()
    hand_to(session, repair, agent)
    if was_begun:
        begun = Started(id=uuid4().hex, command_id=repair.id)
        attempt_record.record_started(session, agent, begun, now)
    repair.state = "pending"
    session.flush()
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, now)
    return repair


def go_on(session: WorkSession, agent: Agent, plan: Plan, now: datetime) -> None:
    """A person resets the breaker; the trade is verified and its next attempt commanded."""
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=now)
    look(session, agent, plan, now)


def look(session: WorkSession, agent: Agent, plan: Plan, now: datetime) -> None:
    """The trade is verified and its next attempt commanded."""
    tick(session, plan, now)
    asked = session.scalars(select(Command).where(Command.state == "pending")).one()
    hand_to(session, asked, agent)
    verifications.record_facts(session, agent, facts_read(asked, "repair"), now)
    asked.state = "finished"
    tick(session, plan, now)


@pytest.mark.parametrize(("was_begun", "times"), [(True, CRASH_LIMIT), (False, ALIKE_LIMIT)])
def test_a_trade_that_was_withdrawn_again_and_again_is_no_poison(
    session: WorkSession, was_begun: bool, times: int
) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly, now = make_anomaly(session, group), NOW
    tick(session, plan)
    repair = withdrawn(session, agent, plan, was_begun=was_begun, now=now)
    for _ in range(times - 1):
        now += timedelta(minutes=20)
        go_on(session, agent, plan, now)
        repair = withdrawn(session, agent, plan, was_begun=was_begun, now=now)
    assert (repair.error, anomaly.attempts) == ("breaker_tripped_sent", times)
    assert set(session.scalars(select(Attempt.outcome))) == {"unknown"}
    assert anomaly.state == "waiting"


def break_off(session: WorkSession, agent: Agent, now: datetime) -> None:
    repair = session.scalars(select(Command).where(Command.state == "pending")).one()
    hand_to(session, repair, agent)
    results.record_result(session, agent, finished(repair, "unknown", reason=f"{BROKE_OFF}: KeyError"), now)


def test_a_trade_that_breaks_off_each_time_it_is_not_withdrawn_is_set_aside(session: WorkSession) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly, now = make_anomaly(session, group), NOW
    tick(session, plan)
    for _ in range(CRASH_LIMIT - 1):
        break_off(session, agent, now)
        look(session, agent, plan, now + timedelta(minutes=20))
        withdrawn(session, agent, plan, was_begun=True, now=now + timedelta(minutes=20))
        now += timedelta(minutes=40)
        go_on(session, agent, plan, now)
    break_off(session, agent, now)
    assert (anomaly.state, anomaly.reason.partition(":")[0]) == ("needs_human", CRASHED)


def test_what_is_withdrawn_after_a_person_sent_it_back_is_not_set_aside_once_more(
    session: WorkSession,
) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly, now = make_anomaly(session, group), NOW
    tick(session, plan)
    for _ in range(CRASH_LIMIT - 1):
        break_off(session, agent, now)
        now += timedelta(minutes=20)
        look(session, agent, plan, now)
    break_off(session, agent, now)
    verify(session, anomaly.id, reason="mended", actor=PERSON, group_ids=None, now=now)
    look(session, agent, plan, now)
    withdrawn(session, agent, plan, was_begun=True, now=now)
    assert anomaly.state == "waiting"


def reject(session: WorkSession, agent: Agent, code: str, reason: str, now: datetime) -> None:
    repair = session.scalars(select(Command).where(Command.state == "pending")).one()
    hand_to(session, repair, agent)
    repair.state = "sent"
    told = Rejected(id=uuid4().hex, of=repair.id, code=code, reason=reason, command_id=repair.id)
    commands.reject(session, agent, told, now)


@pytest.mark.parametrize("has_moved_money", [False, True])
def test_a_trade_that_no_agent_can_keep_is_for_a_person_in_the_end(
    session: WorkSession, has_moved_money: bool
) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly, now = make_anomaly(session, group, has_moved_money=has_moved_money, money_moved_at=NOW), NOW
    for number in range(ALIKE_LIMIT):
        assert anomaly.state != "needs_human"
        anomaly.state = "open"
        tick(session, plan, now)
        full = f"database or disk is full ({number % 2})"
        reject(session, agent, "journal", full, now)
        now += timedelta(minutes=3)
    assert (anomaly.state, anomaly.failed_attempts) == ("needs_human", 0)
    assert anomaly.reason.startswith("ended_alike_too_often: journal: database or disk is full")


@pytest.mark.parametrize(("minutes", "state"), [(14, "open"), (16, "needs_human"), (-60, "needs_human")])
def test_a_journal_that_takes_nothing_for_a_quarter_of_an_hour_sets_a_trade_aside_and_no_sooner(
    session: WorkSession, minutes: int, state: str
) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly = make_anomaly(session, group)
    for second in range(ALIKE_LIMIT):
        tick(session, plan, NOW + timedelta(seconds=second))
        reject(session, agent, "journal", "database or disk is full", NOW + timedelta(seconds=second))
    assert anomaly.state == "open"
    later = NOW + timedelta(minutes=minutes)
    tick(session, plan, later)
    reject(session, agent, "journal", "database or disk is full", later)
    assert anomaly.state == state


def test_one_that_a_journal_took_in_between_begins_that_time_anew(session: WorkSession) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly, now = make_anomaly(session, group), NOW
    for number in range(2 * ALIKE_LIMIT):
        tick(session, plan, now)
        if number == ALIKE_LIMIT:
            repair = session.scalars(select(Command).where(Command.state == "pending")).one()
            hand_to(session, repair, agent)
            results.record_result(session, agent, finished(repair, "cancelled"), now)
        else:
            reject(session, agent, "journal", "database or disk is full", now)
        now += timedelta(minutes=2)
    assert (anomaly.state, anomaly.attempts) == ("open", 2 * ALIKE_LIMIT)


@pytest.mark.parametrize("code", ["busy", "stopped"])
def test_an_agent_that_takes_nothing_for_now_sets_no_trade_aside(session: WorkSession, code: str) -> None:
    group = make_group(session)
    agent, plan = make_agent(session, group), make_plan(session, group)
    anomaly = make_anomaly(session, group)
    for _ in range(ALIKE_LIMIT + 1):
        tick(session, plan)
        reject(session, agent, code, "later", NOW)
    assert (anomaly.state, anomaly.attempts) == ("open", ALIKE_LIMIT + 1)
