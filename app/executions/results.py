"""What agents say of repairs, and what becomes of the anomaly.

repaired → repaired; already_consistent → healed; failed → open, or exhausted after max_retries + 1 of them;
unknown, wait → waiting; refused → open and verified; but needs_human where attempts end unknown or refused
again and again (poison.py); needs_human → needs_human; cancelled → open. Only failed spends a retry. Once
money has moved nothing is exhausted: the repair is resumed. What is unknown waits until a Verify ordered
after it says repair or resume (verifications.py), whatever else is reported meanwhile.
"""

from datetime import datetime

from msgspec import structs
from sqlalchemy import select

from agent.answers import RepairFinished
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies import reading
from app.anomalies import service as anomaly_service
from app.anomalies.models import TERMINAL_STATES, Anomaly, AnomalyEvent
from app.anomalies.service import MONEY_DURING_REPAIR, WAITING_FIRST
from app.anomalies.states import (
    RESOLUTION_CONFIRMED_FAILED,
    RESOLUTION_SUCCESS,
    change_state,
    count,
    note,
)
from app.anomalies.undebited import told_by
from app.audit.service import SYSTEM
from app.errors import ConflictError
from app.executions import attempt_record, late_money, moved_money, order_course, poison
from app.executions.models import Attempt
from app.executions.order_guard import HALF_DONE
from app.executions.retries import has_attempts_left
from app.plans.service import find_plan
from app.unit_of_work import WorkSession

UNCERTAIN = ("indeterminate", "superseded")
"""The agent may have done something: facts are read before the next attempt."""


def record_result(session: WorkSession, agent: Agent, message: RepairFinished, now: datetime) -> None:
    """Write down how an attempt ended and move its anomaly on. A result that no longer counts is evidence.

    Raises commands.OutOfStateError for a repair nobody ordered.
    """
    facts = message.facts_after or message.facts_before
    message = structs.replace(message, reason=told_by(message.reason, facts))
    finish = commands.finish(session, agent, message.command_id, now, fence=message.fence)
    session.flush()
    attempt = attempt_record.find_attempt(session, message.command_id)
    if attempt is None:
        return
    anomaly = session.get_one(Anomaly, attempt.anomaly_id)
    session.touch("executions", "anomalies", "home")
    if message.money_moved:
        if late_money.is_news(anomaly):
            _take_row(late_money.tell(session, anomaly, message, now), message, now)
        elif late_money.is_news_to_newer(anomaly, attempt):
            _note_late_money(session, anomaly, message, now)
        moved_money.note(session, anomaly, now, message.command_id)
    if not finish.counts:
        _keep_evidence(session, anomaly, finish.command, message, now)
        return
    attempt_record.write_result(session, attempt, agent, message, now)
    order_course.attempt_ended(session, attempt, now)
    count(session, anomaly.group_id, f"attempt_{message.outcome}", now)
    if message.outcome == "failed":
        anomaly.failed_attempts += 1
    if _is_over(anomaly, attempt, message):
        note(
            session,
            anomaly,
            code="late_result",
            reason=f"{message.outcome}: {message.reason}",
            actor=SYSTEM,
            now=now,
            command_id=message.command_id,
        )
        return
    _take_row(anomaly, message, now)
    told = late_money.find_told(session, anomaly, attempt, moved_money=message.money_moved)
    if told is not None and message.outcome != "needs_human":
        late_money.hand_over(session, anomaly, told, now, message.command_id)
    else:
        _apply(session, anomaly, message, now)


