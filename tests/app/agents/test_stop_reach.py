"""What a stop would reach is told before it is set, and is what setting it then does."""

import pytest
from sqlalchemy import select

from app.agents import stops
from app.agents.models import Agent, Command
from app.agents.stop_reach import Reach, read_reach
from app.agents.stops import Target
from app.errors import ForbiddenError, NotFoundError
from app.executions.starting import Order, start_attempts
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import NOW, PERSON, hand_to, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

CLICK = Order("click", PERSON, "the customer called", NOW)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def other(session: WorkSession) -> SystemGroup:
    return make_group(session, "PBMS")


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


def order(session: WorkSession, group: SystemGroup, count: int) -> list[Command]:
    """Have repairs pend in the group."""
    anomalies = [make_anomaly(session, group) for _ in range(count)]
    start_attempts(session, anomalies, make_plan(session, group), CLICK)
    session.flush()
    pending = select(Command).where(Command.group_id == group.id, Command.state == "pending")
    return list(session.scalars(pending.order_by(Command.seq)))


def reach(session: WorkSession, group_ids: list[int] | None = None, **target: int) -> Reach:
    return read_reach(session, Target(**target), group_ids, NOW)


def test_a_group_tells_what_pends_and_what_agents_hold(
    session: WorkSession, group: SystemGroup, other: SystemGroup, agent: Agent
) -> None:
    hand_to(session, order(session, group, 3)[0], agent)
    order(session, other, 2)
    assert reach(session, group_id=group.id) == Reach(pending=2, held=1, left=0)
    assert reach(session) == Reach(pending=4, held=1, left=0)


def test_what_pends_is_left_to_the_other_agents_of_a_stopped_one(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    hand_to(session, order(session, group, 3)[0], agent)
    assert reach(session, agent_id=agent.id) == Reach(pending=2, held=1, left=0)
    second = make_agent(session, group)
    assert reach(session, agent_id=agent.id) == Reach(pending=0, held=1, left=2)
    assert reach(session, agent_id=second.id) == Reach(pending=0, held=0, left=2)


def test_what_is_told_is_what_happens(session: WorkSession, group: SystemGroup, agent: Agent) -> None:
    held = order(session, group, 3)[0]
    hand_to(session, held, agent)
    told = reach(session, group_id=group.id)
    stops.set_stop(session, Target(group.id), reason="look", actor=PERSON, group_ids=None, now=NOW)
    cancelled = select(Command).where(Command.state == "cancelled")
    assert len(session.scalars(cancelled).all()) == told.pending
    assert (held.state, held.cancel_requested_at, told.held) == ("running", NOW, 1)


def test_asking_sets_nothing(session: WorkSession, group: SystemGroup, agent: Agent) -> None:
    order(session, group, 1)
    reach(session, agent_id=agent.id)
    session.flush()
    assert stops.list_standing(session) == []


def test_nobody_learns_of_what_they_may_not_stop(
    session: WorkSession, group: SystemGroup, other: SystemGroup
) -> None:
    with pytest.raises(NotFoundError):
        reach(session, [group.id], group_id=other.id)
    with pytest.raises(ForbiddenError):
        reach(session, [group.id])
