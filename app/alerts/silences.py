"""Silences: a person hears nothing of a kind in a group until a time, and says why."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from app.alerts.events import KINDS
from app.alerts.models import AlertSilence
from app.audit import service as audit
from app.audit.reasons import optional_reason, reason_errors
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.keyset import Cut, Order, Page, ReadSession, page_of
from app.unit_of_work import WorkSession
from app.users.groups import find_group
from app.users.service import FormErrors

GroupIds = Collection[int] | None
"""The groups a person may see; None: all."""

LONGEST: Final = timedelta(days=30)


def list_silences(session: ReadSession, group_ids: GroupIds, cut: Cut) -> Page[AlertSilence]:
    """Return a page of the silences that concern these groups, ended ones included, the newest first."""
    filters: list[ColumnElement[bool]] = []
    if group_ids is not None:
        filters.append(_concerns(group_ids))
    return page_of(session, AlertSilence, filters, Order(AlertSilence.id, AlertSilence.id), cut)


def list_standing(session: ReadSession, group_ids: GroupIds, now: datetime) -> list[AlertSilence]:
    """Return the silences that concern these groups now, the widest first."""
    statement = (
        select(AlertSilence)
        .where(AlertSilence.until > now, AlertSilence.ended_at.is_(None))
        .order_by(AlertSilence.group_id.is_not(None), AlertSilence.kind.is_not(None), AlertSilence.id)
    )
    if group_ids is not None:
        statement = statement.where(_concerns(group_ids))
    return list(session.scalars(statement).unique())


def get_silence(session: ReadSession, silence_id: int, group_ids: GroupIds) -> AlertSilence:
    """Return the silence. Raises NotFoundError where it is absent or of a group not to be seen."""
    silence = session.get(AlertSilence, silence_id)
    if silence is None or not _may_touch(silence.group_id, group_ids):
        raise NotFoundError("alert_silence")
    return silence


def begin_silence(
    session: WorkSession,
    *,
    kind: str,
    sys_code: str,
    until: datetime | None,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
) -> AlertSilence:
    """Silence a kind ('': any) in a group ('': all) from now on. Raises FormErrors.

    Only who sees every group may silence every group.
    """
    wrong: list[InvalidError | ConflictError] = []
    group = find_group(session, sys_code) if sys_code else None
    if kind and kind not in KINDS:
        wrong.append(InvalidError("choice", field="kind", value=kind))
    if sys_code and (group is None or not _may_touch(group.id, group_ids)):
        wrong.append(InvalidError("unknown_group", field="group"))
    if not sys_code and group_ids is not None:
        wrong.append(InvalidError("group_required", field="group"))
    if until is None:
        wrong.append(InvalidError("required", field="silent_until"))
    elif not now < until <= now + LONGEST:
        wrong.append(InvalidError("alert_until", field="silent_until", days=LONGEST.days))
    wrong += reason_errors(reason, is_required=True)
    if wrong or until is None:
        raise FormErrors(wrong)
    silence = AlertSilence(
        kind=kind or None,
        group_id=None if group is None else group.id,
        until=until,
        reason=reason.strip(),
        created_at=now,
        created_by=actor.name,
    )
    session.add(silence)
    session.flush()
    code = None if group is None else group.sys_code
    _record(session, silence, "alert_silence.begin", code, actor, reason.strip(), now)
    return silence


def end_silence(
    session: WorkSession,
    silence_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
) -> AlertSilence:
    """End a silence before its time.

    Raises NotFoundError, InvalidError for the reason, ConflictError('alert_silence_ended').
    """
    reason = optional_reason(reason)
    silence = get_silence(session, silence_id, group_ids)
    if silence.ended_at is not None or silence.until <= now:
        raise ConflictError("alert_silence_ended")
    silence.ended_at, silence.ended_by = now, actor.name
    code = None if silence.group is None else silence.group.sys_code
    _record(session, silence, "alert_silence.end", code, actor, reason, now)
    return silence


def _concerns(group_ids: Collection[int]) -> ColumnElement[bool]:
    return or_(AlertSilence.group_id.is_(None), AlertSilence.group_id.in_(group_ids))


def _may_touch(group_id: int | None, group_ids: GroupIds) -> bool:
    return group_ids is None or group_id in group_ids


def _record(
    session: WorkSession,
    silence: AlertSilence,
    action: str,
    sys_code: str | None,
    actor: Actor,
    reason: str,
    now: datetime,
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="alert_silence",
        object_id=silence.id,
        object_name=silence.kind or "",
        sys_code=sys_code,
        reason=reason,
        detail={"kind": silence.kind, "until": silence.until.isoformat()},
        now=now,
    )
    session.touch("alerts", "audit")
