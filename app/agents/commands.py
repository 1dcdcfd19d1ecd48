"""Commands and how their state changes: by what a person asks, by what an agent says.

claims.py sends them, overdue.py ends what time ends, recovery.py mends what a lost socket leaves.

pending → sent → accepted → running → finished; sent → pending (socket lost); pending, sent → rejected,
cancelled, expired; past its deadline once accepted → indeterminate → finished (late result) | superseded.
Each change is one step of the caller's unit of work; who must hear of a closed command is bound by
create_app.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask import current_app
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from agent.answers import Cancelled, Started
from agent.protocol import Ack, Rejected
from app.agents import fences
from app.agents.models import LIVE, Agent, Command
from app.errors import ConflictError
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

HELD = ("accepted", "running")
"""States in which an agent's journal holds the command and a lease runs."""
RENEW_BATCH = 500
UNKNOWN_COMMAND = "unknown_command"
"""The word with which an agent refuses a Cancel of a command its journal does not hold."""
CONFLICT: Final = "conflict"
"""The word with which an agent refuses a command because its journal holds another order under that id."""
NOT_KEPT: Final = "journal"
"""The word with which an agent refuses whatever its journal does not take: it is full, or damaged."""
UNDONE: Final = frozenset({"rejected", "cancelled", "expired"})
"""As these a command closes of which the agent that has it did nothing; of an earlier holder they say
nothing."""

CommandClosed = Callable[[WorkSession, Command, str], None]
"""Hears of a command that closed without a result: rejected, expired, cancelled, superseded, indeterminate.

``command.error`` says why, ``command.finished_at`` when.
"""


class OutOfStateError(ConflictError):
    """The frame does not fit the state of its command."""

    code = "state"


@dataclass(frozen=True)
class Finish:
    """What became of a result.

    ``counts`` is false for evidence only: an older fence, another agent, a closed command.
    """

    command: Command
    counts: bool


def issue(
    session: WorkSession,
    *,
    type: str,
    group_id: int,
    message: dict[str, Any],
    deadline: timedelta,
    now: datetime,
    agent_id: int | None = None,
    trade_no: str | None = None,
    fixer_code: str | None = None,
    priority: int = 0,
) -> Command:
    """Write a pending command; the dispatcher looks as soon as it is committed.

    ``message`` is the frame's content without v, id, command_id, fence and deadline_ms. ``agent_id`` None:
    any agent of the group that offers ``fixer_code``. Raises ConflictError('trade_busy') when a command of
    the trade is live.
    """
    if trade_no is not None and find_live(session, group_id, trade_no) is not None:
        raise ConflictError("trade_busy", trade_no=trade_no)
    command = Command(
        id=uuid.uuid4().hex,
        group_id=group_id,
        agent_id=agent_id,
        is_group_addressed=agent_id is None,
        type=type,
        trade_no=trade_no,
        fixer_code=fixer_code,
        message=message,
        priority=priority,
        state="pending",
        fence=fences.next_fences(session, group_id, [trade_no], now)[trade_no]
        if type == "Repair" and trade_no
        else 1,
        error="",
        created_at=now,
        deadline_at=now + deadline,
    )
    try:
        with session.begin_nested():
            session.add(command)
            session.flush()
    except IntegrityError as error:
        # Another server process was quicker; the partial unique index has the last word.
        raise ConflictError("trade_busy", trade_no=trade_no) from error
    look_now(session)
    return command


def look_now(session: WorkSession) -> None:
    """Have the dispatcher look right after this commit."""
    if session.info.setdefault("looks", False):
        return
    session.info["looks"] = True
    dispatcher = current_app.extensions.get("dispatcher")
    if dispatcher is not None:
        session.after_commit(dispatcher.look_now)


def find(session: ReadSession, command_id: str | None) -> Command | None:
    """Return the command of this id, or None."""
    if command_id is None:
        return None
    # Ack, Started and result of a command often come in one batch: the row is looked up once a unit of work.
    known: dict[str, Command] = (
        session.info.setdefault("commands", {}) if isinstance(session, WorkSession) else {}
    )
    if command_id not in known:
        found = session.scalars(select(Command).where(Command.id == command_id)).one_or_none()
        if found is None:
            return None
        known[command_id] = found
    return known[command_id]


def find_live(session: ReadSession, group_id: int, trade_no: str) -> Command | None:
    """Return the trade's live command, or None."""
    return session.scalars(
        select(Command).where(
            Command.group_id == group_id, Command.trade_no == trade_no, Command.state.in_(LIVE)
        )
    ).first()


def request_cancel(session: WorkSession, command: Command, reason: str, now: datetime) -> None:
    """Cancel a pending command at once; ask the agent of a sent one to stop before its next outside effect.

    A pending one that an agent may hold all the same is indeterminate. Raises ConflictError('command_closed')
    when it is no longer live.
    """
    if command.state not in LIVE:
        raise ConflictError("command_closed", state=command.state)
    command.cancel_requested_at = command.cancel_requested_at or now
    command.error = reason[:500]
    if command.state == "pending":
        close(session, command, outcome_unsent(command), now, reason)
    look_now(session)


def outcome_of_closed(command: Command, outcome: str) -> str:
    """Return what an attempt came to whose command closed so, without a result: unknown where an agent may
    have begun it though its Ack never came, else the command's own word.
    """
    may_be_held = outcome == "expired" and command.agent_id is not None
    return "unknown" if may_be_held or outcome == "indeterminate" else outcome


def outcome_unsent(command: Command) -> str:
    """Return what a pending command that is to be cancelled becomes.

    One given back by a lost socket or an ended lease may be at work with that agent: nobody can say that it
    was stopped.
    """
    may_be_held = command.is_group_addressed and command.agent_id is not None
    return "indeterminate" if may_be_held else "cancelled"


