"""Cancelling what is still pending, many at once: what disabling a plan or a group needs."""

from datetime import datetime

from sqlalchemy import ColumnElement, select

from app.agents import commands
from app.agents.models import LIVE, Command
from app.audit.service import Actor
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup


def cancel_repairs(session: WorkSession, group_id: int, fixer_code: str, reason: str, now: datetime) -> None:
    """Cancel the fixer's pending repairs in the group; what is sent or running goes on."""
    repairs = Command.type == "Repair", Command.fixer_code == fixer_code
    _cancel(session, group_id, repairs, reason, now)


def group_disabled(
    session: WorkSession, group: SystemGroup, actor: Actor, reason: str, now: datetime
) -> None:
    """Cancel all that is pending in the group; what is sent or running goes on."""
    _cancel(session, group.id, (), "group_disabled", now)


def _cancel(
    session: WorkSession,
    group_id: int,
    conditions: tuple[ColumnElement[bool], ...],
    reason: str,
    now: datetime,
) -> None:
    pending = select(Command).where(Command.group_id == group_id, Command.state == "pending", *conditions)
    for command in list(session.scalars(pending)):
        # One that an agent may hold ends unknown, which may trip a breaker: that withdraws others of these.
        if command.state in LIVE:
            commands.request_cancel(session, command, reason, now)
