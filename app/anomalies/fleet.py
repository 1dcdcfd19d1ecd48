"""Which agents of a group can take work now."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from app.agents import service as agent_service
from app.agents.models import Agent
from app.anomalies.models import CollectionRun, CollectionTask
from app.keyset import ReadSession
from app.lately import LITTLE

LOST_AFTER: Final = timedelta(seconds=30)
"""A shard waits so long for an agent that went away before it had the command."""


def online_agents(
    session: ReadSession, group_id: int, now: datetime, *, codes: Iterable[str] | None = None
) -> list[Agent]:
    """Return the group's online agents by id; with ``codes`` only those that offer any of them."""
    agents = sorted(agent_service.list_online(session, group_id, now), key=lambda agent: agent.id)
    wanted = None if codes is None else set(codes)
    return [agent for agent in agents if wanted is None or wanted & set(agent.fixer_codes)]


def is_offered(session: ReadSession, group_id: int, fixer_code: str, now: datetime) -> bool:
    """Return whether an online agent of the group offers the fixer."""
    return bool(online_agents(session, group_id, now, codes=[fixer_code]))


def is_lost(agent: Agent, since: datetime, now: datetime) -> bool:
    """Return whether the agent has been gone for LOST_AFTER, counted from ``since`` at the earliest.

    One that went by a clock ahead of now, which has been put back, had gone before.
    """
    if agent.revoked_at is not None:
        return True
    if agent.connected_at is not None and agent.last_seen_at is not None:
        gone_since = max(agent.last_seen_at, since)
    elif agent.disconnected_at is not None and agent.disconnected_at <= now + LITTLE:
        gone_since = max(agent.disconnected_at, since)
    else:
        gone_since = since
    return now - gone_since > LOST_AFTER


def other_agent(
    session: ReadSession, run: CollectionRun, task: CollectionTask, now: datetime
) -> Agent | None:
    """Return the online agent to give the task's shard to, the least busy first; None where there is none.

    It offers every code the lost agent offered. That agent itself is taken only where no other is online.
    """
    codes = set(run.fixer_codes) & set(task.agent.fixer_codes)
    able = [agent for agent in online_agents(session, run.group_id, now) if codes <= set(agent.fixer_codes)]
    busy = _live_tasks(session, [agent.id for agent in able])
    able.sort(key=lambda agent: (agent.id == task.agent_id, busy.get(agent.id, 0), agent.id))
    return able[0] if able else None


def _live_tasks(session: ReadSession, agent_ids: list[int]) -> dict[int, int]:
    rows = session.execute(
        select(CollectionTask.agent_id, func.count())
        .where(CollectionTask.agent_id.in_(agent_ids), CollectionTask.state.in_(("pending", "running")))
        .group_by(CollectionTask.agent_id)
    )
    return {row[0]: row[1] for row in rows}
