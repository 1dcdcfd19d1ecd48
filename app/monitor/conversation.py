"""The conversation of one command: every frame that speaks of it, in order, both ways."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import defer

from app.agents.models import Agent, Command, Frame
from app.errors import NotFoundError
from app.keyset import ReadSession
from app.monitor.frame_types import content_of
from app.monitor.frames import GroupIds
from app.users.models import SystemGroup

PAGE_TURNS = 200
INLINE_BYTES = 8 * 1024
"""A larger frame is opened on its own page."""


@dataclass(frozen=True)
class Turn:
    """One frame. ``gap_ms``: time since the frame before, None for the first; ``content`` None: large."""

    frame: Frame
    agent_name: str
    gap_ms: int | None
    content: Any


@dataclass(frozen=True)
class Conversation:
    """``command`` None: only its frames are left. ``after``: the conversation goes on after this frame."""

    command_id: str
    command: Command | None
    sys_code: str
    agent_name: str
    states: list[tuple[str, datetime]]
    turns: list[Turn]
    after: int | None


def get_conversation(
    session: ReadSession, command_id: str, groups: GroupIds, after: int | None = None
) -> Conversation:
    """Return a page of the conversation from its beginning, or on from frame ``after``.

    Raises NotFoundError('command') when neither the command nor a frame of it may be seen.
    """
    command = session.scalars(select(Command).where(Command.id == command_id)).one_or_none()
    if command is not None and groups is not None and command.group_id not in groups:
        raise NotFoundError("command", id=command_id)
    frames, has_more = _frames(session, command_id, groups, after)
    if command is None and not frames:
        raise NotFoundError("command", id=command_id)
    group = session.get(SystemGroup, command.group_id if command else frames[0].group_id)
    return Conversation(
        command_id=command_id,
        command=command,
        sys_code=group.sys_code if group else "",
        agent_name=_agent_name(session, command),
        states=_states(command),
        turns=_turns(session, frames, after),
        after=frames[-1].id if has_more else None,
    )


def _agent_name(session: ReadSession, command: Command | None) -> str:
    agent = session.get(Agent, command.agent_id) if command is not None and command.agent_id else None
    return agent.name if agent else ""


def _frames(
    session: ReadSession, command_id: str, groups: GroupIds, after: int | None
) -> tuple[list[Frame], bool]:
    statement = select(Frame).where(Frame.command_id == command_id).options(defer(Frame.body))
    if groups is not None:
        statement = statement.where((Frame.group_id + 0).in_(groups))
    if after is not None:
        statement = statement.where(Frame.id > after)
    frames = list(session.scalars(statement.order_by(Frame.id).limit(PAGE_TURNS + 1)))
    return frames[:PAGE_TURNS], len(frames) > PAGE_TURNS


def _turns(session: ReadSession, frames: list[Frame], after: int | None) -> list[Turn]:
    senders = select(Agent.id, Agent.name).where(Agent.id.in_({one.agent_id for one in frames}))
    names: dict[int, str] = dict(session.execute(senders).all())
    small = [frame.id for frame in frames if frame.size <= INLINE_BYTES]
    texts = select(Frame.id, Frame.body).where(Frame.id.in_(small))
    bodies: dict[int, str] = dict(session.execute(texts).all())
    earlier = session.get(Frame, after) if after is not None else None
    before = earlier.at if earlier else None
    turns = []
    for frame in frames:
        gap = None if before is None else round((frame.at - before).total_seconds() * 1000)
        turns.append(
            Turn(
                frame,
                names.get(frame.agent_id, ""),
                gap,
                content_of(bodies[frame.id]) if frame.id in bodies else None,
            )
        )
        before = frame.at
    return turns


def _states(command: Command | None) -> list[tuple[str, datetime]]:
    """Return the states passed through and when, in order of time; the last is the state it is in."""
    if command is None:
        return []
    moments = {
        "pending": command.created_at,
        "sent": command.sent_at,
        "accepted": command.accepted_at,
        "running": command.started_at,
        command.state if command.finished_at else "": command.finished_at,
        "cancel_requested": command.cancel_requested_at,
    }
    known = [(state, at) for state, at in moments.items() if at is not None]
    return sorted(known, key=lambda one: one[1])
