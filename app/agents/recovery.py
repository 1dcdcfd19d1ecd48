"""What becomes of an agent's commands when its socket is lost and when it comes back."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import CursorResult, select, update

from agent.message import Message
from agent.protocol import Hello
from app.agents import commands
from app.agents.command_frames import message_of
from app.agents.models import IS_LIVE, LIVE, Agent, Command
from app.agents.standing import lets_repair
from app.unit_of_work import WorkSession

AGENTS_AT_ONCE: Final = 1_000
LOST_AFTER: Final = timedelta(seconds=30)
"""So long the result of a repair that a returned agent no longer holds may be on its way."""
LOST: Final = "the agent came back without it"


def release_sent(session: WorkSession, agent_id: int, command_ids: list[str] | None = None) -> int:
    """The socket is lost: sent commands go back to pending, under the same id. Returns how many.

    ``agent_id`` stays on the row: whoever claims it next raises the fence unless it is that same agent,
    because the lost one may hold it although its Ack never came.
    """
    return _release(session, [agent_id], command_ids)


def release_all_sent(session: WorkSession, agent_ids: Sequence[int]) -> int:
    """The sockets of all these agents are lost: as release_sent, AGENTS_AT_ONCE in one statement."""
    parts = (agent_ids[first : first + AGENTS_AT_ONCE] for first in range(0, len(agent_ids), AGENTS_AT_ONCE))
    return sum(_release(session, part) for part in parts)


def _release(session: WorkSession, agent_ids: Sequence[int], command_ids: list[str] | None = None) -> int:
    condition = [IS_LIVE, Command.agent_id.in_(agent_ids), Command.state == "sent"]
    if command_ids is not None:
        condition.append(Command.id.in_(command_ids))
    sent = session.scalars(select(Command.seq).where(*condition)).all()
    still_sent = Command.seq.in_(sent), Command.state == "sent"
    done = session.execute(update(Command).where(*still_sent).values(state="pending", sent_at=None))
    commands.look_now(session)
    return cast("CursorResult[Any]", done).rowcount


def reconcile(
    session: WorkSession, agent: Agent, hello: Hello, is_new_journal: bool, now: datetime
) -> list[str]:
    """Bring commands and the agent's journal together after Hello; return the ids the agent must be told to
    cancel.

    Sent ones the journal does not hold are sent again; held ones are accepted; accepted ones that a new
    journal does not hold are superseded. An accepted repair that the same journal does not hold is finished,
    or was lost, as by a journal put back from a backup: without its result it is soon indeterminate. What the
    journal holds and the server does not hold of this agent is cancelled.
    """
    unfinished = {commands.command_id_of(one) for one in hello.unfinished}
    live = session.scalars(select(Command).where(IS_LIVE, Command.agent_id == agent.id)).all()
    for command in live:
        if command.id in unfinished:
            if command.state in ("pending", "sent"):
                commands.accept(command, now)
            command.lease_until = now + commands.lease()
        elif command.state == "sent":
            command.state, command.sent_at = "pending", None
        elif command.state in commands.HELD and is_new_journal:
            commands.close(session, command, "superseded", now, "the agent came back with another journal")
        elif command.state in commands.HELD and command.type == "Repair":
            command.deadline_at = min(command.deadline_at, now + LOST_AFTER)
            command.lease_until, command.error = now + commands.lease(), command.error or LOST
    commands.look_now(session)
    return sorted(unfinished - {command.id for command in live if command.state in LIVE})


def list_wanted(session: WorkSession, agent: Agent, hello: Hello, now: datetime) -> list[Message]:
    """Return the repairs an agent holds that are still its to carry out, as it is sent them again.

    An agent that has started anew goes on with none before. What a person, or a stop, has asked it to end is
    not among them: that is cancelled. Asked after reconcile.
    """
    held = session.scalars(
        select(Command)
        .where(
            IS_LIVE,
            Command.agent_id == agent.id,
            Command.type == "Repair",
            Command.state.in_(commands.HELD),
            Command.cancel_requested_at.is_(None),
            Command.deadline_at > now,
            lets_repair(agent.id),
        )
        .order_by(Command.priority.desc(), Command.seq)
    )
    unfinished = {commands.command_id_of(one) for one in hello.unfinished}
    return [message_of(command, now, hello.features) for command in held if command.id in unfinished]
