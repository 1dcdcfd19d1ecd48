"""Repair plans: made, changed, copied, enabled, disabled, deleted, with a version for each change."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from flask import current_app
from sqlalchemy import select

from app.agents.withdrawing import cancel_repairs
from app.audit import service as audit
from app.audit.reasons import reason_errors, required_reason
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.keyset import ReadSession
from app.plans.limits import LIMITS
from app.plans.models import Plan, PlanVersion
from app.plans.product_plans import PlanValues
from app.plans.quartz import next_fire_time
from app.plans.usage import refuse_at_work, refuse_in_use
from app.plans.validation import group_error, value_errors
from app.thresholds import THRESHOLDS, is_tightened
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from app.users.service import FormErrors

CHANGED_BY_EDIT: Final = (
    "fixer_code",
    "max_retries",
    "retry_cron",
    "mode",
    "state",
    "level",
    "description",
    "zone",
    "is_shadow",
    *LIMITS,
    *THRESHOLDS,
)
PlanLeaves = Callable[[ReadSession, Plan], None]
"""Raises ConflictError where a plan may not leave its group and fixer; bound by create_app."""

PlanNarrowed = Callable[[WorkSession, Plan, datetime], None]
"""Hears of a plan that from now on does less by itself; bound by create_app."""

GroupIds = Collection[int] | None
"""The groups a person may see; None: all."""


def get_plan(session: ReadSession, plan_id: int, group_ids: GroupIds) -> Plan:
    """Return the plan. Raises NotFoundError('plan') where it is absent or of a group not to be seen."""
    plan = session.get(Plan, plan_id)
    if plan is None or (group_ids is not None and plan.group_id not in group_ids):
        raise NotFoundError("plan")
    return plan


def find_plan(session: ReadSession, group_id: int, fixer_code: str | None) -> Plan | None:
    """Return the plan of a fixer in a group, None where there is none (无方案)."""
    if fixer_code is None:
        return None
    statement = select(Plan).where(Plan.group_id == group_id, Plan.fixer_code == fixer_code)
    return session.scalars(statement).first()


def values_of(plan: Plan) -> PlanValues:
    """Return the plan's parameters."""
    return PlanValues(sys_code=plan.group.sys_code, **{name: getattr(plan, name) for name in CHANGED_BY_EDIT})


def create_plan(
    session: WorkSession,
    values: PlanValues,
    *,
    actor: Actor,
    now: datetime,
    reason: str = "",
    group_ids: GroupIds = None,
) -> Plan:
    """Make a plan. Raises FormErrors with every field at fault: group unknown, plan_exists among them."""
    group = _check(session, values, reason_errors(reason, is_required=False), group_ids, None, now)
    plan = Plan(
        group_id=group.id,
        group=group,
        created_at=now,
        updated_at=now,
        updated_by=actor.name,
        version=1,
        **_columns(values),
    )
    plan.next_due_at = due_after(plan, now)
    session.add(plan)
    session.flush()
    _keep_version(session, plan, "plan.create", actor, reason, now, detail={})
    return plan


def update_plan(
    session: WorkSession,
    plan_id: int,
    values: PlanValues,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    group_ids: GroupIds = None,
    version: int | None = None,
) -> Plan:
    """Change a plan, for a reason; the same values change nothing. Disabling cancels its pending commands;
    what lets it do less by itself, those that it began by itself.

    ``version`` is the one the change was made on, None for whichever stands. Raises NotFoundError('plan'),
    FormErrors; ConflictError: plan_changed since that version, plan_in_use for another group or fixer while
    a repair of it has not ended, plan_tripped while its breaker stands, plan_at_work for putting it into
    shadow meanwhile.
    """
    plan = get_plan(session, plan_id, group_ids)
    if version is not None and version != plan.version:
        raise ConflictError("plan_changed", name=plan.updated_by)
    before = values_of(plan)
    changed = _changed(before, values)
    errors = reason_errors(reason, is_required=bool(changed))
    group = _check(session, values, errors, group_ids, plan.id, now)
    if not changed:
        return plan
    if {"sys_code", "fixer_code"} & changed.keys():
        refuse_in_use(session, plan, field="fixer_code")
        _ask_to_leave(session, plan)
    if values.is_shadow and not before.is_shadow:
        refuse_at_work(session, plan)
    if values.state == "disabled" and before.state == "normal":
        cancel_repairs(session, plan.group_id, plan.fixer_code, "plan_disabled", now)
    plan.group_id, plan.group = group.id, group
    for name, value in _columns(values).items():
        setattr(plan, name, value)
    if {"retry_cron", "zone", "mode", "state", "is_shadow"} & changed.keys():
        plan.next_due_at = due_after(plan, now)
    plan.version += 1
    plan.updated_at, plan.updated_by = now, actor.name
    session.flush()
    _keep_version(session, plan, "plan.update", actor, reason, now, detail={"changed": changed})
    if _is_narrower(before, values):
        _tell_narrowed(session, plan, now)
    return plan


def enable_plan(
    session: WorkSession,
    plan_id: int,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    group_ids: GroupIds = None,
) -> Plan:
    """Set a plan to 正常. Raises as disable_plan."""
    reason = required_reason(reason)
    values = _in_state(get_plan(session, plan_id, group_ids), "normal")
    return update_plan(session, plan_id, values, actor=actor, now=now, reason=reason, group_ids=group_ids)


