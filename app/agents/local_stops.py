"""An agent's own stop, a file on its host: kept as the agent tells it, and told to whom it concerns.

While it stands the agent's row holds it. Each word that changes it is audited in the agent's name, and once
it is over it is one of the stops that were lifted.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from flask import current_app

from agent.protocol import Rejected
from app.agents import commands
from app.agents.models import Agent, Stop
from app.audit import service as audit
from app.audit.service import Actor
from app.columns import fitting
from app.unit_of_work import WorkSession

STOPPED: Final = "stopped"
"""The word with which an agent refuses a repair while its local stop stands."""
STOP_CHARACTERS: Final = 300

LocalStopChanged = Callable[[WorkSession, Agent, datetime], None]
"""Hears that an agent's local stop stands (``stopped_here``, also for another reason), or does no more."""


def keep(session: WorkSession, agent: Agent, stopped: str | None, now: datetime) -> None:
    """Keep what an agent says of its local stop, and since when that is known; None: it has none.

    Of a revoked one, which may still be heard for a moment, none is kept.
    """
    kept = None if stopped is None or agent.revoked_at is not None else fitting(stopped, STOP_CHARACTERS)
    _keep(session, agent, kept, _itself(agent), "", now)


def forget(session: WorkSession, agent: Agent, *, actor: Actor, reason: str, now: datetime) -> None:
    """A person has revoked the agent, and with that ended what is known of its local stop."""
    _keep(session, agent, None, actor, reason, now)


def note_refusal(session: WorkSession, agent: Agent, message: Rejected, now: datetime) -> None:
    """An agent refuses a repair because of its local stop: it is sent no more until it says otherwise."""
    if message.code == STOPPED:
        keep(session, agent, message.reason, now)


def _keep(
    session: WorkSession, agent: Agent, kept: str | None, actor: Actor, reason: str, now: datetime
) -> None:
    is_known = (kept is None) == (agent.stopped_here_at is None)
    if is_known and agent.stopped_here == kept:
        return
    if kept is None:
        _record_end(session, agent, actor, reason, now)
    else:
        action = "agent.local_stop_reason" if is_known else "agent.local_stop"
        detail = {"from": agent.stopped_here, "to": kept} if is_known else {}
        _record(session, agent, action, actor, kept, detail, now)
    agent.stopped_here = kept
    if not is_known:
        agent.stopped_here_at = None if kept is None else now
    session.touch("agents", "audit", "home")
    commands.look_now(session)
    listeners: tuple[LocalStopChanged, ...] = current_app.extensions.get("local_stop_changed", ())
    for listener in listeners:
        listener(session, agent, now)


def _record_end(session: WorkSession, agent: Agent, actor: Actor, reason: str, now: datetime) -> None:
    since = agent.stopped_here_at or now
    stop = Stop(scope="here", group_id=agent.group_id, agent_id=agent.id, name=agent.name)
    stop.reason, stop.set_by, stop.set_at = agent.stopped_here or "", agent.name, since
    stop.lifted_by, stop.lifted_at, stop.lift_reason = actor.name, now, reason
    session.add(stop)
    detail = {"set_for": stop.reason, "set_at": since.isoformat()}
    _record(session, agent, "agent.local_stop_end", actor, reason, detail, now)


def _record(
    session: WorkSession,
    agent: Agent,
    action: str,
    actor: Actor,
    reason: str,
    detail: Mapping[str, str | None],
    now: datetime,
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="agent",
        object_id=agent.id,
        object_name=agent.name,
        sys_code=agent.group.sys_code,
        reason=reason,
        detail=dict(detail),
        now=now,
    )


def _itself(agent: Agent) -> Actor:
    return Actor(id=None, name=agent.name, address=agent.address)
