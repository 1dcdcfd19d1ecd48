"""Conditions that nobody tells: an agent that has gone, a group with nothing left for a person."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, exists, or_, select

from app.agents.models import Agent
from app.alerts.events import AGENT_OFFLINE, TRADE_KINDS
from app.alerts.models import AlertCondition
from app.alerts.service import forget_condition, raise_, recover
from app.anomalies.models import Anomaly
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

OFFLINE_AFTER: Final = timedelta(seconds=60)
"""A restart, or a connection lost and found again, is nobody's alarm."""


def lost_agents(session: ReadSession, now: datetime) -> set[int]:
    """Return the ids of agents that have been heard once, and not for OFFLINE_AFTER.

    One last heard by a clock ahead of now has not been heard since the clock was put back.
    """
    return set(session.scalars(select(Agent.id).where(*_is_lost(now))))


def has_news(session: ReadSession, lost: set[int], absent: set[int]) -> bool:
    """Return whether an agent is to be raised (it is ``lost``) or recovered (not ``absent`` any more)."""
    known = {int(one.params["agent_id"]) for one in _open(session)}
    return bool(lost - known or known - absent)


def tell_agents(session: WorkSession, lost: Iterable[int], now: datetime) -> None:
    """Raise what is lost, recover who is back; looked up again, for they may be back by now."""
    known = {int(one.params["agent_id"]): one for one in _open(session)}
    gone = lost_agents(session, now)
    for agent in session.scalars(select(Agent).where(Agent.id.in_(gone & set(lost) - set(known)))).unique():
        last = min(agent.last_seen_at or now, now)
        params = {"agent_id": agent.id, "name": agent.name, "last_seen_at": last.isoformat()}
        raise_(session, AGENT_OFFLINE, group_id=agent.group_id, key=agent.name, params=params, now=now)
    for agent_id in set(known) - gone:
        _end(session, known[agent_id], session.get(Agent, agent_id), now)


def _end(session: WorkSession, condition: AlertCondition, agent: Agent | None, now: datetime) -> None:
    """Tell that an agent is back; one that was revoked or whose group was disabled is just not missed."""
    if agent is None or agent.revoked_at is not None or not agent.group.is_enabled:
        forget_condition(session, condition.identity)
    else:
        recover(session, AGENT_OFFLINE, group_id=condition.group_id, key=condition.key, now=now)


def emptied_groups(session: ReadSession) -> list[tuple[str, int | None]]:
    """Return kind and group of each condition of trades that no trade holds up any more."""
    holds = exists().where(Anomaly.group_id == AlertCondition.group_id, Anomaly.state == AlertCondition.kind)
    ended = select(AlertCondition.kind, AlertCondition.group_id).where(
        AlertCondition.kind.in_(TRADE_KINDS), ~holds
    )
    return [(kind, group_id) for kind, group_id in session.execute(ended)]


def tell_emptied(session: WorkSession, now: datetime) -> None:
    """Recover the conditions of trades that have ended."""
    for kind, group_id in emptied_groups(session):
        recover(session, kind, group_id=group_id, key="", now=now)


def _is_lost(now: datetime) -> tuple[ColumnElement[bool], ...]:
    is_watched = exists().where(SystemGroup.id == Agent.group_id, SystemGroup.is_enabled)
    is_silent = or_(Agent.last_seen_at < now - OFFLINE_AFTER, Agent.last_seen_at > now + LITTLE)
    return Agent.revoked_at.is_(None), is_silent, is_watched


def _open(session: ReadSession) -> list[AlertCondition]:
    return list(session.scalars(select(AlertCondition).where(AlertCondition.kind == AGENT_OFFLINE)))
