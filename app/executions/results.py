"""What agents say of repairs and verifications, and what becomes of the anomaly.

repaired → repaired; already_consistent → healed; failed → open, or exhausted after max_retries + 1 of them;
unknown, wait → waiting, but needs_human where attempts break off every time (crashes.py); refused → open and
verified; needs_human → needs_human; cancelled → open. Only failed spends a retry. Once money has moved
nothing is exhausted: the repair is resumed. What is unknown waits until a Verify ordered after it says repair
or resume, whatever else is reported meanwhile.
"""

from datetime import datetime

import msgspec
from sqlalchemy import delete, select

from agent.protocol import FactsRead, RepairFinished, Started, StepRecord, StepRecorded
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies import claims
from app.anomalies import service as anomaly_service
from app.anomalies.models import TERMINAL_STATES, Anomaly
from app.anomalies.reports import parse_moment
from app.anomalies.states import (
    RESOLUTION_CONFIRMED_FAILED,
    RESOLUTION_SUCCESS,
    change_state,
    count,
    note,
)
from app.audit.service import SYSTEM
from app.columns import bounded, fitting
from app.errors import ConflictError
from app.executions import crashes, order_course
from app.executions.models import Attempt, Step
from app.executions.retries import exhaust, goes_on_by_itself, has_attempts_left
from app.executions.service import Order, refusal, start_attempts
from app.guards.verdicts import let_go
from app.plans import predictions
from app.plans.service import find_plan
from app.unit_of_work import WorkSession


def record_started(session: WorkSession, agent: Agent, message: Started, now: datetime) -> None:
    """An agent has begun an attempt; of anything else nothing is written."""
    attempt = _find_attempt(session, message.command_id)
    if attempt is not None and attempt.outcome is None:
        attempt.agent_id, attempt.started_at = agent.id, attempt.started_at or now
        session.touch("executions")


def record_step(session: WorkSession, agent: Agent, message: StepRecorded, now: datetime) -> None:
    """Write down a step the agent has written down; one of an older fence or an ended attempt is dropped."""
    attempt = _find_attempt(session, message.command_id)
    command = commands.find(session, message.command_id)
    if attempt is None or command is None or attempt.outcome is not None or command.fence != message.fence:
        return
    if command.agent_id != agent.id:
        return
    attempt.agent_id, attempt.started_at = agent.id, attempt.started_at or now
    seq = bounded(message.step.seq)
    step = session.scalars(select(Step).where(Step.attempt_id == attempt.id, Step.seq == seq)).first()
    if step is None:
        step = Step(attempt_id=attempt.id, seq=seq)
        session.add(step)
    _fill(step, message.step, now)
    if step.moves_money and step.state == "done":
        attempt.money_moved = True
        anomaly = session.get(Anomaly, attempt.anomaly_id)
        if anomaly is not None:
            _note_money(session, anomaly, now, message.command_id)
    session.touch("executions")


def record_facts(session: WorkSession, agent: Agent, message: FactsRead, now: datetime) -> None:
    """Apply the answer of a Verify, and write down what a shadow or a dry run asked.

    What waited and may go on now is attempted at once by an auto plan; not by the answer to a dry run.

    Raises commands.OutOfStateError for a Verify nobody ordered.
    """
    finish = commands.finish(session, agent, message.command_id, now)
    if not finish.counts:
        return
    session.flush()
    before = anomaly_service.find_open(session, agent.group_id, message.trade_no)
    if before is not None and is_stale(before, finish.command):
        # Read before the attempt whose outcome nobody knows: it says nothing of what that did.
        claims.command_closed(session, finish.command, "unknown")
        return
    was_waiting = before is not None and before.state == "waiting"
    if before is not None and message.outcome == "resume":
        # Production's step table holds a repair half done, whether or not its result ever came.
        _note_money(session, before, now, message.command_id)
    elif before is not None and message.outcome == "repair":
        # No repair half done stands there: what was begun has ended without effect.
        _forget_money(before)
    if before is not None and message.outcome in ("repair", "resume"):
        before.unknown_since = None
    claim = claims.find_pending(session, message.command_id)
    if claim is not None and before is not None:
        claims.settle(session, claim, before, message, now)
        return
    anomaly = anomaly_service.record_facts(session, agent, message, now)
    if anomaly is None or anomaly.state == "repairing":
        return
    ordered = predictions.find_dry_run(session, anomaly, message.command_id)
    predictions.record_look(session, anomaly, message, ordered, now)
    if was_waiting and anomaly.state == "open" and ordered is None:
        _go_on(session, anomaly, message, now)


