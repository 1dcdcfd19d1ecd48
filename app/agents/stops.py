"""The stop switch: everything, a group or one agent begins no repair until a person lifts the stop.

Set, it withdraws what is pending in its scope and asks what agents hold to stop before its first money step;
a repair that has moved money runs to its end, or waits half done and is gone on with once the stop is lifted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from flask import current_app
from sqlalchemy import ColumnElement, and_, or_, select

from app.agents import commands, service
from app.agents.models import IS_LIVE, IS_STANDING, Command, Stop
from app.agents.standing import Block, find_block, list_standing, read_holds, told
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, ForbiddenError, NotFoundError
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.unit_of_work import WorkSession
from app.users.groups import get_group

BATCH: Final = 500
"""So many pending repairs are withdrawn in one unit of work; none is sent meanwhile."""

StopChanged = Callable[[WorkSession, Stop, datetime], None]
"""Hears of a stop that was set, or lifted (``lifted_at``); bound by create_app."""


@dataclass(frozen=True)
class Target:
    """What a stop is for: one group, one agent, or with neither everything."""

    group_id: int | None = None
    agent_id: int | None = None


def set_stop(
    session: WorkSession,
    target: Target,
    *,
    reason: str,
    actor: Actor,
    group_ids: Sequence[int] | None,
    now: datetime,
) -> Stop:
    """Stop repairs, at once. ``group_ids``: those the person may see, None: all.

    Raises InvalidError for the reason, NotFoundError (group, agent), ForbiddenError('stop_all') where someone
    who does not see all groups would stop them, ConflictError('stop_stands') where it stands already.
    """
    reason = required_reason(reason)
    stop = stop_of(session, target, group_ids)
    standing = _standing_like(session, stop)
    if standing is not None:
        raise ConflictError("stop_stands", who=standing.set_by, why=standing.reason)
    stop.reason, stop.set_by, stop.set_at = reason, actor.name, now
    session.add(stop)
    session.flush()
    _record(session, stop, "stop.set", reason, actor, now)
    enforce(session, now)
    _tell(session, stop, now)
    commands.look_now(session)
    return stop


def lift(
    session: WorkSession,
    stop_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: Sequence[int] | None,
    is_admin: bool,
    now: datetime,
) -> Stop:
    """End a stop. One for everything only an administrator lifts.

    Raises NotFoundError('stop'), InvalidError for the reason, ForbiddenError('stop_lift_all'),
    ConflictError('stop_lifted').
    """
    reason = required_reason(reason)
    stop = get_stop(session, stop_id, group_ids)
    if stop.scope == "all" and not is_admin:
        raise ForbiddenError("stop_lift_all")
    if stop.lifted_at is not None:
        raise ConflictError("stop_lifted", who=stop.lifted_by)
    stop.lifted_at, stop.lifted_by, stop.lift_reason = now, actor.name, reason
    session.flush()
    _record(session, stop, "stop.lift", reason, actor, now)
    _tell(session, stop, now)
    commands.look_now(session)
    return stop


def _tell(session: WorkSession, stop: Stop, now: datetime) -> None:
    listeners: tuple[StopChanged, ...] = current_app.extensions.get("stop_changed", ())
    for listener in listeners:
        listener(session, stop, now)


def enforce(session: WorkSession, now: datetime) -> int:
    """Withdraw repairs that stops hold back, BATCH of those still pending; return how many.

    What an agent holds is asked to stop. Called when a stop is set and each second after: what another
    process issued in the same moment is withdrawn then, and nothing pends until its deadline.
    """
    found = _held(session)
    for command, stop in found:
        commands.request_cancel(session, command, told(stop.set_by, stop.reason), now)
    pending = _pending(session, now)
    for command, block in pending:
        commands.request_cancel(session, command, block.told(), now)
    if found or pending:
        session.touch("executions", "anomalies", "home")
    return len(found) + len(pending)


def has_work(session: ReadSession) -> bool:
    """Return whether enforce may find anything; a read that needs no lock."""
    holds = read_holds(session)
    return holds.is_for_all or bool(holds.group_ids) or bool(holds.agent_ids)


def get_stop(session: ReadSession, stop_id: int, group_ids: Sequence[int] | None) -> Stop:
    """Return the stop. Raises NotFoundError('stop') where it is absent or of a group not to be seen."""
    stop = session.get(Stop, stop_id)
    is_seen = stop is not None and (group_ids is None or stop.group_id is None or stop.group_id in group_ids)
    if stop is None or not is_seen:
        raise NotFoundError("stop")
    return stop


def find_standing(session: WorkSession, target: Target) -> Stop | None:
    """Return the stop that stands for exactly this, or None. Raises NotFoundError (group, agent)."""
    return _standing_like(session, stop_of(session, target, None))


def list_lifted(
    session: ReadSession, group_ids: Sequence[int] | None, cut: Cut
) -> tuple[Page[Stop], CappedCount]:
    """Return a page of the stops that were lifted, the newest first, and how many there are."""
    filters: list[ColumnElement[bool]] = [Stop.lifted_at.is_not(None)]
    if group_ids is not None:
        filters.append(or_(Stop.group_id.is_(None), Stop.group_id.in_(group_ids)))
    order = Order(Stop.id, Stop.id)
    return page_of(session, Stop, filters, order, cut), capped_count(session, Stop, filters)


def stop_of(session: ReadSession, target: Target, group_ids: Sequence[int] | None) -> Stop:
    """Return a stop of this, not stored. Raises NotFoundError (group, agent), ForbiddenError('stop_all')."""
    if target.agent_id is not None:
        agent = service.get(session, target.agent_id)
        if group_ids is not None and agent.group_id not in group_ids:
            raise NotFoundError("agent", id=agent.id)
        return Stop(scope="agent", group_id=agent.group_id, agent_id=agent.id, name=agent.name)
    if target.group_id is not None:
        group = get_group(session, target.group_id)
        if group_ids is not None and group.id not in group_ids:
            raise NotFoundError("group")
        return Stop(scope="group", group_id=group.id, name=group.sys_code)
    if group_ids is not None:
        raise ForbiddenError("stop_all")
    return Stop(scope="all", name="")


def _standing_like(session: WorkSession, stop: Stop) -> Stop | None:
    return session.scalars(select(Stop).where(IS_STANDING, *_same_target(stop))).first()


def _same_target(stop: Stop) -> tuple[ColumnElement[bool], ...]:
    group = Stop.group_id.is_(None) if stop.group_id is None else Stop.group_id == stop.group_id
    agent = Stop.agent_id.is_(None) if stop.agent_id is None else Stop.agent_id == stop.agent_id
    return Stop.scope == stop.scope, group, agent


def _held(session: WorkSession) -> list[tuple[Command, Stop]]:
    """Return the repairs that stopped agents hold and were not asked to stop yet, each with its stop."""
    found: dict[str, tuple[Command, Stop]] = {}
    for stop in list_standing(session):
        where: list[ColumnElement[bool]] = []
        if stop.scope == "group":
            where = [Command.group_id == stop.group_id]
        elif stop.scope == "agent":
            where = [Command.agent_id == stop.agent_id]
        # Locked, so that on PostgreSQL what another process is just sending is seen as sent.
        repairs = select(Command).where(IS_LIVE, Command.state != "pending", *_wanted(), *where)
        for command in session.scalars(repairs.with_for_update()):
            found.setdefault(command.id, (command, stop))
    return list(found.values())


def _pending(session: WorkSession, now: datetime) -> list[tuple[Command, Block]]:
    """Return pending repairs that cannot begin, BATCH at most, each with what holds it back."""
    is_pending = and_(IS_LIVE, Command.state == "pending", *_wanted())
    kinds = session.execute(select(Command.group_id, Command.fixer_code).where(is_pending).distinct()).all()
    found: list[tuple[Command, Block]] = []
    for group_id, fixer_code in kinds:
        block = find_block(session, group_id, fixer_code or "", now)
        if block is None or len(found) >= BATCH:
            continue
        repairs = (
            select(Command)
            .where(is_pending, Command.group_id == group_id, Command.fixer_code == fixer_code)
            .order_by(Command.priority.desc(), Command.seq)
            .limit(BATCH - len(found))
        )
        found += [(command, block) for command in session.scalars(repairs.with_for_update())]
    return found


def _wanted() -> tuple[ColumnElement[bool], ...]:
    return Command.type == "Repair", Command.cancel_requested_at.is_(None)


def _record(session: WorkSession, stop: Stop, action: str, reason: str, actor: Actor, now: datetime) -> None:
    group = None if stop.group_id is None else get_group(session, stop.group_id)
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="stop",
        object_id=stop.id,
        object_name=stop.name,
        sys_code=None if group is None else group.sys_code,
        reason=reason,
        detail={"scope": stop.scope, "set_by": stop.set_by, "set_for": stop.reason},
        now=now,
    )
    session.touch("agents", "audit", "anomalies", "executions", "plans", "home")