def acknowledge(session: WorkSession, agent: Agent, message: Ack, now: datetime) -> None:
    """sent → accepted, and its lease begins. An Ack that comes late or twice changes nothing."""
    command = find(session, message.command_id or command_id_of(message.of))
    if command is None or command.agent_id != agent.id:
        raise OutOfStateError(command_id=message.command_id)
    if command.state == "sent":
        accept(command, now)


def start(session: WorkSession, agent: Agent, message: Started, now: datetime) -> None:
    """sent, accepted → running. Raises OutOfStateError when the agent does not hold this command."""
    command = _held_by(session, agent, message.command_id)
    if command.state == "sent":
        accept(command, now)
    if command.state == "accepted":
        command.state = "running"
        command.started_at = now


def reject(session: WorkSession, agent: Agent, message: Rejected, now: datetime) -> None:
    """The agent does not take a frame. Of its command: sent, accepted → rejected, or indeterminate where it
    or an earlier holder may have begun it; of anything else only a logged frame.

    An agent that does not know a command it is asked to cancel has lost it: sent → cancelled, held →
    superseded.
    """
    command = find(session, message.command_id or (message.of and command_id_of(message.of)))
    if command is None or command.agent_id != agent.id:
        return
    reason = f"{message.code}: {message.reason}"
    if message.of in (message_id_of(command), command.id) and command.state in ("sent", "accepted"):
        # With a conflict its journal holds an order of this command: that one it may have begun.
        close(session, command, "indeterminate" if message.code == CONFLICT else "rejected", now, reason)
    elif message.of == cancel_id_of(command) and message.code == UNKNOWN_COMMAND:
        if command.state == "sent":
            close(session, command, "cancelled", now, command.error)
        elif command.state in HELD:
            close(session, command, "superseded", now, reason)


def cancelled(session: WorkSession, agent: Agent, message: Cancelled, now: datetime) -> None:
    """The agent stopped before any money moved: sent, accepted, running → cancelled; a closed one stays as it
    is. One taken over is indeterminate: what its earlier holder did, this agent does not know.
    """
    command = find(session, message.command_id)
    if command is None or command.group_id != agent.group_id:
        raise OutOfStateError(command_id=message.command_id)
    if command.agent_id != agent.id:
        return
    is_unknown = command.state == "indeterminate" and not fences.was_taken_over(session, command)
    if command.state in LIVE or is_unknown:
        close(session, command, "cancelled", now, message.reason or command.error)


def finish(
    session: WorkSession, agent: Agent, command_id: str | None, now: datetime, *, fence: int | None = None
) -> Finish:
    """Close a command with its result. Raises OutOfStateError for a command that is none of this agent's
    group.

    A result of an older fence, of an agent that no longer holds the command, or of a command closed otherwise
    does not count: it is evidence, the command stays as it is. A late result of an indeterminate command
    counts.
    """
    command = find(session, command_id)
    if command is None or command.group_id != agent.group_id:
        raise OutOfStateError(command_id=command_id)
    is_current = command.agent_id == agent.id and fence in (None, command.fence)
    if not is_current or (command.state not in LIVE and command.state != "indeterminate"):
        return Finish(command=command, counts=False)
    command.state = "finished"
    command.accepted_at = command.accepted_at or now
    command.finished_at = now
    command.lease_until = None
    look_now(session)
    return Finish(command=command, counts=True)


def renew(session: WorkSession, agent_id: int, running: Iterable[str], now: datetime) -> None:
    """Renew the leases of the commands an agent says it is running."""
    ids = [command_id_of(one) for one in running]
    for begin in range(0, len(ids), RENEW_BATCH):
        session.execute(
            update(Command)
            .where(
                Command.id.in_(ids[begin : begin + RENEW_BATCH]),
                Command.agent_id == agent_id,
                Command.state.in_(HELD),
            )
            .values(lease_until=now + lease())
        )


def close(session: WorkSession, command: Command, outcome: str, now: datetime, reason: str) -> None:
    """Close a command without a result and tell the listeners.

    A Repair that was taken over is indeterminate where its last holder did nothing (UNDONE).
    """
    if outcome in UNDONE and fences.was_taken_over(session, command):
        outcome = "indeterminate"
    command.state = outcome
    command.error = reason[:500]
    command.finished_at = now
    command.lease_until = None
    session.flush()
    listeners: tuple[CommandClosed, ...] = current_app.extensions.get("command_closed", ())
    for listener in listeners:
        listener(session, command, outcome)


def message_id_of(command: Command) -> str:
    """Return the id of the command's frame: the same when it is sent again, another under a new fence."""
    return f"{command.id}.{command.fence:x}"


def cancel_id_of(command: Command) -> str:
    """Return the id of the frame that asks to cancel the command."""
    return f"{command.id}.cancel"


def command_id_of(message_id: str) -> str:
    """Return the command a frame id (message_id_of) belongs to; a bare command id is returned as it is."""
    return message_id.partition(".")[0]


def accept(command: Command, now: datetime) -> None:
    """The agent's journal holds the command: its lease begins."""
    command.state = "accepted"
    command.sent_at = command.sent_at or now
    command.accepted_at = now
    command.lease_until = now + lease()


def _held_by(session: WorkSession, agent: Agent, command_id: str | None) -> Command:
    command = find(session, command_id)
    if command is None or command.agent_id != agent.id or command.state not in ("sent", *HELD):
        raise OutOfStateError(command_id=command_id)
    return command


def lease() -> timedelta:
    """Return how long a command survives without a heartbeat that names it."""
    return timedelta(seconds=current_app.extensions["settings"].lease_seconds)
