"""Who is there: agents counted by presence, and what a new installation still lacks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, select

from app.agents.models import Agent
from app.agents.service import FRESH_HEARTBEATS
from app.anomalies.models import CollectionRun
from app.keyset import ReadSession
from app.monitor.frames import GroupIds
from app.plans.models import Plan

SQUARES = 20


@dataclass(frozen=True)
class Fleet:
    """Agents that are not revoked. ``squares``: (name, presence) of at most SQUARES, absent ones first."""

    online: int
    stale: int
    offline: int
    squares: list[tuple[str, str]]

    @property
    def total(self) -> int:
        """All agents that are not revoked."""
        return self.online + self.stale + self.offline


@dataclass(frozen=True)
class FirstSteps:
    """What is done of the way to the first repair."""

    has_agent: bool
    has_connected: bool
    has_plan: bool
    has_run: bool

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.has_agent and self.has_connected and self.has_plan and self.has_run


def fleet(session: ReadSession, groups: GroupIds, now: datetime, heartbeat: timedelta) -> Fleet:
    """Count the agents by presence: stale ones are connected and were not heard for 2.5 heartbeats."""
    presence = case(
        (Agent.connected_at.is_(None), "offline"),
        (Agent.last_seen_at >= now - FRESH_HEARTBEATS * heartbeat, "online"),
        else_="stale",
    )
    seen = [Agent.revoked_at.is_(None)]
    if groups is not None:
        seen.append(Agent.group_id.in_(groups))
    by_presence = select(presence, func.count()).where(*seen).group_by(presence)
    counts: dict[str, int] = dict(session.execute(by_presence).all())
    squares = (
        select(Agent.name, presence).where(*seen).order_by(presence == "online", Agent.name).limit(SQUARES)
    )
    return Fleet(
        online=counts.get("online", 0),
        stale=counts.get("stale", 0),
        offline=counts.get("offline", 0),
        squares=[(name, found) for name, found in session.execute(squares)],
    )


def first_steps(session: ReadSession, groups: GroupIds) -> FirstSteps:
    """Return which of the first steps are done, in the groups a person may see."""
    agents = select(Agent.id).where(Agent.revoked_at.is_(None))
    plans = select(Plan.id)
    runs = select(CollectionRun.id)
    if groups is not None:
        agents = agents.where(Agent.group_id.in_(groups))
        plans = plans.where(Plan.group_id.in_(groups))
        runs = runs.where(CollectionRun.group_id.in_(groups))
    return FirstSteps(
        has_agent=session.scalar(agents.limit(1)) is not None,
        has_connected=session.scalar(agents.where(Agent.last_seen_at.is_not(None)).limit(1)) is not None,
        has_plan=session.scalar(plans.limit(1)) is not None,
        has_run=session.scalar(runs.limit(1)) is not None,
    )
