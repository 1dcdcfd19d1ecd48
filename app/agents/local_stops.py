"""An agent's own stop, a file on its host: kept as the agent tells it, and told to whom it concerns."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from flask import current_app

from agent.protocol import Rejected
from app.agents import commands
from app.agents.models import Agent
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
    is_none = stopped is None or agent.revoked_at is not None
    kept = None if is_none else fitting(stopped or "", STOP_CHARACTERS)
    is_known = (kept is None) == (agent.stopped_here_at is None)
    if is_known and agent.stopped_here == kept:
        return
    agent.stopped_here = kept
    if not is_known:
        agent.stopped_here_at = None if kept is None else now
    session.touch("agents", "home")
    commands.look_now(session)
    listeners: tuple[LocalStopChanged, ...] = current_app.extensions.get("local_stop_changed", ())
    for listener in listeners:
        listener(session, agent, now)


def note_refusal(session: WorkSession, agent: Agent, message: Rejected, now: datetime) -> None:
    """An agent refuses a repair because of its local stop: it is sent no more until it says otherwise."""
    if message.code == STOPPED:
        keep(session, agent, message.reason, now)
