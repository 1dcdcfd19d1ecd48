"""What a plan commanded by itself and no agent has begun: it counts towards no limit and no breaker."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from agent.protocol import Rejected
from app.agents import commands, overdue
from app.agents.models import Agent, Command
from app.executions.models import Attempt
from app.guards.models import BegunRepair
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.executions.test_unsent import commanded, sent, states
from tests.app.guards.test_breakers import tripped
from tests.app.guards.test_verdicts import tick
from tests.factories import NOW, make_agent, make_group, make_plan

pytestmark = pytest.mark.each_engine

PAST_DEADLINE = NOW + timedelta(minutes=11)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


def refuse(session: WorkSession, agent: Agent, command: Command) -> None:
    """The agent does not take the command."""
    of = commands.message_id_of(command)
    said = Rejected(id=uuid4().hex, command_id=command.id, of=of, code="journal", reason="the disk is full")
    commands.reject(session, agent, said, NOW)
    session.flush()


def are_counted(session: WorkSession) -> list[bool]:
    return list(session.scalars(select(BegunRepair.is_new).order_by(BegunRepair.id)))


def test_what_expired_unsent_uses_up_no_limit_and_trips_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, limit_hour_minor=20_000, limit_hour_count=2, breaker_hour_minor=20_000)
    expired = commanded(session, plan, 2)
    overdue.sweep(session, PAST_DEADLINE)
    assert states(expired) == ["expired"] * 2
    tick(session, plan, PAST_DEADLINE)
    assert [one.trade_no for one in sent(session, agent)] == ["T-0", "T-1"]
    assert tripped(session) == []


def test_what_expired_after_it_was_sent_counts(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    commanded(session, make_plan(session, group), 1)
    (repair,) = sent(session, agent)
    overdue.sweep(session, PAST_DEADLINE)
    assert (repair.state, are_counted(session)) == ("expired", [True])


def test_what_expired_after_it_was_sent_is_unknown_to_a_breaker_as_to_its_attempt(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    commanded(session, make_plan(session, group, breaker_failures=2), 2)
    assert len(sent(session, agent)) == 2
    overdue.sweep(session, PAST_DEADLINE)
    assert session.scalars(select(Attempt.outcome)).all() == ["unknown"] * 2
    assert tripped(session) == [("plan", "failures")]


def test_what_its_only_agent_does_not_take_uses_up_no_limit(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, limit_day_count=1)
    commanded(session, plan, 1)
    (repair,) = sent(session, agent)
    refuse(session, agent, repair)
    assert repair.state == "rejected"
    tick(session, plan)
    assert len(sent(session, agent)) == 1


def test_what_an_agent_had_taken_counts_though_it_refuses_it_then(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    commanded(session, make_plan(session, group), 1)
    (repair,) = sent(session, agent)
    commands.accept(repair, NOW)
    refuse(session, agent, repair)
    assert (repair.state, are_counted(session)) == ("rejected", [True])


def test_what_another_agent_had_before_counts_though_it_is_refused(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    commanded(session, make_plan(session, group), 1)
    (repair,) = sent(session, make_agent(session, group))
    repair.state = "pending"
    assert sent(session, agent) == [repair]
    refuse(session, agent, repair)
    assert (repair.state, are_counted(session)) == ("indeterminate", [True])
