"""Commanding repairs: what a tick and a person's word have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from agent.protocol import BY_PERSON, MAX_AMOUNT
from agent.unpaid import ACTIONS
from app.agents.issuing import TradeOrder, issue_many
from app.agents.standing import find_block
from app.anomalies.models import Anomaly
from app.anomalies.service import BY_PERSON_FIRST
from app.anomalies.states import begin_anew, change_state
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError
from app.executions.holding_back import is_old, keep_young
from app.executions.models import Attempt, Execution
from app.executions.order_guard import find_hold, find_holds, keep_from_plan
from app.guards.counting import note_begun
from app.guards.verdicts import let_go
from app.plans.models import Plan
from app.unit_of_work import WorkSession

REPAIR_DEADLINE: Final = timedelta(minutes=10)


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
    return _command(session, _may_begin(session, anomalies, plan, order), plan, order)


def start_by_plan(
    session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, reason: str, now: datetime
) -> list[Attempt]:
    """Command what the plan begins by itself of these: of what start_attempts would command for a tick, what
    its limits and breakers let go.
    """
    order = Order("tick", SYSTEM, reason, now)
    # They are asked last: what they let go counts as begun.
    going = let_go(session, plan, _may_begin(session, anomalies, plan, order), now)
    return _command(session, going, plan, order)


def _command(session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, order: Order) -> list[Attempt]:
    if not anomalies:
        return []
    issued = _issue(session, anomalies, plan, order)
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


def _issue(session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, order: Order) -> dict[str, str]:
    """Write the commands, to agents that know what theirs asks of them; return their ids by trade number."""
    by_feature: dict[str | None, list[Anomaly]] = {}
    for anomaly in anomalies:
        by_feature.setdefault(_feature_of(anomaly, order), []).append(anomaly)
    issued: dict[str, str] = {}
    for feature, some in by_feature.items():
        issued |= issue_many(
            session,
            type="Repair",
            group_id=plan.group_id,
            orders=[TradeOrder(anomaly.trade_no, _message(anomaly, plan, order)) for anomaly in some],
            deadline=REPAIR_DEADLINE,
            now=order.now,
            fixer_code=plan.fixer_code,
            priority=plan.level + (BY_PERSON_FIRST if order.is_by_person else 0),
            feature=feature,
        )
    return issued


def _feature_of(anomaly: Anomaly, order: Order) -> str | None:
    """Return what an agent must know to be sent it: an order's action; of an old trade that no person asks
    about, that it is not to go by itself, for an agent that does not may come online before it is sent.
    """
    if order.is_by_person:
        return order.action
    return BY_PERSON if is_old(anomaly, order.now) else None


def _may_begin(
    session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, order: Order
) -> Sequence[Anomaly]:
    if not anomalies or find_block(session, plan.group_id, plan.fixer_code, order.now) is not None:
        return []
    if order.action is not None:
        return anomalies
    if order.is_by_person:
        holds = find_holds(session, anomalies, by_person=True)
        return [anomaly for anomaly in anomalies if anomaly.id not in holds]
    known = [anomaly for anomaly in anomalies if anomaly.unknown_since is None]
    young = keep_young(session, known, plan, order.now)
    return keep_from_plan(session, young, order.now)


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
