"""Starting, retrying and cancelling repairs: what a tick and a click have in common."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from agent.protocol import BY_PERSON, MAX_AMOUNT
from agent.unpaid import ACTIONS
from app.agents import commands
from app.agents.issuing import TradeOrder, issue_many
from app.agents.models import Command
from app.agents.standing import find_block
from app.anomalies.models import TERMINAL_STATES, Anomaly
from app.anomalies.service import BY_PERSON_FIRST, GroupIds, get_anomaly
from app.anomalies.states import begin_anew, change_state, note
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, NotFoundError
from app.executions import beyond_shown
from app.executions.holding_back import keep_young
from app.executions.models import Attempt, Execution, Step
from app.executions.order_guard import find_hold, find_holds, keep_from_plan
from app.guards.clicks import beyond
from app.guards.counting import note_begun
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.service import find_plan
from app.unit_of_work import WorkSession

REPAIR_DEADLINE: Final = timedelta(minutes=10)
CLICKABLE_STATES: Final = ("open", "waiting", "exhausted")
RETRYABLE_STATES: Final = (*CLICKABLE_STATES, "needs_human")


@dataclass(frozen=True)
class Order:
    """Who asks for attempts, and why. ``trigger``: tick, click, command_line, or a money order's action.

    ``facts_hash``, with such an action only: the facts that it stands on.
    """

    trigger: str
    actor: Actor
    reason: str
    now: datetime
    facts_hash: str = ""

    @property
    def action(self) -> str | None:
        """What a person orders of a trade debited and unpaid (agent.unpaid), None for a repair by plan."""
        return self.trigger if self.trigger in ACTIONS else None

    @property
    def is_by_person(self) -> bool:
        """Whether a person asks, not the plan by itself."""
        return self.trigger != "tick"


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


def start_attempt(session: WorkSession, anomaly: Anomaly, plan: Plan, order: Order) -> Attempt:
    """Command a repair of the anomaly by its plan.

    Raises ConflictError: trade_busy, stopped_… where a stop stands, and unless an order of people itself asks
    order_stands, order_only. The caller has asked ``refusal``.
    """
    hold = None if order.action else find_hold(session, anomaly, by_person=order.is_by_person)
    if hold is not None:
        raise ConflictError(hold, trade_no=anomaly.trade_no)
    block = find_block(session, plan.group_id, plan.fixer_code, order.now)
    if block is not None:
        raise block.error()
    attempts = start_attempts(session, [anomaly], plan, order)
    if not attempts:
        raise ConflictError("trade_busy", trade_no=anomaly.trade_no)
    return attempts[0]


def start_attempts(
    session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, order: Order
) -> list[Attempt]:
    """Command repairs of anomalies by their plan; those whose trade has a live command are left out, and of a
    tick those whose last outcome is unknown: a Verify comes first. So are those that only an order of people
    may move (app.executions.order_guard); of a tick those go to a person.

    The caller has asked ``refusal`` of each. While a stop stands none is commanded; by itself none of a trade
    known to be too old. A command carries neither amount nor payee, for the agent reads those: only the
    amount that limits, or a person, judged it by, above which nothing is begun.
    """
    if not anomalies or find_block(session, plan.group_id, plan.fixer_code, order.now) is not None:
        return []
    if not order.is_by_person:
        known = [anomaly for anomaly in anomalies if anomaly.unknown_since is None]
        anomalies = keep_young(session, known, plan, order.now)
        anomalies = keep_from_plan(session, anomalies, order.now)
    elif order.action is None:
        holds = find_holds(session, anomalies, by_person=True)
        anomalies = [anomaly for anomaly in anomalies if anomaly.id not in holds]
    issued = issue_many(
        session,
        type="Repair",
        group_id=plan.group_id,
        orders=[TradeOrder(anomaly.trade_no, _message(anomaly, plan, order)) for anomaly in anomalies],
        deadline=REPAIR_DEADLINE,
        now=order.now,
        fixer_code=plan.fixer_code,
        priority=plan.level + (BY_PERSON_FIRST if order.is_by_person else 0),
        feature=order.action,
    )
    earlier = _executions_of(session, [one.id for one in anomalies if one.attempts])
    attempts = [
        _begin(session, anomaly, plan, order, issued[anomaly.trade_no], earlier.get(anomaly.id))
        for anomaly in anomalies
        if anomaly.trade_no in issued
    ]
    session.flush()
    if not order.is_by_person:
        by_id = {anomaly.id: anomaly for anomaly in anomalies}
        begun = [(by_id[attempt.anomaly_id], attempt.command_id) for attempt in attempts]
        note_begun(session, plan, begun, order.now)
    session.touch("executions", "home")
    return attempts


def _message(anomaly: Anomaly, plan: Plan, order: Order) -> dict[str, Any]:
    message: dict[str, Any] = {
        "trade_no": anomaly.trade_no,
        "fixer_code": plan.fixer_code,
        "row_hash": anomaly.row_hash,
    }
    if order.is_by_person:
        message[BY_PERSON] = True
    if order.action is None and anomaly.amount_minor is not None:
        message[MAX_AMOUNT] = anomaly.amount_minor
    if order.action is not None:
        message |= {"action": order.action, "facts_hash": order.facts_hash}
    return message


def _begin(
    session: WorkSession,
    anomaly: Anomaly,
    plan: Plan,
    order: Order,
    command_id: str,
    execution: Execution | None,
) -> Attempt:
    if execution is None:
        execution = Execution(
            group_id=anomaly.group_id,
            anomaly=anomaly,
            trade_no=anomaly.trade_no,
            created_at=order.now,
        )
    execution.plan_id, execution.plan_version = plan.id, plan.version
    execution.fixer_code, execution.finished_at = plan.fixer_code, None
    if order.is_by_person:
        begin_anew(anomaly, order.now)
    anomaly.attempts += 1
    attempt = Attempt(
        execution=execution,
        anomaly_id=anomaly.id,
        group_id=anomaly.group_id,
        number=anomaly.attempts,
        command_id=command_id,
        trigger=order.trigger,
        actor_name=order.actor.name,
        reason=order.reason.strip(),
        created_at=order.now,
    )
    session.add(attempt)
    change_state(
        session,
        anomaly,
        "repairing",
        code=f"attempt_{order.trigger}",
        reason=attempt.reason,
        actor=order.actor,
        now=order.now,
        command_id=command_id,
    )
    return attempt


def _executions_of(session: WorkSession, anomaly_ids: list[int]) -> dict[int, Execution]:
    if not anomaly_ids:
        return {}
    rows = session.scalars(select(Execution).where(Execution.anomaly_id.in_(anomaly_ids))).unique()
    return {execution.anomaly_id: execution for execution in rows}


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
