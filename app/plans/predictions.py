"""Shadow and dry run: reading what a plan would do, and writing it down (app.plans.comparisons compares it).

A look is a Verify: the agent reads the facts afresh and decides, and writes nothing. Its answer foretells the
outcome, the steps and the row a repair would leave; nothing here ever commands a repair.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, exists, select, update

from agent.answers import FactsRead
from app.agents.models import Command
from app.anomalies.models import OPEN_STATES, Anomaly, AnomalyEvent
from app.anomalies.service import BY_PERSON_FIRST, GroupIds, get_anomaly, order_verify
from app.anomalies.states import note
from app.audit import service as audit
from app.audit.reasons import optional_reason
from app.audit.service import SYSTEM, Actor
from app.columns import fitting
from app.errors import ConflictError
from app.keyset import ReadSession
from app.lately import is_lately
from app.plans.comparisons import is_compared
from app.plans.models import Plan
from app.plans.prediction_models import Prediction
from app.plans.service import find_plan
from app.unit_of_work import WorkSession

LOOK_AGAIN_AFTER: Final = timedelta(hours=1)
"""Ledger and bank may change without the row: a shadow looks again after so long, and no sooner."""
ASK_AGAIN_AFTER: Final = timedelta(seconds=30)
"""What could not be read is not asked again sooner, however often the plan ticks."""
ORDERED: Final = "dry_run_ordered"


def is_unknown(plan: Plan, now: datetime) -> ColumnElement[bool]:
    """Return the condition on an anomaly that a plan in shadow has something to ask about it.

    It has not: looked at within LOOK_AGAIN_AFTER for this plan, while neither row nor decision has become
    another; or asked just now, and not answered in words of use.
    """
    is_known = exists().where(
        Prediction.anomaly_id == Anomaly.id,
        Prediction.is_newest,
        Prediction.plan_id == plan.id,
        Prediction.row_hash == Anomaly.row_hash,
        Prediction.outcome == Anomaly.outcome,
        is_lately(Prediction.looked_at, now, LOOK_AGAIN_AFTER),
    )
    was_asked = exists().where(
        Command.group_id == Anomaly.group_id,
        Command.trade_no == Anomaly.trade_no,
        Command.type == "Verify",
        is_lately(Command.created_at, now, ASK_AGAIN_AFTER),
    )
    return ~is_known & ~was_asked


def dry_run(
    session: WorkSession, anomaly_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> None:
    """Order a look at one anomaly for a person, whatever its plan; its answer becomes a prediction.

    Raises NotFoundError('anomaly'), InvalidError for the reason, ConflictError: closed, repairing, no_fixer,
    group_disabled, trade_busy, no_trade_number.
    """
    reason = optional_reason(reason)
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    code = dry_run_refusal(anomaly)
    if code is not None:
        raise ConflictError(code, trade_no=anomaly.trade_no, sys_code=anomaly.group.sys_code)
    command = order_verify(session, anomaly, now, priority=BY_PERSON_FIRST)
    note(session, anomaly, code=ORDERED, reason=reason, actor=actor, now=now, command_id=command.id)
    audit.record(
        session,
        actor=actor,
        action="anomaly.dry_run",
        object_type="anomaly",
        object_id=anomaly.id,
        object_name=anomaly.trade_no,
        sys_code=anomaly.group.sys_code,
        reason=reason,
        now=now,
    )


def dry_run_refusal(anomaly: Anomaly) -> str | None:
    """Return the code why an anomaly cannot be tried, None where it can."""
    if anomaly.state not in OPEN_STATES:
        return "closed"
    if anomaly.state == "repairing":
        return "repairing"
    if anomaly.fixer_code is None:
        return "no_fixer"
    return None if anomaly.group.is_enabled else "group_disabled"


def find_dry_run(session: ReadSession, anomaly: Anomaly, command_id: str | None) -> AnomalyEvent | None:
    """Return the event by which a person ordered the look, None for any other Verify."""
    ordered = select(AnomalyEvent).where(
        AnomalyEvent.anomaly_id == anomaly.id,
        AnomalyEvent.command_id == command_id,
        AnomalyEvent.code == ORDERED,
    )
    return session.scalars(ordered).first()


def record_look(
    session: WorkSession, anomaly: Anomaly, message: FactsRead, ordered: AnomalyEvent | None, now: datetime
) -> Prediction | None:
    """Write down what a look foretells of an anomaly whose facts were just taken.

    Only of a plan in shadow, or ``ordered`` by a person; None where neither, or where nothing could be read.
    The same once more makes no row. What is consistent and has a prediction to compare with makes none
    either: the comparison tells it.
    """
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    if ordered is None and (plan is None or not plan.is_shadow):
        return None
    if message.outcome == "error":
        return None
    if message.outcome == "consistent" and is_compared(session, anomaly):
        return None
    newest = find_newest(session, anomaly.id)
    made = _prediction(anomaly, plan, message, ordered, now)
    session.touch("anomalies", "plans")
    if newest is not None and _is_same(newest, made):
        newest.looked_at, newest.looks = now, newest.looks + 1
        return newest
    session.execute(
        update(Prediction)
        .where(Prediction.anomaly_id == anomaly.id, Prediction.is_newest)
        .values(is_newest=False)
    )
    session.add(made)
    session.flush()
    return made


def find_newest(session: ReadSession, anomaly_id: int) -> Prediction | None:
    """Return the newest prediction of an anomaly, or None."""
    of_anomaly = select(Prediction).where(Prediction.anomaly_id == anomaly_id)
    return session.scalars(of_anomaly.order_by(Prediction.id.desc()).limit(1)).first()


def _is_same(one: Prediction, other: Prediction) -> bool:
    return (one.digest, one.plan_id) == (other.digest, other.plan_id)


FORETOLD: Final = {"missing": "human", "resume": "repair"}
"""What a look's word comes to; the other words say it themselves."""


def _prediction(
    anomaly: Anomaly, plan: Plan | None, message: FactsRead, ordered: AnomalyEvent | None, now: datetime
) -> Prediction:
    outcome = FORETOLD.get(message.outcome, message.outcome)
    reason = "resume" if message.outcome == "resume" else fitting(message.reason, 200)
    facts = msgspec.to_builtins(message.facts)
    return Prediction(
        group_id=anomaly.group_id,
        anomaly_id=anomaly.id,
        trade_no=anomaly.trade_no,
        plan_id=None if plan is None else plan.id,
        plan_version=None if plan is None else plan.version,
        trigger="shadow" if ordered is None else "dry_run",
        actor_name=SYSTEM.name if ordered is None else ordered.actor_name,
        fixer_code=message.fixer_code,
        outcome=outcome,
        reason=reason,
        steps=list(message.steps),
        row=message.row,
        row_hash=fitting(message.row_hash, 64),
        after=message.after,
        facts=facts,
        digest=_digest(outcome, reason, message, facts),
        is_newest=True,
        looks=1,
        at=now,
        looked_at=now,
    )


def _digest(outcome: str, reason: str, message: FactsRead, facts: dict[str, Any] | None) -> str:
    """Return what stands for all that was foretold; the time of reading is no part of it."""
    timeless = None if facts is None else {name: facts[name] for name in facts if name != "read_at"}
    said = (outcome, reason, message.fixer_code, message.row, message.after, message.steps, timeless)
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
