"""Starting, retrying and cancelling repairs by a person's word."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from app.agents import commands
from app.agents.models import Command
from app.anomalies.models import TERMINAL_STATES, Anomaly
from app.anomalies.service import GroupIds, get_anomaly
from app.anomalies.states import note
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, NotFoundError
from app.executions import beyond_shown
from app.executions.models import Attempt, Execution, Step
from app.executions.starting import Order, start_attempt
from app.guards.clicks import beyond
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.service import find_plan
from app.unit_of_work import WorkSession

CLICKABLE_STATES: Final = ("open", "waiting", "exhausted")
RETRYABLE_STATES: Final = (*CLICKABLE_STATES, "needs_human")


def get_attempt(session: ReadSession, attempt_id: int, group_ids: GroupIds) -> Attempt:
    """Return the attempt. Raises NotFoundError('attempt')."""
    attempt = session.get(Attempt, attempt_id)
    if attempt is None or (group_ids is not None and attempt.group_id not in group_ids):
        raise NotFoundError("attempt")
    return attempt


def find_execution(session: ReadSession, anomaly_id: int) -> Execution | None:
    """Return the execution of an anomaly, None before its first attempt."""
    return session.scalars(select(Execution).where(Execution.anomaly_id == anomaly_id)).unique().first()


def refusal(
    state: str,
    fixer_code: str | None,
    plan: Plan | None,
    is_group_enabled: bool,
    allowed: Iterable[str] = CLICKABLE_STATES,
) -> str | None:
    """Return the code why an anomaly cannot be attempted, None where it can."""
    if state in TERMINAL_STATES:
        return "closed"
    if state == "repairing":
        return "repairing"
    if fixer_code is None:
        return "no_fixer"
    if plan is None:
        return "no_plan"
    if plan.state == "disabled":
        return "plan_disabled"
    if plan.is_shadow:
        return "plan_shadow"
    if not is_group_enabled:
        return "group_disabled"
    return None if state in allowed else state


def attempt_one(
    session: WorkSession,
    anomaly_id: int,
    order: Order,
    *,
    group_ids: GroupIds,
    figures: Mapping[str, str] | None = None,
) -> Attempt:
    """Attempt one anomaly by a person's word.

    ``figures``: what its form carries of limits and breakers (beyond_shown), None where there was none.
    Raises NotFoundError('anomaly'), InvalidError for the reason, ConflictError: no_plan, plan_disabled,
    plan_shadow, group_disabled, no_fixer, needs_human, repairing, closed, beyond_grew, trade_busy,
    stopped_all, stopped_group, stopped_agent, stopped_here, order_stands, order_only (order_guard).
    """
    return _by_person(session, anomaly_id, order, group_ids, figures, CLICKABLE_STATES, "attempt.start")


def retry_now(
    session: WorkSession,
    anomaly_id: int,
    order: Order,
    *,
    group_ids: GroupIds,
    figures: Mapping[str, str] | None = None,
) -> Attempt:
    """Make one further attempt whatever the count, also of an anomaly that waits for a person.

    Raises as attempt_one, but for needs_human.
    """
    return _by_person(session, anomaly_id, order, group_ids, figures, RETRYABLE_STATES, "attempt.retry")


def _by_person(
    session: WorkSession,
    anomaly_id: int,
    order: Order,
    group_ids: GroupIds,
    figures: Mapping[str, str] | None,
    allowed: Iterable[str],
    action: str,
) -> Attempt:
    required_reason(order.reason)
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    code = refusal(anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled, allowed)
    if code is not None or plan is None:
        sys_code = anomaly.group.sys_code
        raise ConflictError(code, trade_no=anomaly.trade_no, fixer_code=anomaly.fixer_code, sys_code=sys_code)
    passed = beyond(session, plan, [anomaly], order.now)
    beyond_shown.require_no_more(figures, beyond_shown.figures_of_one(passed))
    attempt = start_attempt(session, anomaly, plan, order)
    _audit(session, attempt, anomaly, action, order, passed.told)
    return attempt


def close_execution(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    """The anomaly is closed, whatever ended it: so is its repair, with the row as last read."""
    execution = find_execution(session, anomaly.id) if anomaly.attempts else None
    if execution is not None:
        execution.after, execution.finished_at = anomaly.row, now
        session.touch("executions")


def cancel_attempt(
    session: WorkSession,
    attempt_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
) -> Attempt:
    """Ask that an attempt stop before its next outside effect; one not yet sent is cancelled at once.

    Raises NotFoundError('attempt'), InvalidError for the reason, ConflictError('money_moved') once a step
    that moves money was begun, ConflictError('command_closed') when it has ended.
    """
    reason = required_reason(reason)
    attempt = get_attempt(session, attempt_id, group_ids)
    anomaly = get_anomaly(session, attempt.anomaly_id, group_ids)
    command = commands.find(session, attempt.command_id)
    if command is None or attempt.outcome is not None:
        raise ConflictError("command_closed")
    if has_begun_money(session, attempt, anomaly, command):
        raise ConflictError("money_moved", trade_no=anomaly.trade_no)
    note(
        session,
        anomaly,
        code="cancel_requested",
        reason=reason,
        actor=actor,
        now=now,
        command_id=command.id,
    )
    commands.request_cancel(session, command, reason, now)
    _audit(session, attempt, anomaly, "attempt.cancel", Order("click", actor, reason, now))
    session.touch("executions")
    return attempt


def has_begun_money(session: ReadSession, attempt: Attempt, anomaly: Anomaly, command: Command) -> bool:
    """Return whether a step that moves money was begun, in this attempt or before: too late to cancel."""
    if attempt.money_moved or anomaly.has_moved_money:
        return command.state != "pending"
    begun = select(Step.id).where(Step.attempt_id == attempt.id, Step.moves_money, Step.state != "failed")
    return session.scalars(begun.limit(1)).first() is not None


def _audit(
    session: WorkSession,
    attempt: Attempt,
    anomaly: Anomaly,
    action: str,
    order: Order,
    passed: Mapping[str, Any] | None = None,
) -> None:
    """``passed``: the guards that a person's click goes beyond (app.guards.clicks.beyond)."""
    audit.record(
        session,
        actor=order.actor,
        action=action,
        object_type="attempt",
        object_id=attempt.id,
        object_name=anomaly.trade_no,
        sys_code=anomaly.group.sys_code,
        reason=order.reason.strip(),
        detail={
            "number": attempt.number,
            "anomaly_id": anomaly.id,
            "trigger": order.trigger,
            **(passed or {}),
        },
        now=order.now,
    )
