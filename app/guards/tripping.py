"""What trips a breaker: attempts that fail, repaired trades that come back, amounts. Heard as it is told."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import CursorResult, func, select, update

from agent.answers import AnomaliesReported, RepairFinished
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly
from app.guards.breakers import (
    Subject,
    counts_from,
    key_of,
    subject_of_group,
    subject_of_plan,
    trip,
    tripped_of,
)
from app.guards.counting import (
    DAY,
    FAILURES,
    HOUR,
    Repaired,
    failed_trades,
    of_plan,
    outcomes_since,
    returned,
)
from app.guards.models import AMOUNT, BegunRepair
from app.guards.times_ahead import after_resets
from app.plans.models import Plan
from app.plans.service import find_plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

WITHDRAWN: Final = "withdrawn"
"""What one came to that was cancelled while it was pending: that tells nothing of its plan."""
NAMED: Final = 5
"""So many of the trades that failed or came back are named."""


def result_came(session: WorkSession, agent: Agent, message: RepairFinished, now: datetime) -> None:
    """An attempt has ended; of a result that does not count nothing is written. Stands after its handler."""
    command = commands.find(session, message.command_id)
    if command is None or command.state != "finished":
        return
    if command.agent_id == agent.id and command.fence == message.fence:
        _end(session, command, message.outcome, now)


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """A Repair closed without a result. One that no agent has begun counts towards no limit."""
    if command.type != "Repair":
        return
    was_withdrawn = command.cancel_requested_at == command.finished_at
    told = WITHDRAWN if was_withdrawn else commands.outcome_of_closed(command, outcome)
    now = command.finished_at or command.created_at
    _end(session, command, told, now, was_begun=not _surely_began_nothing(command, outcome))


def _surely_began_nothing(command: Command, outcome: str) -> bool:
    """Whether no agent was ever sent it, or the only one that was did not take it."""
    return command.agent_id is None or (outcome == "rejected" and command.accepted_at is None)


def _end(
    session: WorkSession, command: Command, outcome: str, now: datetime, *, was_begun: bool = True
) -> None:
    """Write down how an attempt ended that a plan began by itself; a failure may trip its breakers."""
    not_new = {} if was_begun else {"is_new": False}
    ended_at = after_resets(session, command.group_id, now)
    ended = session.execute(
        update(BegunRepair)
        .where(BegunRepair.command_id == command.id)
        .values(outcome=outcome, ended_at=ended_at, **not_new)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(ended, CursorResult)
    if not ended.rowcount or outcome not in FAILURES:
        return
    key = select(BegunRepair.group_id, BegunRepair.fixer_code).where(BegunRepair.command_id == command.id)
    group_id, fixer_code = session.execute(key).one()
    plan = find_plan(session, group_id, fixer_code)
    if plan is not None:
        _check_failures(session, plan, now)


def _check_failures(session: WorkSession, plan: Plan, now: datetime) -> None:
    subjects = [subject_of_plan(plan), subject_of_group(plan.group)]
    for subject in _armed(session, [one for one in subjects if one.thresholds.failures]):
        is_plan = subject.scope == "plan"
        of_subject = of_plan(plan) if is_plan else BegunRepair.group_id == plan.group_id
        since = counts_from(session, subject, now - HOUR, now)
        outcomes = outcomes_since(session, of_subject, since, subject.thresholds.attempts)
        failed = Counter(outcome for outcome in outcomes if outcome in FAILURES)
        if failed.total() >= subject.thresholds.failures:
            figures = {
                "failed": failed.total(),
                "attempts": len(outcomes),
                "threshold": subject.thresholds.failures,
                "outcomes": dict(failed),
                "trade_nos": failed_trades(session, of_subject, since, NAMED),
            }
            trip(session, subject, "failures", figures, now)


def report_came(session: WorkSession, agent: Agent, _message: AnomaliesReported, now: datetime) -> None:
    """A chunk was taken: trades repaired before may be among it. Stands after its handler."""
    session.flush()
    back = session.execute(
        select(Repaired.fixer_code, func.count())
        .join_from(Anomaly, Repaired, Repaired.id == Anomaly.returned_of)
        .where(
            Anomaly.group_id == agent.group_id,
            Anomaly.returned_of.is_not(None),
            Anomaly.first_seen_at > now - DAY,
        )
        .group_by(Repaired.fixer_code)
    )
    counts = {fixer_code or "": count for fixer_code, count in back}
    if counts:
        _check_returns(session, agent.group_id, counts, now)


def _check_returns(session: WorkSession, group_id: int, counts: dict[str, int], now: datetime) -> None:
    """``counts`` of a whole day, by the fixer of the repair: most are below every threshold."""
    plans = session.scalars(select(Plan).where(Plan.group_id == group_id, Plan.fixer_code.in_(counts)))
    subjects = [(subject_of_plan(plan), counts[plan.fixer_code]) for plan in plans.unique()]
    group = session.get_one(SystemGroup, group_id)
    subjects.append((subject_of_group(group), sum(counts.values())))
    reached = [one for one, count in subjects if one.thresholds.returns and count >= one.thresholds.returns]
    for subject in _armed(session, reached):
        since = counts_from(session, subject, now - DAY, now)
        of_plan_only = subject.name if subject.scope == "plan" else None
        trade_nos = session.scalars(returned(group_id, since, now, of_plan_only)).all()
        if len(trade_nos) >= subject.thresholds.returns:
            figures = {
                "count": len(trade_nos),
                "threshold": subject.thresholds.returns,
                "trade_nos": list(trade_nos[:NAMED]),
            }
            trip(session, subject, "returns", figures, now)


def _armed(session: WorkSession, subjects: Sequence[Subject]) -> list[Subject]:
    """Return those that have not tripped already, but for an hour's amount: what that let go goes on."""
    if not subjects:
        return []
    tripped = {key_of(one) for one in tripped_of(session, subjects) if one.code != AMOUNT}
    return [one for one in subjects if one.key not in tripped]
