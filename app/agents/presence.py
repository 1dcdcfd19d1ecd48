"""Signs of life, gathered in memory and written once a second for all agents together."""

import threading
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from agent.protocol import Heartbeat
from app.agents import commands, local_stops
from app.agents.models import Agent
from app.agents.service import skew_ms
from app.unit_of_work import WorkSession


class Beat(NamedTuple):
    """A heartbeat, when it was heard, and the epoch of the session that heard it."""

    heartbeat: Heartbeat
    at: datetime
    epoch: int


class Presence:
    """What was heard of each agent since the last writing. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[int, datetime] = {}
        self._beats: dict[int, Beat] = {}

    def note(self, agent_id: int, at: datetime, heartbeat: Heartbeat | None, epoch: int) -> None:
        """A frame of the agent arrived in the session of this epoch."""
        with self._lock:
            self._seen[agent_id] = at
            if heartbeat is not None:
                self._beats[agent_id] = Beat(heartbeat, at, epoch)

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

    def __init__(self, seen: dict[int, datetime], beats: dict[int, Beat]) -> None:
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
            for agent_id, (beat, at, _epoch) in self._beats.items()
        ]
        if beats:
            session.connection().execute(
                update(Agent)
                .where(table.c.id == bindparam("agent"))
                .values(journal_length=bindparam("length"), skew_ms=bindparam("skew")),
                beats,
            )
        self._keep_local_stops(session)
        for agent_id, (beat, at, _epoch) in self._beats.items():
            commands.renew(session, agent_id, beat.running, at)

    def _keep_local_stops(self, session: WorkSession) -> None:
        """Keep which agents say that their local stop stands, or stands no more: few, so one by one.

        What a session said counts until the next one, maybe at another server, which has been told since.
        """
        stopped = set(session.scalars(select(Agent.id).where(Agent.stopped_here.is_not(None))))
        for agent_id, (beat, at, epoch) in self._beats.items():
            if beat.stopped is None and agent_id not in stopped:
                continue
            agent = session.get_one(Agent, agent_id)
            if agent.epoch == epoch:
                local_stops.keep(session, agent, beat.stopped, at)
