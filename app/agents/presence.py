"""Signs of life, gathered in memory and written once a second for all agents together."""

import threading
from datetime import datetime

from sqlalchemy import bindparam, select, update

from agent.protocol import Heartbeat
from app.agents import commands, local_stops
from app.agents.models import Agent
from app.agents.service import skew_ms
from app.unit_of_work import WorkSession


class Presence:
    """What was heard of each agent since the last writing. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, datetime] = {}
        self._beats: dict[int, tuple[Heartbeat, datetime]] = {}

    def note(self, agent_id: int, at: datetime, heartbeat: Heartbeat | None = None) -> None:
        """A frame of the agent arrived."""
        with self._lock:
            self._seen[agent_id] = at
            if heartbeat is not None:
                self._beats[agent_id] = (heartbeat, at)

    def take(self) -> "Gathered | None":
        """Return what was heard since the last call, None for nothing."""
        with self._lock:
            if not self._seen:
                return None
            gathered = Gathered(self._seen, self._beats)
            self._seen, self._beats = {}, {}
            return gathered


class Gathered:
    """What is to be written."""

    def __init__(self, seen: dict[int, datetime], beats: dict[int, tuple[Heartbeat, datetime]]) -> None:
        self._seen = seen
        self._beats = beats

    def write(self, session: WorkSession) -> None:
        """Keep when each agent was last heard and renew the leases of what it runs."""
        table = Agent.__table__
        seen = [{"agent": agent_id, "at": at} for agent_id, at in self._seen.items()]
        session.connection().execute(
            update(Agent).where(table.c.id == bindparam("agent")).values(last_seen_at=bindparam("at")), seen
        )
        beats = [
            {
                "agent": agent_id,
                "length": max(-1, min(beat.journal_length, 2**31 - 1)),
                "skew": skew_ms(beat.agent_time, at) or 0,
            }
            for agent_id, (beat, at) in self._beats.items()
        ]
        if beats:
            session.connection().execute(
                update(Agent)
                .where(table.c.id == bindparam("agent"))
                .values(journal_length=bindparam("length"), skew_ms=bindparam("skew")),
                beats,
            )
        self._keep_local_stops(session)
        for agent_id, (beat, at) in self._beats.items():
            commands.renew(session, agent_id, beat.running, at)

    def _keep_local_stops(self, session: WorkSession) -> None:
        """Keep which agents say that their local stop stands, or stands no more: few, so one by one."""
        stopped = set(session.scalars(select(Agent.id).where(Agent.stopped_here.is_not(None))))
        for agent_id, (beat, at) in self._beats.items():
            if beat.stopped is not None or agent_id in stopped:
                local_stops.keep(session, session.get_one(Agent, agent_id), beat.stopped, at)