def disable_plan(
    session: WorkSession,
    plan_id: int,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    group_ids: GroupIds = None,
) -> Plan:
    """Set a plan to 失效: its pending commands are cancelled, running ones finish.

    Raises NotFoundError('plan'), InvalidError for the reason, ConflictError('plan_is_so') for one that is so.
    """
    reason = required_reason(reason)
    values = _in_state(get_plan(session, plan_id, group_ids), "disabled")
    return update_plan(session, plan_id, values, actor=actor, now=now, reason=reason, group_ids=group_ids)


def _in_state(plan: Plan, state: str) -> PlanValues:
    """Return the plan's values in another state. Raises ConflictError('plan_is_so')."""
    if plan.state == state:
        raise ConflictError("plan_is_so")
    return replace(values_of(plan), state=state)


def delete_plan(
    session: WorkSession,
    plan_id: int,
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    group_ids: GroupIds = None,
) -> None:
    """Delete a plan and its versions; open anomalies nobody has attempted stay, without a plan.

    Raises NotFoundError('plan'), InvalidError for the reason, ConflictError: plan_in_use, plan_tripped while
    its breaker stands.
    """
    reason = required_reason(reason)
    plan = get_plan(session, plan_id, group_ids)
    refuse_in_use(session, plan)
    _ask_to_leave(session, plan)
    _audit(session, plan, "plan.delete", actor, reason, now, {"values": asdict(values_of(plan))})
    session.delete(plan)
    session.flush()


def in_the_way(session: ReadSession, plan: Plan) -> list[ConflictError]:
    """Return all that keeps a plan from being deleted, or given another group or fixer: one error each."""
    found: list[ConflictError] = []
    for ask in (refuse_in_use, *_leave_listeners()):
        try:
            ask(session, plan)
        except ConflictError as error:
            found.append(error)
    return found


def _ask_to_leave(session: WorkSession, plan: Plan) -> None:
    """The plan is about to leave its group or fixer; who objects raises."""
    for listener in _leave_listeners():
        listener(session, plan)


def _leave_listeners() -> tuple[PlanLeaves, ...]:
    listeners: tuple[PlanLeaves, ...] = current_app.extensions.get("plan_leaves", ())
    return listeners


def due_after(plan: Plan, now: datetime) -> datetime | None:
    """Return the plan's next due time; None for one without ticks."""
    if not plan.has_ticks:
        return None
    return next_fire_time(plan.retry_cron, plan.zone, now)


def _check(
    session: WorkSession,
    values: PlanValues,
    errors: Sequence[InvalidError],
    group_ids: GroupIds,
    plan_id: int | None,
    now: datetime,
) -> SystemGroup:
    """Return the group of the values. Raises FormErrors with what is wrong with them, and ``errors``."""
    wrong = [*value_errors(values, now), *errors]
    sys_code, fixer_code = values.sys_code, values.fixer_code
    group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == sys_code)).first()
    if group is None or (group_ids is not None and group.id not in group_ids):
        raise FormErrors([group_error(sys_code), *wrong])
    other = find_plan(session, group.id, fixer_code)
    if other is not None and other.id != plan_id:
        wrong.insert(
            0, ConflictError("plan_exists", field="fixer_code", sys_code=sys_code, fixer_code=fixer_code)
        )
    if wrong:
        raise FormErrors(wrong)
    return group


def _is_narrower(before: PlanValues, after: PlanValues) -> bool:
    """Return whether a plan does less by itself than before: manual, in shadow, or within a lower amount or
    count.
    """
    was_auto = before.mode == "auto" and not before.is_shadow
    is_auto = after.mode == "auto" and not after.is_shadow
    bounds = (*LIMITS, "breaker_hour_minor")
    is_lowered = any(is_tightened(getattr(before, one), getattr(after, one)) for one in bounds)
    return (was_auto and not is_auto) or is_lowered


def _tell_narrowed(session: WorkSession, plan: Plan, now: datetime) -> None:
    listeners: tuple[PlanNarrowed, ...] = current_app.extensions.get("plan_narrowed", ())
    for listener in listeners:
        listener(session, plan, now)


def _columns(values: PlanValues) -> dict[str, Any]:
    return {name: getattr(values, name) for name in CHANGED_BY_EDIT}


def _changed(before: PlanValues, after: PlanValues) -> dict[str, list[Any]]:
    old, new = asdict(before), asdict(after)
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def _keep_version(
    session: WorkSession,
    plan: Plan,
    action: str,
    actor: Actor,
    reason: str,
    now: datetime,
    detail: dict[str, Any],
) -> None:
    session.add(
        PlanVersion(
            plan_id=plan.id,
            version=plan.version,
            at=now,
            actor_name=actor.name,
            reason=reason,
            values=asdict(values_of(plan)),
        )
    )
    _audit(session, plan, action, actor, reason, now, {"version": plan.version, **detail})


def _audit(
    session: WorkSession,
    plan: Plan,
    action: str,
    actor: Actor,
    reason: str,
    now: datetime,
    detail: dict[str, Any],
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="plan",
        object_id=plan.id,
        object_name=plan.fixer_code,
        sys_code=plan.group.sys_code,
        reason=reason,
        detail=detail,
        now=now,
    )
    session.touch("plans", "audit")
