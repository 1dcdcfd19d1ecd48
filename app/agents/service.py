"""Agents: registering and revoking them, knowing which are there."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from flask import current_app
from sqlalchemy import ColumnElement, case, select, update
from sqlalchemy.orm import Session, scoped_session

from agent.protocol import Hello
from app.agents import local_stops
from app.agents.models import Agent
from app.audit.reasons import optional_reason, required_reason
from app.audit.service import Actor, record
from app.clock import current_time
from app.errors import ConflictError, InvalidError, NotFoundError
from app.lately import LITTLE
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

ReadSession = Session | scoped_session[Any]

TOKEN_PREFIX = "pcl_"
NAME_CHARACTERS = 80
_NAME = re.compile(r"[A-Za-z0-9._-]+")
FRESH_HEARTBEATS = 2.5
PRESENCES = ("online", "stale", "offline", "revoked")


@dataclass(frozen=True)
class AgentPresence:
    """An agent and what it is now.

    online: connected and heard within 2.5 heartbeats; stale: connected, not heard; offline; revoked.
    """

    agent: Agent
    presence: str

    @property
    def is_online(self) -> bool:
        """Whether commands can be sent to it now."""
        return self.presence == "online"


def register(
    session: WorkSession, *, name: str, group_id: int, actor: Actor, reason: str = "", now: datetime
) -> tuple[Agent, str]:
    """Make an agent; return it and its token, which is shown once and kept as SHA-256 only.

    A name has letters, digits, dots, dashes and underscores. Raises InvalidError('required' | 'too_long' |
    'agent_name_format') or ConflictError('agent_exists') on field name, InvalidError('unknown_group') on
    field group, InvalidError for the reason.
    """
    name, reason = name.strip(), optional_reason(reason)
    if not name:
        raise InvalidError("required", field="name")
    if len(name) > NAME_CHARACTERS:
        raise InvalidError("too_long", field="name", limit=NAME_CHARACTERS)
    if not _NAME.fullmatch(name):
        raise InvalidError("agent_name_format", field="name")
    group = session.get(SystemGroup, group_id)
    if group is None:
        raise InvalidError("unknown_group", field="group")
    if session.scalars(select(Agent.id).where(Agent.name == name)).first() is not None:
        raise ConflictError("agent_exists", field="name", name=name)
    token = _new_token()
    agent = Agent(name=name, group_id=group.id, created_at=now, fixer_codes=[], **_token_columns(token))
    session.add(agent)
    session.flush()
    _record(session, agent, group.sys_code, "agent.register", actor, reason, now)
    return agent, token


def rotate(
    session: WorkSession, agent_id: int, *, actor: Actor, reason: str, now: datetime
) -> tuple[Agent, str]:
    """Give the agent a new token, shown once; a revoked one comes back to life.

    A session under the old token is closed: the epoch rises, so no server process keeps it. Raises
    NotFoundError('agent'), InvalidError for the reason.
    """
    reason = required_reason(reason)
    agent = get(session, agent_id)
    token = _new_token()
    for column, value in _token_columns(token).items():
        setattr(agent, column, value)
    agent.revoked_at = None
    agent.epoch += 1
    agent.connected_at = None
    agent.disconnected_at = now
    _record(session, agent, agent.group.sys_code, "agent.rotate", actor, reason, now)
    return agent, token


def revoke(session: WorkSession, agent_id: int, *, actor: Actor, reason: str, now: datetime) -> Agent:
    """End the agent's token; whichever server holds its socket closes it within a second.

    Its local stop is forgotten: it is to be sent nothing, and says again what stands when it comes back.

    Raises NotFoundError('agent'), InvalidError for the reason, ConflictError('agent_revoked').
    """
    reason = required_reason(reason)
    agent = get(session, agent_id)
    if agent.revoked_at is not None:
        raise ConflictError("agent_revoked", name=agent.name)
    agent.revoked_at = now
    _record(session, agent, agent.group.sys_code, "agent.revoke", actor, reason, now)
    local_stops.forget(session, agent, actor=actor, reason=reason, now=now)
    return agent


def authenticate(session: ReadSession, token: str) -> Agent | None:
    """Return the agent of this token, None for an unknown or revoked one."""
    if not token.startswith(TOKEN_PREFIX):
        return None
    agent = session.scalars(select(Agent).where(Agent.token_hash == _hash(token))).one_or_none()
    return agent if agent is not None and agent.revoked_at is None else None


def get(session: ReadSession, agent_id: int) -> Agent:
    """Return the agent. Raises NotFoundError('agent')."""
    agent = session.get(Agent, agent_id)
    if agent is None:
        raise NotFoundError("agent", id=agent_id)
    return agent


def find_by_name(session: ReadSession, name: str) -> Agent | None:
    """Return the agent of this name, or None."""
    return session.scalars(select(Agent).where(Agent.name == name)).one_or_none()


def list_agents(
    session: ReadSession, *, group_ids: list[int] | None = None, now: datetime | None = None
) -> list[AgentPresence]:
    """Return every agent with its presence, by group and name: for the command line; pages show a page.

    ``group_ids`` None: of every group.
    """
    statement = select(Agent).join(Agent.group).order_by(SystemGroup.sys_code, Agent.name)
    if group_ids is not None:
        statement = statement.where(Agent.group_id.in_(group_ids))
    moment = now or current_time()
    return [
        AgentPresence(agent=agent, presence=presence_of(agent, moment))
        for agent in session.scalars(statement)
    ]


def list_online(session: ReadSession, group_id: int, now: datetime) -> list[Agent]:
    """Return the group's agents that are online, by name."""
    conditions = (
        Agent.group_id == group_id,
        Agent.connected_at.is_not(None),
        Agent.revoked_at.is_(None),
        Agent.last_seen_at >= now - _freshness(),
    )
    return list(session.scalars(select(Agent).where(*conditions).order_by(Agent.name)))


