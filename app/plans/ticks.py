"""Claiming due times: each is taken once, whichever server is quicker; missed ones run once."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import CursorResult, select, update

from app.keyset import ReadSession
from app.plans.models import CollectionSchedule, Plan, Tick
from app.plans.quartz import next_fire_times
from app.plans.validation import next_due
from app.unit_of_work import WorkSession

MISSED_CAP: Final = 1000
"""Missed due times are counted no further; nobody needs to know that it was more."""


@dataclass(frozen=True)
class Due:
    """A due time found and what follows it.

    ``found`` is the stored next_due_at, the claim's condition; ``due_at`` the latest due time by now,
    ``missed`` how many before it were skipped, ``next_due_at`` the one to come.
    """

    subject: str
    subject_id: int
    found: datetime
    due_at: datetime
    missed: int
    next_due_at: datetime | None


def due_plans(session: ReadSession, now: datetime) -> list[Due]:
    """Return the due times of auto plans in state normal, of the most important plans first."""
    plans = session.scalars(
        select(Plan)
        .where(Plan.next_due_at <= now, Plan.mode == "auto", Plan.state == "normal")
        .order_by(Plan.level.desc(), Plan.next_due_at, Plan.id)
    ).unique()
    return [_due("plan", plan.id, plan.next_due_at, plan.retry_cron, plan.zone, now) for plan in plans]


def due_schedules(session: ReadSession, now: datetime) -> list[Due]:
    """Return the due times of enabled collection schedules."""
    schedules = session.scalars(
        select(CollectionSchedule)
        .where(CollectionSchedule.next_due_at <= now, CollectionSchedule.is_enabled)
        .order_by(CollectionSchedule.next_due_at, CollectionSchedule.id)
    ).unique()
    return [_due("schedule", one.id, one.next_due_at, one.cron, one.zone, now) for one in schedules]


def _due(subject: str, subject_id: int, found: datetime | None, cron: str, zone: str, now: datetime) -> Due:
    assert found is not None  # the caller selects next_due_at <= now
    coming = next_due(cron, zone, found)
    passed: list[datetime] = []
    if coming is not None and coming <= now:
        later = next_fire_times(cron, found.astimezone(ZoneInfo(zone)), MISSED_CAP)
        passed = [moment for moment in later if moment <= now]
    return Due(
        subject=subject,
        subject_id=subject_id,
        found=found,
        due_at=passed[-1].astimezone(UTC) if passed else found,
        missed=len(passed),
        next_due_at=next_due(cron, zone, now),
    )


def claim(session: WorkSession, due: Due, now: datetime) -> Tick | None:
    """Take a due time: move the subject on and write its tick; None when another server was quicker."""
    model = Plan if due.subject == "plan" else CollectionSchedule
    claimed = session.execute(
        update(model)
        .where(model.id == due.subject_id, model.next_due_at == due.found)
        .values(next_due_at=due.next_due_at)
    )
    assert isinstance(claimed, CursorResult)
    if claimed.rowcount != 1:
        return None
    tick = Tick(
        subject=due.subject,
        subject_id=due.subject_id,
        due_at=due.due_at,
        at=now,
        missed=due.missed,
        commands=0,
    )
    session.add(tick)
    session.flush()
    session.touch("plans")
    return tick
