"""What plans have begun by themselves, in rows: a server that starts anew goes on counting."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, case, func, insert, select
from sqlalchemy.orm import aliased

from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.guards.limits import Used
from app.guards.models import BegunRepair
from app.guards.times_ahead import after_resets, bring_back
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)
Repaired = aliased(Anomaly, name="repaired")
FAILURES: Final = ("failed", "needs_human", "unknown")
"""Outcomes a breaker counts against a plan."""
TRIALS: Final = (*FAILURES, "repaired", "already_consistent", "wait", "refused")
"""Outcomes of attempts that were made; one never sent, rejected or cancelled tells nothing of its plan."""


def note_begun(session: WorkSession, plan: Plan, begun: Sequence[tuple[Anomaly, str]], now: datetime) -> None:
    """Write down what a plan has begun by itself: the anomalies, each with its command's id."""
    if not begun:
        return
    begun_at = after_resets(session, plan.group_id, now)
    rows = [
        {
            "group_id": plan.group_id,
            "plan_id": plan.id,
            "fixer_code": plan.fixer_code,
            "command_id": command_id,
            "is_new": not anomaly.has_moved_money,
            "amount_minor": anomaly.amount_minor,
            "currency": anomaly.currency,
            "begun_at": begun_at,
        }
        for anomaly, command_id in begun
    ]
    session.execute(insert(BegunRepair), rows)


def midnight(now: datetime, zone: str) -> datetime:
    """Return the beginning of the current day in a plan's zone."""
    # The first of two midnights, where clocks are put back across it.
    return now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def used_by(session: WorkSession, plan: Plan, now: datetime) -> Used:
    """Return what a plan has begun by itself in the last hour and since midnight of its zone.

    What a clock that was put back had dated ahead is brought back first.
    """
    bring_back(session, plan.group_id, now)
    return read_used(session, plan, now)


def read_used(session: ReadSession, plan: Plan, now: datetime) -> Used:
    """Return the same without writing; what is dated ahead counts in this hour and day all the same."""
    hour, day = now - HOUR, midnight(now, plan.zone)
    found = Used()
    for currency, *figures in session.execute(
        select(
            BegunRepair.currency,
            _count(BegunRepair.begun_at > hour),
            _amount(BegunRepair.begun_at > hour),
            _count(BegunRepair.begun_at >= day),
            _amount(BegunRepair.begun_at >= day),
        )
        .where(of_plan(plan), BegunRepair.begun_at >= min(hour, day), BegunRepair.is_new)
        .group_by(BegunRepair.currency)
    ):
        hour_count, hour_minor, day_count, day_minor = (int(figure or 0) for figure in figures)
        found.hour_count += hour_count
        found.day_count += day_count
        found.hour_minor[currency] += hour_minor
        found.day_minor[currency] += day_minor
    return found


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _amount(condition: ColumnElement[bool]) -> ColumnElement[int]:
    is_readable = BegunRepair.amount_minor > 0
    return func.sum(case((condition & is_readable, BegunRepair.amount_minor), else_=0))


def of_plan(plan: Plan) -> ColumnElement[bool]:
    """Return the condition of what counts for a plan: all that was begun for its group and fixer."""
    return and_(BegunRepair.group_id == plan.group_id, BegunRepair.fixer_code == plan.fixer_code)


def amounts_since(session: ReadSession, of_subject: ColumnElement[bool], since: datetime) -> dict[str, int]:
    """Return the amounts that plans have begun by themselves after ``since``, by currency."""
    rows = session.execute(
        select(BegunRepair.currency, func.sum(BegunRepair.amount_minor))
        .where(
            of_subject,
            BegunRepair.begun_at > since,
            BegunRepair.is_new,
            BegunRepair.amount_minor > 0,
        )
        .group_by(BegunRepair.currency)
    )
    return {currency: int(total or 0) for currency, total in rows}


def outcomes_since(
    session: ReadSession, of_subject: ColumnElement[bool], since: datetime, count: int
) -> list[str]:
    """Return how the last ``count`` attempts that were made and ended after ``since`` ended, newest first."""
    statement = (
        select(BegunRepair.outcome)
        .where(of_subject, BegunRepair.ended_at > since, BegunRepair.outcome.in_(TRIALS))
        .order_by(BegunRepair.ended_at.desc(), BegunRepair.id.desc())
        .limit(count)
    )
    return [str(outcome) for outcome in session.scalars(statement)]


def failed_trades(
    session: ReadSession, of_subject: ColumnElement[bool], since: datetime, count: int
) -> list[str]:
    """Return the numbers of the trades whose attempts failed and ended after ``since``, the newest first."""
    statement = (
        select(Command.trade_no)
        .join(BegunRepair, BegunRepair.command_id == Command.id)
        .where(of_subject, BegunRepair.ended_at > since, BegunRepair.outcome.in_(FAILURES))
        .group_by(Command.trade_no)
        .order_by(func.max(BegunRepair.ended_at).desc(), func.max(BegunRepair.id).desc())
        .limit(count)
    )
    return [str(trade_no) for trade_no in session.scalars(statement)]


def returned(group_id: int, since: datetime, now: datetime, fixer_code: str | None = None) -> Select[str]:
    """Return the query of the trades of a group that came back after ``since``, the newest first.

    ``fixer_code``: of those whose repair did not last, whichever would mend them now; None: of all.
    """
    found = select(Anomaly.trade_no).where(
        Anomaly.group_id == group_id,
        Anomaly.returned_of.is_not(None),
        Anomaly.first_seen_at > since,
        Anomaly.first_seen_at <= now,
    )
    if fixer_code is not None:
        found = found.join(Repaired, Repaired.id == Anomaly.returned_of)
        found = found.where(Repaired.fixer_code == fixer_code)
    return found.order_by(Anomaly.id.desc())
