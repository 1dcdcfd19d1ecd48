"""What the agents' pages show beside the agents themselves."""

from collections.abc import Sequence

from sqlalchemy import func, select

from app.agents.models import IS_LIVE, Command
from app.agents.service import ReadSession

RECENT_COMMANDS = 20


def running_counts(session: ReadSession, agent_ids: Sequence[int]) -> dict[int, int]:
    """Return how many live commands each agent holds; agents with none are absent. One query."""
    statement = (
        select(Command.agent_id, func.count())
        .where(IS_LIVE, Command.agent_id.in_(agent_ids))
        .group_by(Command.agent_id)
    )
    return {agent_id: count for agent_id, count in session.execute(statement) if agent_id is not None}


def recent_commands(session: ReadSession, agent_id: int) -> list[Command]:
    """Return the agent's newest commands, at most RECENT_COMMANDS."""
    statement = (
        select(Command)
        .where(Command.agent_id == agent_id)
        .order_by(Command.seq.desc())
        .limit(RECENT_COMMANDS)
    )
    return list(session.scalars(statement))


def live_commands(session: ReadSession, agent_id: int) -> list[Command]:
    """Return the commands the agent holds now, oldest first."""
    statement = select(Command).where(IS_LIVE, Command.agent_id == agent_id).order_by(Command.seq)
    return list(session.scalars(statement))