def _go_on(session: WorkSession, anomaly: Anomaly, message: FactsRead, now: datetime) -> None:
    """The wait is over: attempt now what its plan may attempt by itself; without attempts left, exhausted."""
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    if plan is None or plan.is_shadow:
        return
    if not has_attempts_left(anomaly, plan.max_retries):
        exhaust(session, anomaly, now, message.command_id)
        return
    refused = refusal(anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled)
    if refused is None and goes_on_by_itself(anomaly, plan):
        going = let_go(session, plan, [anomaly], now)
        start_attempts(session, going, plan, Order("tick", SYSTEM, "the wait is over", now))


def record_result(session: WorkSession, agent: Agent, message: RepairFinished, now: datetime) -> None:
    """Write down how an attempt ended and move its anomaly on. A result that no longer counts is evidence.

    Raises commands.OutOfStateError for a repair nobody ordered.
    """
    finish = commands.finish(session, agent, message.command_id, now, fence=message.fence)
    session.flush()
    attempt = _find_attempt(session, message.command_id)
    if attempt is None:
        return
    anomaly = session.get_one(Anomaly, attempt.anomaly_id)
    session.touch("executions", "anomalies", "home")
    if message.money_moved:
        _note_money(session, anomaly, now, message.command_id)
    if not finish.counts:
        _keep_evidence(session, anomaly, message, now)
        return
    _write_result(session, attempt, agent, message, now)
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
    _apply(session, anomaly, message, now)


def _is_over(anomaly: Anomaly, attempt: Attempt, message: RepairFinished) -> bool:
    """A late result moves nothing where the anomaly is closed or in a newer attempt.

    One that is with a person or exhausted is moved only by news that the trade is whole.
    """
    if attempt.number != anomaly.attempts or anomaly.state in TERMINAL_STATES:
        return True
    is_whole = message.outcome in ("repaired", "already_consistent")
    return anomaly.state in ("needs_human", "exhausted") and not is_whole


