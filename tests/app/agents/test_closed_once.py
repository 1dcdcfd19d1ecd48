"""Commands that end together: each closes once, whatever the end of the first does to the others."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.agents import commands, overdue, recovery
from app.agents.models import Agent, Command
from app.agents.withdrawing import cancel_repairs
from app.executions import results
from app.guards.models import BegunRepair
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.agents.agent_client import hello
from tests.app.executions.test_unsent import commanded, sent, states, trip
from tests.app.guards.test_breakers import tripped
from tests.factories import NOW, finished, hand_to, make_agent, make_group, make_plan

pytestmark = pytest.mark.each_engine

PAST_DEADLINE = NOW + timedelta(minutes=11)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


def ends_with(session: WorkSession, agent: Agent, ended: Command) -> None:
    """The agent has had it, and the lease has ended; its deadline is the first to be looked at."""
    hand_to(session, ended, agent)
    ended.state, ended.deadline_at = "pending", ended.deadline_at - timedelta(seconds=1)
    session.flush()


def outcomes(session: WorkSession) -> list[str | None]:
    return list(session.scalars(select(BegunRepair.outcome).order_by(BegunRepair.id)))


def test_what_a_sweep_has_withdrawn_by_ending_another_it_does_not_end_again(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    repairs = commanded(session, make_plan(session, group, breaker_failures=1), 3)
    ends_with(session, agent, repairs[0])
    assert overdue.sweep(session, PAST_DEADLINE) == 1
    assert tripped(session) == [("plan", "failures")]
    assert states(repairs) == ["indeterminate", "cancelled", "cancelled"]
    assert [repair.error for repair in repairs[1:]] == ["breaker_tripped"] * 2
    assert outcomes(session) == ["unknown", "withdrawn", "withdrawn"]


def test_the_late_result_of_one_withdrawn_in_a_sweep_counts(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    """Sent and never acknowledged, it may have been carried out all the same."""
    first, given_back = commanded(session, make_plan(session, group, breaker_failures=1), 2)
    sent(session, agent)
    recovery.release_sent(session, agent.id)
    session.expire_all()
    ends_with(session, agent, first)
    overdue.sweep(session, PAST_DEADLINE)
    assert states([first, given_back]) == ["indeterminate", "indeterminate"]
    results.record_result(session, agent, finished(given_back, "repaired"), PAST_DEADLINE)
    assert given_back.state == "finished"


def test_who_may_hold_one_that_was_withdrawn_is_asked_to_end_it_at_its_next_hello(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    (given_back,) = commanded(session, plan, 1)
    sent(session, agent)
    recovery.release_sent(session, agent.id)
    session.expire_all()
    trip(session, plan)
    assert given_back.state == "indeterminate"
    back = hello(unfinished=(given_back.id,))
    assert recovery.reconcile(session, agent, back, False, NOW) == [given_back.id]


def test_a_plan_is_disabled_though_ending_one_of_its_repairs_withdraws_the_others(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    asked_to_stop, other = commanded(session, plan, 2)
    hand_to(session, asked_to_stop, agent)
    commands.request_cancel(session, asked_to_stop, "look first", NOW)
    asked_to_stop.state = "pending"
    session.flush()
    cancel_repairs(session, group.id, plan.fixer_code, "plan_disabled", NOW + timedelta(seconds=1))
    assert states([asked_to_stop, other]) == ["indeterminate", "cancelled"]
    assert (tripped(session), other.error) == ([("plan", "failures")], "breaker_tripped")
