"""Reading attempts: of an execution they may be thousands, so that each look takes those it shows."""

from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, aliased, defer, selectinload

from app.executions.models import Attempt, Execution, Step
from app.keyset import ReadSession

EVIDENCE: Final[tuple[InstrumentedAttribute[Any], ...]] = (
    Attempt.before,
    Attempt.after,
    Attempt.facts_before,
    Attempt.facts_after,
)
"""What makes an attempt a wide row."""


def find_running(session: ReadSession, anomaly_id: int) -> Attempt | None:
    """Return the newest attempt of an anomaly that has no outcome yet."""
    statement = (
        select(Attempt)
        .join(Execution, Execution.id == Attempt.execution_id)
        .where(Execution.anomaly_id == anomaly_id, Attempt.outcome.is_(None))
        .order_by(Attempt.number.desc())
    )
    return session.scalars(statement.limit(1)).first()


def last_attempts(session: ReadSession, executions: list[Execution]) -> dict[int, Attempt]:
    """Return the newest attempt of each execution, by execution id, in one query and without its evidence."""
    one = aliased(Attempt)
    of_execution = select(one.id).where(one.execution_id == Execution.id)
    newest = of_execution.order_by(one.number.desc()).limit(1).scalar_subquery()
    attempts = session.scalars(
        select(Attempt)
        .join(Execution, Attempt.id == newest)
        .where(Execution.id.in_([execution.id for execution in executions]))
        .options(*(defer(column) for column in EVIDENCE))
    )
    return {attempt.execution_id: attempt for attempt in attempts}


def list_attempts(
    session: ReadSession, execution_id: int, *, count: int, below: int | None = None
) -> list[Attempt]:
    """Return the newest ``count`` attempts with their steps, with ``below`` of those whose number is lower;
    the newest first."""
    statement = select(Attempt).where(Attempt.execution_id == execution_id)
    if below is not None:
        statement = statement.where(Attempt.number < below)
    statement = statement.order_by(Attempt.number.desc()).limit(count)
    return list(session.scalars(statement.options(selectinload(Attempt.steps))))


def attempts_of_commands(session: ReadSession, command_ids: set[str]) -> dict[str, Attempt]:
    """Return the attempts that were sent as these commands, by command id and without their evidence."""
    attempts = session.scalars(
        select(Attempt)
        .where(Attempt.command_id.in_(command_ids))
        .options(*(defer(column) for column in EVIDENCE))
    )
    return {attempt.command_id: attempt for attempt in attempts}


def money_steps(session: ReadSession, execution_id: int) -> list[Step]:
    """Return the steps that move money, each as it was told last, in that order."""
    # A resumed attempt tells the steps of those before it again, under the same keys.
    newest_first = (Attempt.number.desc(), Step.seq.desc())
    told = (
        select(
            Step.id,
            Attempt.number,
            func.row_number().over(partition_by=Step.key, order_by=newest_first).label("place"),
        )
        .join(Attempt, Attempt.id == Step.attempt_id)
        .where(Attempt.execution_id == execution_id, Step.moves_money)
        .subquery()
    )
    statement = select(Step).join(told, told.c.id == Step.id).where(told.c.place == 1)
    return list(session.scalars(statement.order_by(told.c.number, Step.seq)))
