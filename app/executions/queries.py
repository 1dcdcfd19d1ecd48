"""Reading executions: filtered lists by keyset, one with attempts and steps, an anomaly with its attempts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, exists, func, select

from app.agents import commands
from app.agents.models import Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.queries import list_events
from app.anomalies.service import GroupIds, get_anomaly
from app.beginnings import begins_with
from app.errors import NotFoundError
from app.executions.attempts import (
    attempts_of_commands,
    find_running,
    last_attempts,
    list_attempts,
    money_steps,
)
from app.executions.models import Attempt, Execution, Step
from app.executions.order_guard import find_hold
from app.executions.service import RETRYABLE_STATES, find_execution, has_begun_money, refusal
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.plans.models import Plan
from app.plans.service import find_plan

NEWEST_FIRST: Final = Order(Execution.id, Execution.id)
NO_ID: Final = 2**62
EVENTS_SHOWN: Final = 100
ATTEMPTS_SHOWN: Final = 20
RUNNING: Final = "running"
"""An attempt without an outcome, as a filter says it."""


@dataclass(frozen=True)
class ExecutionFilter:
    """What the list shows; an empty field does not narrow. ``group_ids`` None: all groups.

    ``states`` and ``resolution`` are those of the anomaly; ``outcome`` (RUNNING for none), ``agent_id`` and
    ``trigger`` hold together for any one attempt of the execution.
    """

    group_ids: GroupIds = None
    states: tuple[str, ...] = ()
    resolution: str = ""
    fixer_code: str = ""
    outcome: str = ""
    agent_id: int | None = None
    trigger: str = ""
    trade_no: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None


def _conditions(session: ReadSession, wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(Execution.group_id.in_(list(wanted.group_ids)))
    if wanted.fixer_code:
        found.append(Execution.fixer_code == wanted.fixer_code)
    if wanted.trade_no:
        found.append(begins_with(Execution.trade_no, wanted.trade_no.strip()))
    return found + _by_anomaly(wanted) + _by_attempt(wanted) + _by_time(session, wanted)


def _by_anomaly(wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    of_anomaly: list[ColumnElement[bool]] = []
    if wanted.states:
        of_anomaly.append(Anomaly.state.in_(wanted.states))
    if wanted.resolution:
        of_anomaly.append(Anomaly.resolution == wanted.resolution)
    return [exists().where(Anomaly.id == Execution.anomaly_id, *of_anomaly)] if of_anomaly else []


def _by_attempt(wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    of_attempt: list[ColumnElement[bool]] = []
    if wanted.outcome:
        outcome = None if wanted.outcome == RUNNING else wanted.outcome
        of_attempt.append(Attempt.outcome.is_(None) if outcome is None else Attempt.outcome == outcome)
    if wanted.trigger:
        of_attempt.append(Attempt.trigger == wanted.trigger)
    if wanted.agent_id is not None:
        of_attempt.append(Attempt.agent_id == wanted.agent_id)
    if not of_attempt:
        return []
    if wanted.outcome:
        # The index on outcomes finds a rare one at once; a look at each execution would pass them all.
        return [Execution.id.in_(select(Attempt.execution_id).where(*of_attempt))]
    return [exists().where(Attempt.execution_id == Execution.id, *of_attempt)]


def _by_time(session: ReadSession, wanted: ExecutionFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.created_from is not None:
        found.append(Execution.id >= first_id_since(session, wanted.created_from))
    if wanted.created_to is not None:
        found.append(Execution.id < first_id_since(session, wanted.created_to))
    return found


def first_id_since(session: ReadSession, moment: datetime) -> int:
    """Return the lowest id of an execution made at ``moment`` or later, NO_ID for none.

    Ids rise with created_at, so that the primary key is halved some twenty times instead of all rows read.
    """
    # Two queries: asked for both at once, SQLite reads every id.
    low, high = session.scalar(select(func.min(Execution.id))), session.scalar(select(func.max(Execution.id)))
    if low is None or high is None:
        return NO_ID
    nearest = select(Execution.id, Execution.created_at).order_by(Execution.id).limit(1)
    found = NO_ID
    while low <= high:
        middle = (low + high) // 2
        identity, made_at = session.execute(nearest.where(Execution.id >= middle)).one()
        if made_at >= moment:
            found, high = identity, middle - 1
        else:
            low = identity + 1
    return found


def list_executions(session: ReadSession, wanted: ExecutionFilter, cut: Cut) -> Page[Execution]:
    """Return one page, newest first. Raises InvalidError('cursor')."""
    return page_of(session, Execution, _conditions(session, wanted), NEWEST_FIRST, cut)


def count_executions(session: ReadSession, wanted: ExecutionFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, Execution, _conditions(session, wanted))


def get_execution(session: ReadSession, execution_id: int, group_ids: GroupIds) -> Execution:
    """Return the execution. Raises NotFoundError('execution')."""
    execution = session.get(Execution, execution_id)
    if execution is None or (group_ids is not None and execution.group_id not in group_ids):
        raise NotFoundError("execution")
    return execution


@dataclass(frozen=True)
class ExecutionDetail:
    """An execution with all that its page tells.

    ``attempts`` are ATTEMPTS_SHOWN of it, the newest first; ``older_attempts`` the number below which there
    are more, None where these are the first; ``last`` is the newest of all.
    ``plan`` None: it is gone. ``running`` is the attempt without an outcome, ``command`` what it was sent as.
    ``money_steps`` surely posted or paid, over all attempts, each once; ``doubtful_steps`` were begun and
    nobody knows yet how they ended. ``retry_refusal`` is the code why no further attempt can be made now,
    ``is_past_cancel`` whether money has begun to move. ``cancels`` tells, by command, who last asked an
    attempt to stop, and why.
    """

    execution: Execution
    attempts: list[Attempt]
    older_attempts: int | None
    last: Attempt | None
    plan: Plan | None
    running: Attempt | None
    command: Command | None
    money_steps: tuple[Step, ...]
    doubtful_steps: tuple[Step, ...]
    retry_refusal: str | None
    is_past_cancel: bool
    cancels: dict[str, AnomalyEvent]


def execution_detail(
    session: ReadSession, execution_id: int, group_ids: GroupIds, *, attempts_below: int | None = None
) -> ExecutionDetail:
    """Return an execution as its page shows it, with its newest attempts or those below a number.

    Raises NotFoundError('execution').
    """
    execution = get_execution(session, execution_id, group_ids)
    anomaly = execution.anomaly
    attempts = list_attempts(session, execution_id, count=ATTEMPTS_SHOWN + 1, below=attempts_below)
    shown = attempts[:ATTEMPTS_SHOWN]
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    running = find_running(session, anomaly.id)
    command = None if running is None else commands.find(session, running.command_id)
    moved = money_steps(session, execution_id)
    is_past_cancel = (
        running is not None and command is not None and has_begun_money(session, running, anomaly, command)
    )
    return ExecutionDetail(
        execution=execution,
        attempts=shown,
        older_attempts=shown[-1].number if len(attempts) > len(shown) else None,
        last=last_attempts(session, [execution]).get(execution_id),
        plan=plan,
        running=running,
        command=command,
        money_steps=tuple(step for step in moved if step.state == "done"),
        doubtful_steps=tuple(step for step in moved if step.state == "intended"),
        retry_refusal=refusal(
            anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled, RETRYABLE_STATES
        )
        or find_hold(session, anomaly),
        is_past_cancel=is_past_cancel,
        cancels=_cancels(session, anomaly, shown),
    )


def _cancels(session: ReadSession, anomaly: Anomaly, attempts: list[Attempt]) -> dict[str, AnomalyEvent]:
    asked = session.scalars(
        select(AnomalyEvent)
        .where(
            AnomalyEvent.anomaly_id == anomaly.id,
            AnomalyEvent.code == "cancel_requested",
            AnomalyEvent.command_id.in_([attempt.command_id for attempt in attempts]),
        )
        .order_by(AnomalyEvent.id)
    )
    return {event.command_id: event for event in asked if event.command_id is not None}


@dataclass(frozen=True)
class AnomalyDetail:
    """An anomaly with what is known of it. ``plan`` None: 无方案; ``execution`` None: never attempted.

    ``events`` are EVENTS_SHOWN of its history, the oldest first; ``older_events`` the id below which there
    are more, None where these are the first. ``attempts`` are those these events tell of, by their command,
    without evidence.
    """

    anomaly: Anomaly
    events: list[AnomalyEvent]
    older_events: int | None
    attempts: dict[str, Attempt]
    execution: Execution | None
    plan: Plan | None


def anomaly_detail(
    session: ReadSession, anomaly_id: int, group_ids: GroupIds, *, events_below: int | None = None
) -> AnomalyDetail:
    """Return an anomaly with plan, execution and history, its newest part or that below an event's id.

    Raises NotFoundError('anomaly').
    """
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    events = list_events(session, anomaly.id, count=EVENTS_SHOWN + 1, below=events_below)
    shown = events[-EVENTS_SHOWN:]
    return AnomalyDetail(
        anomaly=anomaly,
        events=shown,
        older_events=shown[0].id if len(events) > len(shown) else None,
        attempts=attempts_of_commands(
            session, {event.command_id for event in shown if event.command_id is not None}
        ),
        execution=find_execution(session, anomaly.id),
        plan=find_plan(session, anomaly.group_id, anomaly.fixer_code),
    )
