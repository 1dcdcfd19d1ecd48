"""System groups (系统组别): the production systems Piculus looks after."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from flask import current_app
from sqlalchemy import ColumnElement, or_, select

from app.audit import service as audit
from app.audit.reasons import reason_errors
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.i18n import is_zone
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.thresholds import GROUP_DEFAULTS, THRESHOLDS, ThresholdValues, is_tightened, threshold_errors
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from app.users.service import FormErrors
from app.users.validation import NAME_LIMIT

SYS_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")

GroupDisabled = Callable[[WorkSession, SystemGroup, Actor, str, datetime], None]
"""Hears of a group that was disabled, by whom and why; bound by create_app."""
GroupNarrowed = Callable[[WorkSession, SystemGroup, datetime], None]
"""Hears of a group whose plans may from now on begin less by themselves in an hour; bound by create_app."""


def list_groups(session: ReadSession, group_ids: Sequence[int] | None = None) -> list[SystemGroup]:
    """Return the groups by code; ``group_ids`` those a person may see, None: all."""
    statement = select(SystemGroup).order_by(SystemGroup.sys_code)
    if group_ids is not None:
        statement = statement.where(SystemGroup.id.in_(group_ids))
    return list(session.scalars(statement))


def page_groups(
    session: ReadSession,
    cut: Cut,
    *,
    group_ids: Sequence[int] | None = None,
    text: str = "",
    state: str = "",
) -> tuple[Page[SystemGroup], CappedCount]:
    """Return a page of groups by code, and how many match.

    ``group_ids``: those a person may see, None: all. ``text``: part of code or name; ``state``: enabled …
    Raises InvalidError('cursor').
    """
    filters: list[ColumnElement[bool]] = []
    if group_ids is not None:
        filters.append(SystemGroup.id.in_(group_ids))
    if text:
        columns = (SystemGroup.sys_code, SystemGroup.name)
        filters.append(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if state:
        filters.append(SystemGroup.is_enabled == (state == "enabled"))
    order = Order(SystemGroup.sys_code, SystemGroup.id, is_descending=False)
    return page_of(session, SystemGroup, filters, order, cut), capped_count(session, SystemGroup, filters)


def get_group(session: ReadSession, group_id: int) -> SystemGroup:
    """Return the group. Raises NotFoundError('group')."""
    group = session.get(SystemGroup, group_id)
    if group is None:
        raise NotFoundError("group")
    return group


def find_group(session: ReadSession, sys_code: str) -> SystemGroup | None:
    """Return the group of that code, None where there is none."""
    return session.scalars(select(SystemGroup).where(SystemGroup.sys_code == sys_code)).first()


def create_group(
    session: WorkSession,
    *,
    actor: Actor,
    sys_code: str,
    name: str = "",
    zone: str = "Asia/Shanghai",
    trade_table: str = "",
    reason: str = "",
    now: datetime,
) -> SystemGroup:
    """Make a group; its trade table defaults to ``T<sys_code>_TRD_ACC_TRADE``. Raises FormErrors."""
    errors: list[InvalidError | ConflictError] = _value_errors(name, zone, trade_table)
    errors += reason_errors(reason, is_required=False)
    if not SYS_CODE.fullmatch(sys_code):
        errors.insert(0, InvalidError("sys_code_format" if sys_code else "required", field="sys_code"))
    elif find_group(session, sys_code) is not None:
        errors.insert(0, ConflictError("sys_code_taken", field="sys_code", sys_code=sys_code))
    if errors:
        raise FormErrors(errors)
    group = SystemGroup(
        sys_code=sys_code,
        name=name,
        zone=zone,
        trade_table=trade_table or f"T{sys_code}_TRD_ACC_TRADE",
        created_at=now,
    )
    session.add(group)
    session.flush()
    _record(session, group, "group.create", actor, now, {"name": name, "zone": zone}, reason)
    return group


def update_group(
    session: WorkSession,
    group: SystemGroup,
    *,
    actor: Actor,
    name: str,
    zone: str,
    trade_table: str,
    is_enabled: bool,
    thresholds: ThresholdValues | None = None,
    reason: str = "",
    now: datetime,
    version: int | None = None,
) -> None:
    """Change a group; its code stays, and its breaker's thresholds where None are given.

    Disabling it takes a reason, and ends its collections and what is pending; what runs finishes. A lower
    amount an hour ends what its plans began by themselves and no agent was sent.
    ``version`` is the one the change was made on, None for whichever stands. Raises FormErrors,
    ConflictError('group_changed') since that version.
    """
    if version is not None and version != group.version:
        raise ConflictError("group_changed")
    errors = _value_errors(name, zone, trade_table)
    errors += reason_errors(reason, is_required=group.is_enabled and not is_enabled)
    if thresholds is not None:
        errors += threshold_errors(thresholds, GROUP_DEFAULTS)
    if not trade_table:
        errors.append(InvalidError("required", field="trade_table"))
    if errors:
        raise FormErrors(errors)
    wanted = {"name": name, "zone": zone, "trade_table": trade_table, "is_enabled": is_enabled}
    wanted |= {} if thresholds is None else {one: getattr(thresholds, one) for one in THRESHOLDS}
    changed: dict[str, object] = {
        key: [getattr(group, key), value] for key, value in wanted.items() if getattr(group, key) != value
    }
    hour_minor = group.breaker_hour_minor
    for key, value in wanted.items():
        setattr(group, key, value)
    detail = changed
    if changed:
        group.version += 1
        detail = {"version": group.version, **changed}
    _record(session, group, "group.update", actor, now, detail, reason)
    if "is_enabled" in changed and not is_enabled:
        listeners: tuple[GroupDisabled, ...] = current_app.extensions.get("group_disabled", ())
        for listener in listeners:
            listener(session, group, actor, reason, now)
    if is_tightened(hour_minor, group.breaker_hour_minor):
        _tell_narrowed(session, group, now)


def _tell_narrowed(session: WorkSession, group: SystemGroup, now: datetime) -> None:
    listeners: tuple[GroupNarrowed, ...] = current_app.extensions.get("group_narrowed", ())
    for listener in listeners:
        listener(session, group, now)


def _value_errors(name: str, zone: str, trade_table: str) -> list[InvalidError | ConflictError]:
    errors: list[InvalidError | ConflictError] = []
    if len(name) > NAME_LIMIT:
        errors.append(InvalidError("too_long", field="name", limit=NAME_LIMIT))
    if not is_zone(zone):
        errors.append(InvalidError("unknown_zone", field="zone", zone=zone))
    if trade_table and not TABLE_NAME.fullmatch(trade_table):
        errors.append(InvalidError("table_format", field="trade_table"))
    return errors


def _record(
    session: WorkSession,
    group: SystemGroup,
    action: str,
    actor: Actor,
    now: datetime,
    detail: dict[str, object],
    reason: str,
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="group",
        object_id=group.id,
        object_name=group.name,
        sys_code=group.sys_code,
        reason=reason,
        detail=detail,
        now=now,
    )
    session.touch("users", "audit")
