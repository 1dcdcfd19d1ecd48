"""What agents say of a collection: started, progress, chunks of rows, and the trailer."""

from datetime import datetime

from sqlalchemy import delete, func, select

from agent.answers import AnomaliesReported, CollectFinished, CollectProgress, Started
from app.agents import commands
from app.agents.models import Agent
from app.anomalies import reports
from app.anomalies.collection_course import LIVE_TASK_STATES, current_tasks, settle, sum_up
from app.anomalies.models import CollectionTask, ReportedChunk
from app.errors import ConflictError, NotFoundError
from app.unit_of_work import WorkSession


def record_started(session: WorkSession, agent: Agent, message: Started, now: datetime) -> None:
    """The agent begins to read, from the start: chunks of an earlier beginning no longer count."""
    task = _find_task(session, agent, message.command_id)
    if task is None or task.state not in LIVE_TASK_STATES:
        return
    session.execute(delete(ReportedChunk).where(ReportedChunk.task_id == task.id))
    task.state, task.started_at = "running", now
    task.chunks = task.rows = task.amount_minor = task.scanned = 0
    session.touch("collections")


def record_progress(session: WorkSession, agent: Agent, message: CollectProgress, now: datetime) -> None:
    """Show how far a shard is; of an ended task it is dropped."""
    task = _find_task(session, agent, message.command_id)
    if task is None or task.state not in LIVE_TASK_STATES or not _is_of(task, message):
        return
    task.state, task.started_at = "running", task.started_at or now
    task.scanned, task.estimated = message.scanned, message.estimated
    sum_up(task.run, current_tasks(session, task.run))
    session.touch("collections")


def record_anomalies(session: WorkSession, agent: Agent, message: AnomaliesReported, now: datetime) -> None:
    """Take one chunk. A repeated chunk replaces what it counted before; of an ended task it is dropped.

    Raises NotFoundError('task') for a report nobody asked for, ConflictError('shard') for another shard's,
    InvalidError('malformed') for rows that docs/protocol.md forbids.
    """
    task = _get_task(session, agent, message)
    reports.check_rows(message.rows)
    if task.state not in LIVE_TASK_STATES:
        return
    task.state, task.started_at = "running", task.started_at or now
    amount = sum(trade.amount_minor or 0 for trade in message.rows)
    chunk = session.get(ReportedChunk, (task.id, message.chunk))
    if chunk is None:
        chunk = ReportedChunk(task_id=task.id, chunk=message.chunk, rows=0, amount_minor=0)
        session.add(chunk)
        task.chunks += 1
    task.rows += len(message.rows) - chunk.rows
    task.amount_minor += amount - chunk.amount_minor
    chunk.rows, chunk.amount_minor = len(message.rows), amount
    task.new_anomalies += reports.take_rows(session, task, message.rows, now)
    sum_up(task.run, current_tasks(session, task.run))
    session.touch("collections")


def record_finished(session: WorkSession, agent: Agent, message: CollectFinished, now: datetime) -> None:
    """Check the trailer: where it does not match, task and run are incomplete and heal nothing.

    Raises NotFoundError('task') for a report nobody asked for, ConflictError('shard') for another shard's.
    """
    task = _get_task(session, agent, message)
    commands.finish(session, agent, message.command_id, now)
    if task.state not in LIVE_TASK_STATES:
        return
    task.scanned, task.unverified = message.scanned, message.unverified
    task.duration_ms, task.finished_at = message.duration_ms, now
    task.started_at = task.started_at or now
    task.error = message.error[:500] if message.error else _trailer_error(session, task, message)
    task.state = "incomplete" if task.error else "finished"
    session.flush()
    settle(session, task.run, now)
    session.touch("collections", "home")


def _trailer_error(session: WorkSession, task: CollectionTask, message: CollectFinished) -> str:
    received = session.execute(
        select(
            func.count(),
            func.coalesce(func.sum(ReportedChunk.rows), 0),
            func.coalesce(func.sum(ReportedChunk.amount_minor), 0),
        ).where(ReportedChunk.task_id == task.id)
    ).one()
    stated = (message.chunks, message.rows, message.amount_minor)
    if tuple(received) == stated:
        return ""
    return (
        f"trailer: stated {stated[0]} chunks, {stated[1]} rows, {stated[2]} fen; "
        f"received {received[0]} chunks, {received[1]} rows, {received[2]} fen"
    )


def _find_task(session: WorkSession, agent: Agent, command_id: str | None) -> CollectionTask | None:
    task = session.scalars(select(CollectionTask).where(CollectionTask.command_id == command_id)).first()
    return task if task is not None and task.agent_id == agent.id else None


def _get_task(
    session: WorkSession, agent: Agent, message: AnomaliesReported | CollectFinished
) -> CollectionTask:
    task = _find_task(session, agent, message.command_id)
    if task is None:
        raise NotFoundError("task", command_id=message.command_id)
    if not _is_of(task, message):
        raise ConflictError("shard", run_id=message.run_id, shard=message.shard)
    return task


def _is_of(task: CollectionTask, message: AnomaliesReported | CollectFinished | CollectProgress) -> bool:
    return (message.run_id, message.shard) == (task.run_id, task.shard)
