"""An attempt as its agent tells it: begun, step by step, and how it ended, written to its rows."""

from datetime import datetime

import msgspec
from sqlalchemy import delete, select

from agent.answers import RepairFinished, Started, StepRecord, StepRecorded
from app.agents import commands
from app.agents.models import Agent
from app.anomalies.models import Anomaly
from app.anomalies.reading import parse_moment
from app.columns import bounded
from app.executions import moved_money
from app.executions.models import Attempt, Step
from app.unit_of_work import WorkSession


def find_attempt(session: WorkSession, command_id: str | None) -> Attempt | None:
    """Return the attempt that the command is for, or None."""
    return session.scalars(select(Attempt).where(Attempt.command_id == command_id)).unique().first()


def record_started(session: WorkSession, agent: Agent, message: Started, now: datetime) -> None:
    """An agent has begun an attempt; of anything else nothing is written."""
    attempt = find_attempt(session, message.command_id)
    if attempt is not None and attempt.outcome is None:
        attempt.agent_id, attempt.started_at = agent.id, attempt.started_at or now
        session.touch("executions")


def record_step(session: WorkSession, agent: Agent, message: StepRecorded, now: datetime) -> None:
    """Write down a step the agent has written down; one of an older fence or an ended attempt is dropped."""
    attempt = find_attempt(session, message.command_id)
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
            moved_money.note(session, anomaly, now, message.command_id)
    session.touch("executions")


def write_result(
    session: WorkSession, attempt: Attempt, agent: Agent, message: RepairFinished, now: datetime
) -> None:
    """Write down how an attempt ended; the steps of its result take the place of those told meanwhile."""
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