def _note_late_money(session: WorkSession, anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    code = MONEY_DURING_REPAIR
    note(session, anomaly, code=code, reason=code, actor=SYSTEM, now=now, command_id=message.command_id)


def _is_over(anomaly: Anomaly, attempt: Attempt, message: RepairFinished) -> bool:
    """A late result moves nothing where the anomaly is closed or in a newer attempt.

    One that is with a person or exhausted is moved only by news that the trade is whole.
    """
    if attempt.number != anomaly.attempts or anomaly.state in TERMINAL_STATES:
        return True
    is_whole = message.outcome in ("repaired", "already_consistent")
    return anomaly.state in ("needs_human", "exhausted") and not is_whole


def _keep_evidence(
    session: WorkSession, anomaly: Anomaly, command: Command, message: RepairFinished, now: datetime
) -> None:
    told = f"fence {message.fence}, {message.outcome}:"
    if message.outcome == "failed" and _is_first_of_given_up(session, anomaly, command, message, told):
        anomaly.failed_attempts += 1
    note(
        session,
        anomaly,
        code="late_result",
        reason=f"{told} {message.reason}",
        actor=SYSTEM,
        now=now,
        command_id=message.command_id,
    )
    if anomaly.state in ("open", "waiting"):
        _verify_if_free(session, anomaly, now)


def _is_first_of_given_up(
    session: WorkSession, anomaly: Anomaly, command: Command, message: RepairFinished, told: str
) -> bool:
    """Return whether an order that another took the place of, or that was given up, ends here for the first
    time: the try was made, and who came after it does not undo that.
    """
    if command.state == "finished" and message.fence == command.fence:
        return False
    before = select(AnomalyEvent.id).where(
        AnomalyEvent.anomaly_id == anomaly.id,
        AnomalyEvent.command_id == command.id,
        AnomalyEvent.code == "late_result",
        AnomalyEvent.reason.startswith(told, autoescape=True),
    )
    return session.scalars(before.limit(1)).first() is None


def _apply(session: WorkSession, anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    if message.outcome in ("failed", "needs_human") and not message.money_moved:
        # Whatever the repair had begun had no effect, and it was closed: the next one is a new one.
        moved_money.forget(anomaly)
        anomaly.reason = "" if anomaly.reason == HALF_DONE else anomaly.reason
    if message.outcome == "unknown":
        anomaly.unknown_since = now
    elif message.outcome in ("repaired", "already_consistent", "failed"):
        anomaly.unknown_since = None
    match message.outcome:
        case "repaired":
            is_failed = message.is_confirmed_failed
            anomaly.resolution = RESOLUTION_CONFIRMED_FAILED if is_failed else RESOLUTION_SUCCESS
            _move(session, anomaly, "repaired", message, now)
        case "already_consistent":
            anomaly_service.close_consistent(session, anomaly, now, message.command_id)
        case "failed":
            _apply_failed(session, anomaly, message, now)
        case "unknown" | "refused" if code := poison.reason_to_set_aside(session, anomaly):
            anomaly.reason = f"{code}: {message.reason}"[:200]
            _move(session, anomaly, "needs_human", message, now)
        case "unknown" | "wait":
            anomaly.reason = message.reason[:200]
            _move(session, anomaly, "waiting", message, now)
        case "refused":
            _move(session, anomaly, "waiting" if anomaly.unknown_since else "open", message, now)
            _verify_if_free(session, anomaly, now)
        case "needs_human":
            anomaly.reason = message.reason[:200]
            _move(session, anomaly, "needs_human", message, now)
        case "cancelled":
            waits = anomaly.has_moved_money or anomaly.unknown_since is not None
            _move(session, anomaly, "waiting" if waits else "open", message, now)


def _apply_failed(session: WorkSession, anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    anomaly.waiting_since = None
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    is_left = has_attempts_left(anomaly, plan.max_retries if plan is not None else 0)
    _move(session, anomaly, "open" if is_left else "exhausted", message, now)


def _move(session: WorkSession, anomaly: Anomaly, to: str, message: RepairFinished, now: datetime) -> None:
    change_state(
        session,
        anomaly,
        to,
        code=f"outcome_{message.outcome}",
        reason=message.reason,
        actor=SYSTEM,
        now=now,
        command_id=message.command_id,
    )


def _verify_if_free(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    try:
        anomaly_service.order_verify(session, anomaly, now, priority=WAITING_FIRST)
    except ConflictError as error:
        if error.code != "trade_busy":
            raise


def _take_row(anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    """The attempt has read the trade afresh: its row and facts are the newest.

    Without a row as last read it has read none, and ``before`` may be older than what the repair has written.
    """
    facts = message.facts_after or message.facts_before
    reading.take(anomaly, message.after, message.row_hash, facts, now)


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """A Repair closed without a result: its attempt ends, the anomaly is open or waits, or is for a person
    where that has come again and again (poison.py). No retry is spent.
    """
    if command.type != "Repair":
        return
    attempt = attempt_record.find_attempt(session, command.id)
    if attempt is None or attempt.outcome is not None:
        return
    now = command.finished_at or command.created_at
    attempt.outcome = commands.outcome_of_closed(command, outcome)
    attempt.outcome_reason = f"{outcome}: {command.error}"[:500]
    attempt.agent_id, attempt.finished_at = attempt.agent_id or command.agent_id, now
    order_course.attempt_ended(session, attempt, now)
    anomaly = session.get_one(Anomaly, attempt.anomaly_id)
    count(session, anomaly.group_id, f"attempt_{attempt.outcome}", now)
    session.touch("executions", "anomalies", "home")
    if anomaly.state != "repairing" or attempt.number != anomaly.attempts:
        return
    if outcome in UNCERTAIN or attempt.outcome == "unknown":
        anomaly.unknown_since = now
    told = late_money.find_told(session, anomaly, attempt, moved_money=False)
    if told is not None:
        late_money.hand_over(session, anomaly, told, now, command.id)
        return
    waits = anomaly.unknown_since is not None or anomaly.has_moved_money
    to = "waiting" if waits else "open"
    if outcome in (*UNCERTAIN, "rejected") and (code := poison.reason_to_set_aside(session, anomaly)):
        to, anomaly.reason = "needs_human", f"{code}: {command.error}"[:200]
    change_state(
        session,
        anomaly,
        to,
        code=f"command_{outcome}",
        reason=command.error,
        actor=SYSTEM,
        now=now,
        command_id=command.id,
    )