def _keep_evidence(session: WorkSession, anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    note(
        session,
        anomaly,
        code="late_result",
        reason=f"fence {message.fence}, {message.outcome}: {message.reason}",
        actor=SYSTEM,
        now=now,
        command_id=message.command_id,
    )
    if anomaly.state in ("open", "waiting"):
        _verify_if_free(session, anomaly, now)


def _apply(session: WorkSession, anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    if message.outcome in ("failed", "needs_human") and not message.money_moved:
        # Whatever the repair had begun had no effect, and it was closed: the next one is a new one.
        _forget_money(anomaly)
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
        case "unknown" if crashes.crashes_every_time(session, anomaly):
            anomaly.reason = f"{crashes.CODE}: {message.reason}"[:200]
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
        anomaly_service.order_verify(session, anomaly, now)
    except ConflictError as error:
        if error.code != "trade_busy":
            raise


def _write_result(
    session: WorkSession, attempt: Attempt, agent: Agent, message: RepairFinished, now: datetime
) -> None:
    attempt.agent_id = agent.id
    attempt.outcome, attempt.outcome_reason = message.outcome, message.reason[:500]
    attempt.is_confirmed_failed, attempt.money_moved = message.is_confirmed_failed, message.money_moved
    attempt.before, attempt.after = message.before, message.after
    attempt.facts_before = msgspec.to_builtins(message.facts_before)
    attempt.facts_after = msgspec.to_builtins(message.facts_after)
    attempt.started_at = attempt.started_at or parse_moment(message.started_at)
    attempt.finished_at, attempt.duration_ms = now, bounded(message.duration_ms)
    execution = attempt.execution
    execution.before = execution.before or message.before
    session.execute(delete(Step).where(Step.attempt_id == attempt.id))
    session.expire(attempt, ["steps"])
    for seq, record in {bounded(record.seq): record for record in message.steps}.items():
        step = Step(attempt_id=attempt.id, seq=seq)
        _fill(step, record, now)
        session.add(step)


def _fill(step: Step, record: StepRecord, now: datetime) -> None:
    step.name, step.key, step.state = record.name[:40], record.key[:160], record.state
    step.moves_money, step.detail = record.moves_money, record.detail[:500]
    step.started_at = parse_moment(record.started_at) or now
    step.finished_at, step.duration_ms = parse_moment(record.finished_at), bounded(record.duration_ms)


def _take_row(anomaly: Anomaly, message: RepairFinished, now: datetime) -> None:
    """The attempt has read the trade afresh: its row and facts are the newest."""
    row = message.after or message.before
    facts = message.facts_after or message.facts_before
    if row is not None:
        anomaly.row = row
        anomaly.row_hash = fitting(message.row_hash, 64) or anomaly.row_hash
    if facts is not None:
        anomaly.facts = msgspec.to_builtins(facts)
    anomaly.last_seen_at = now


def _note_money(session: WorkSession, anomaly: Anomaly, now: datetime, command_id: str | None) -> None:
    """A repair has posted or paid, or may have; found after the last attempt, a person must know of it."""
    anomaly.has_moved_money = True
    anomaly.money_moved_at = anomaly.money_moved_at or now
    if anomaly.state == "exhausted":
        anomaly.reason = MONEY_FOUND
        change_state(
            session,
            anomaly,
            "needs_human",
            code=MONEY_FOUND,
            reason=MONEY_FOUND,
            actor=SYSTEM,
            now=now,
            command_id=command_id,
        )


def _forget_money(anomaly: Anomaly) -> None:
    anomaly.has_moved_money, anomaly.money_moved_at = False, None


def _find_attempt(session: WorkSession, command_id: str | None) -> Attempt | None:
    return session.scalars(select(Attempt).where(Attempt.command_id == command_id)).unique().first()


def is_stale(anomaly: Anomaly, verify: Command) -> bool:
    """Return whether a Verify was ordered before an attempt ended whose outcome nobody knows."""
    return anomaly.unknown_since is not None and verify.created_at < anomaly.unknown_since


MONEY_FOUND = "money_found"
OUTCOME_OF_CLOSED = {"indeterminate": "unknown"}
"""What an attempt is called whose command closed without a result; else the command's own word."""
UNCERTAIN = ("indeterminate", "superseded")
"""The agent may have done something: facts are read before the next attempt."""


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """A Repair closed without a result: its attempt ends, the anomaly is open or waits. No retry is spent."""
    if command.type != "Repair":
        return
    attempt = _find_attempt(session, command.id)
    if attempt is None or attempt.outcome is not None:
        return
    now = command.finished_at or command.created_at
    attempt.outcome = OUTCOME_OF_CLOSED.get(outcome, outcome)
    attempt.outcome_reason = f"{outcome}: {command.error}"[:500]
    attempt.agent_id, attempt.finished_at = attempt.agent_id or command.agent_id, now
    order_course.attempt_ended(session, attempt, now)
    anomaly = session.get_one(Anomaly, attempt.anomaly_id)
    count(session, anomaly.group_id, f"attempt_{attempt.outcome}", now)
    session.touch("executions", "anomalies", "home")
    if anomaly.state != "repairing" or attempt.number != anomaly.attempts:
        return
    if outcome in UNCERTAIN or (outcome == "expired" and command.agent_id is not None):
        # Sent to an agent whose Ack never came, it may have been worked on all the same.
        anomaly.unknown_since = now
    waits = anomaly.unknown_since is not None or anomaly.has_moved_money
    to = "waiting" if waits else "open"
    if outcome in UNCERTAIN and crashes.crashes_every_time(session, anomaly):
        to, anomaly.reason = "needs_human", f"{crashes.CODE}: {command.error}"[:200]
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