def presence_of(agent: Agent, now: datetime) -> str:
    """Return one of PRESENCES."""
    if agent.revoked_at is not None:
        return "revoked"
    if agent.connected_at is None:
        return "offline"
    is_fresh = agent.last_seen_at is not None and agent.last_seen_at >= now - _freshness()
    return "online" if is_fresh else "stale"


def presence_column(now: datetime) -> ColumnElement[str]:
    """Return presence_of of a row, in SQL."""
    return case(
        (Agent.revoked_at.is_not(None), "revoked"),
        (Agent.connected_at.is_(None), "offline"),
        (Agent.last_seen_at >= now - _freshness(), "online"),
        else_="stale",
    )


def mark_connected(session: WorkSession, agent_id: int, address: str, now: datetime) -> int | None:
    """A session begins: return its epoch, None when the agent was revoked meanwhile."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.revoked_at is not None:
        return None
    agent.epoch += 1
    agent.connected_at = now
    agent.last_seen_at = now
    agent.disconnected_at = None
    agent.address = address[:64]
    session.touch("agents", "home")
    return agent.epoch


def introduce(session: WorkSession, agent: Agent, hello: Hello, now: datetime) -> bool:
    """Keep what Hello says; return whether the agent came with another journal than before."""
    is_new_journal = agent.journal_id not in ("", hello.journal_id)
    if agent.boot_id != hello.boot_id[:40]:
        # What ailed an earlier start may be mended; what ails this one it tells itself.
        agent.last_error = ""
    agent.boot_id = hello.boot_id[:40]
    agent.journal_id = hello.journal_id[:40]
    agent.version = hello.version[:40]
    agent.host = hello.host[:120]
    agent.fixer_codes = list(hello.fixer_codes)
    agent.features = list(hello.features)
    agent.limits = None if hello.limits is None else msgspec.to_builtins(hello.limits)
    local_stops.keep(session, agent, hello.stopped, now)
    agent.skew_ms = skew_ms(hello.agent_time, now) or 0
    agent.last_seen_at = now
    session.touch("agents", "home")
    return is_new_journal


def mark_disconnected(session: WorkSession, agent_id: int, epoch: int, now: datetime) -> bool:
    """A session ended; return False when a newer one has already begun."""
    agent = session.get(Agent, agent_id)
    if agent is None or agent.epoch != epoch or agent.connected_at is None:
        return False
    agent.connected_at = None
    agent.disconnected_at = now
    session.touch("agents", "home")
    return True


def forget_connections(session: WorkSession, now: datetime) -> list[int]:
    """This process starts and holds no socket: mark agents not heard lately disconnected; return their ids.

    On SQLite there is no other server process, so nobody is connected.
    """
    conditions: list[ColumnElement[bool]] = [Agent.connected_at.is_not(None)]
    if session.get_bind().dialect.name != "sqlite":
        conditions.append(Agent.last_seen_at < now - _freshness())
    ids = list(session.scalars(select(Agent.id).where(*conditions)))
    if ids:
        session.execute(update(Agent).where(*conditions).values(connected_at=None, disconnected_at=now))
        session.touch("agents", "home")
    return ids


def is_any_heard_ahead(session: ReadSession, now: datetime) -> bool:
    """Return whether unhear_ahead would find anything; a read that needs no lock."""
    return session.scalars(select(Agent.id).where(_heard_ahead(now)).limit(1)).first() is not None


def unhear_ahead(session: WorkSession, now: datetime) -> None:
    """Take agents last heard by a clock ahead, which has been put back, for not heard lately.

    One whose session stands is heard again within a heartbeat; of one whose server has died nobody else would
    know before the clock has caught up.
    """
    silent = now - LITTLE - _freshness()
    session.execute(update(Agent).where(_heard_ahead(now)).values(last_seen_at=silent))
    session.touch("agents", "home")


def _heard_ahead(now: datetime) -> ColumnElement[bool]:
    return Agent.last_seen_at > now + LITTLE


def skew_ms(agent_time: str, now: datetime) -> int | None:
    """Return how far the agent's clock runs ahead in milliseconds, None when its time cannot be read."""
    try:
        moment = datetime.fromisoformat(agent_time)
        difference = moment - now
    except (ValueError, TypeError):
        return None
    return max(-(2**31), min(2**31 - 1, int(difference.total_seconds() * 1000)))


def _freshness() -> timedelta:
    return timedelta(seconds=FRESH_HEARTBEATS * current_app.extensions["settings"].heartbeat_seconds)


def _new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _token_columns(token: str) -> dict[str, str]:
    return {"token_hash": _hash(token), "token_hint": token[-4:]}


def _record(
    session: WorkSession, agent: Agent, sys_code: str, action: str, actor: Actor, reason: str, now: datetime
) -> None:
    record(
        session,
        actor=actor,
        action=action,
        object_type="agent",
        object_id=agent.id,
        object_name=agent.name,
        sys_code=sys_code,
        reason=reason,
        now=now,
    )
    session.touch("agents", "audit", "home")
