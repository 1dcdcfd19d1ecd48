"""Claiming pending commands for the sessions of this process, by conditional update: one server wins each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from flask import current_app
from sqlalchemy import ColumnElement, or_, update

from app.agents.hub import AgentSession
from app.agents.models import Command
from app.agents.standing import lets_repair
from app.unit_of_work import WorkSession

REST: Final = timedelta(minutes=5)
"""So long an agent whose journal took no command is sent nothing that another one can take."""


@dataclass(frozen=True)
class Claim:
    """A pending command and the session it goes to."""

    command: Command
    session: AgentSession


def spare(sessions: Sequence[AgentSession], now: datetime) -> None:
    """Spare each agent whose journal took no command within REST, where another of its group can take all
    that it can.

    It refuses at once whatever it is sent, so that it always has the most room: it would be sent nearly
    everything, and what the other one would have repaired would end with people.
    """
    resting = {one for one in sessions if _is_resting(one, now)}
    whole = [one for one in sessions if one not in resting]
    for one in sessions:
        one.is_spared = one in resting and any(_can_take_all_of(other, one) for other in whole)


def _is_resting(one: AgentSession, now: datetime) -> bool:
    # A clock that was put back ends it.
    return one.unkept_at is not None and timedelta(0) <= now - one.unkept_at < REST


def _can_take_all_of(other: AgentSession, one: AgentSession) -> bool:
    is_beside = other.group_id == one.group_id
    return is_beside and other.open_codes >= one.open_codes and other.features >= one.features


def assign(pending: list[Command], sessions: list[AgentSession], room: dict[int, int]) -> list[Claim]:
    """Give each command to the session with the most room that can take it; ``room`` is used up.

    One that is spared takes only what is addressed to it.
    """
    claims: list[Claim] = []
    by_id = {session.agent_id: session for session in sessions}
    for command in pending:
        able = [
            session
            for session in sessions
            if room[session.agent_id] > 0
            and not (command.is_group_addressed and session.is_spared)
            and (command.fixer_code is None or command.fixer_code in session.open_codes)
            and (command.feature is None or command.feature in session.features)
        ]
        if not command.is_group_addressed:
            able = [one for one in able if one is by_id.get(command.agent_id or 0)]
        if able:
            chosen = max(able, key=lambda session: room[session.agent_id])
            room[chosen.agent_id] -= 1
            claims.append(Claim(command, chosen))
    return claims


def claim(session: WorkSession, wanted: list[Claim], now: datetime) -> list[Claim]:
    """Make the claims; return those this process won, in their order, with the rows as they are now."""
    sessions = {one.command.seq: one.session for one in wanted}
    alike: dict[tuple[int, bool], list[int]] = {}
    for one in wanted:
        key = (one.session.agent_id, is_taken_over(one.command, one.session.agent_id))
        alike.setdefault(key, []).append(one.command.seq)
    won: dict[int, Command] = {}
    for (agent_id, must_raise), seqs in alike.items():
        conditions = () if must_raise else is_untouched_by_others(agent_id)
        claimed = session.scalars(
            update(Command)
            .where(
                Command.seq.in_(seqs),
                Command.state == "pending",
                Command.cancel_requested_at.is_(None),
                lets_repair(agent_id),
                *bound_conditions(),
                *conditions,
            )
            .values(claim_values(agent_id, must_raise, now))
            .returning(Command)
        )
        won.update((command.seq, command) for command in claimed)
    if won:
        session.touch("executions", "collections")
    return [Claim(won[seq], sessions[seq]) for seq in sessions if seq in won]


def bound_conditions() -> Sequence[ColumnElement[bool]]:
    """What else a pending command must be to be sent; bound by create_app."""
    bound: Sequence[ColumnElement[bool]] = current_app.extensions.get("claim_conditions", ())
    return bound


def is_taken_over(command: Command, agent_id: int) -> bool:
    """Return whether a claim for this agent must raise the fence, because someone else may be at work on it.

    So it is when an agent had accepted it, or when it was sent to another one.
    """
    return command.accepted_at is not None or command.agent_id not in (None, agent_id)


def is_untouched_by_others(agent_id: int) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a claim that keeps the fence: is_taken_over must still be false."""
    return Command.accepted_at.is_(None), or_(Command.agent_id.is_(None), Command.agent_id == agent_id)


def claim_values(agent_id: int, is_taken_over: bool, now: datetime) -> dict[Any, Any]:
    """Return what a claim writes on pending commands (is_taken_over is the same for all of them)."""
    return {
        Command.state: "sent",
        Command.agent_id: agent_id,
        Command.sent_at: now,
        Command.started_at: None,
        Command.fence: Command.fence + (1 if is_taken_over else 0),
    }
