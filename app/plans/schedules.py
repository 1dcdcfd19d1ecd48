"""Recurring collections (定时收集): at most one a group."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy import select

from app.audit import service as audit
from app.audit.reasons import reason_errors, required_reason
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.keyset import ReadSession
from app.plans.fixer_codes import fixer_choices, fixer_code_errors
from app.plans.models import CollectionSchedule
from app.plans.quartz import next_fire_time
from app.plans.service import GroupIds
from app.plans.validation import (
    MAX_WINDOW_HOURS,
    cron_errors,
    group_error,
    zone_errors,
)
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from app.users.service import FormErrors


@dataclass(frozen=True)
class ScheduleValues:
    """A recurring collection. ``fixer_codes`` empty: every code; the window reaches back from the tick.

    ``runs_on_first_connect`` None: as it was, not for a new one.
    """

    sys_code: str
    cron: str
    zone: str = "Asia/Shanghai"
    fixer_codes: tuple[str, ...] = ()
    window_hours: int = 168
    is_enabled: bool = True
    runs_on_first_connect: bool | None = None


def list_schedules(session: ReadSession, group_ids: GroupIds) -> list[CollectionSchedule]:
    """Return the schedules a person may see, by group."""
    statement = select(CollectionSchedule).join(SystemGroup).order_by(SystemGroup.sys_code)
    if group_ids is not None:
        statement = statement.where(CollectionSchedule.group_id.in_(list(group_ids)))
    return list(session.scalars(statement).unique())


def find_schedule(session: ReadSession, group_id: int) -> CollectionSchedule | None:
    """Return the schedule of a group, or None."""
    statement = select(CollectionSchedule).where(CollectionSchedule.group_id == group_id)
    return session.scalars(statement).first()


def digest_of(schedule: CollectionSchedule | None) -> str:
    """Return SHA-256 over what a form shows of a schedule, and of when that was saved; also of none."""
    told = None if schedule is None else _told(schedule)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _told(schedule: CollectionSchedule) -> tuple[object, ...]:
    when = (schedule.cron, schedule.zone, schedule.window_hours, schedule.fixer_codes, schedule.is_enabled)
    return schedule.id, schedule.updated_at, *when


def set_schedule(
    session: WorkSession,
    values: ScheduleValues,
    *,
    actor: Actor,
    now: datetime,
    reason: str = "",
    group_ids: GroupIds = None,
    seen: str | None = None,
) -> CollectionSchedule:
    """Make or change the schedule of a group; switching it off takes a reason.

    A code that it names already may stay, though no agent offers it now. ``seen`` is the digest (digest_of)
    of the one the change was made on, None for whichever stands. Raises FormErrors with every field at fault,
    ConflictError('schedule_changed') where another stands by now.
    """
    group, schedule = _check(session, values, reason, group_ids, now)
    if seen is not None and seen != digest_of(schedule):
        raise ConflictError("schedule_changed")
    if schedule is None:
        schedule = CollectionSchedule(group_id=group.id, group=group)
        session.add(schedule)
    if values.runs_on_first_connect is None:
        values = replace(values, runs_on_first_connect=bool(schedule.runs_on_first_connect))
    schedule.cron, schedule.zone = values.cron, values.zone
    schedule.fixer_codes = sorted(set(values.fixer_codes))
    schedule.window_hours = values.window_hours
    schedule.is_enabled = values.is_enabled
    schedule.runs_on_first_connect = bool(values.runs_on_first_connect)
    schedule.next_due_at = next_fire_time(values.cron, values.zone, now) if values.is_enabled else None
    schedule.updated_at, schedule.updated_by = now, actor.name
    session.flush()
    _audit(session, schedule, "schedule.set", actor, reason, asdict(values), now)
    return schedule


def delete_schedule(
    session: WorkSession,
    group_id: int,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    group_ids: GroupIds = None,
) -> None:
    """Delete the schedule of a group. Raises NotFoundError('schedule'), InvalidError for the reason."""
    reason = required_reason(reason)
    schedule = find_schedule(session, group_id)
    if schedule is None or (group_ids is not None and group_id not in group_ids):
        raise NotFoundError("schedule")
    _audit(session, schedule, "schedule.delete", actor, reason, {"cron": schedule.cron}, now)
    session.delete(schedule)
    session.flush()


def _check(
    session: WorkSession, values: ScheduleValues, reason: str, group_ids: GroupIds, now: datetime
) -> tuple[SystemGroup, CollectionSchedule | None]:
    """Return the group and the schedule it has, None for none yet. Raises FormErrors."""
    errors = cron_errors(values.cron, "cron", now) + zone_errors(values.zone)
    if not 1 <= values.window_hours <= MAX_WINDOW_HOURS:
        errors.append(InvalidError("range", field="window_hours", low=1, high=MAX_WINDOW_HOURS))
    group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == values.sys_code)).first()
    if group is None or (group_ids is not None and group.id not in group_ids):
        raise FormErrors([group_error(values.sys_code), *errors])
    schedule = find_schedule(session, group.id)
    errors += _code_errors(session, group.id, values.fixer_codes, schedule)
    is_switched_off = schedule is not None and schedule.is_enabled and not values.is_enabled
    errors += reason_errors(reason, is_required=is_switched_off)
    if errors:
        raise FormErrors(errors)
    return group, schedule


def _code_errors(
    session: WorkSession, group_id: int, codes: Iterable[str], schedule: CollectionSchedule | None
) -> list[InvalidError]:
    """Return what is wrong with the codes: no name of a fixer, or one that no agent of the group has."""
    known = {*fixer_choices(session, [group_id]), *(schedule.fixer_codes if schedule else ())}
    return [
        InvalidError("fixer_code", field="codes", fixer_code=code)
        for code in codes
        if code not in known or fixer_code_errors(code)
    ]


def _audit(
    session: WorkSession,
    schedule: CollectionSchedule,
    action: str,
    actor: Actor,
    reason: str,
    detail: dict[str, object],
    now: datetime,
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="schedule",
        object_id=schedule.id,
        object_name=schedule.group.sys_code,
        sys_code=schedule.group.sys_code,
        reason=reason,
        detail=detail,
        now=now,
    )
    session.touch("plans", "collections", "audit")
