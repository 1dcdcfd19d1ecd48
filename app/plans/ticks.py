"""Claiming due times: each is taken once, whichever server is quicker; missed ones run once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import CursorResult, bindparam, select, tuple_, update

from app.keyset import ReadSession
from app.plans.models import HAS_TICKS, CollectionSchedule, Plan, Tick
from app.plans.quartz import next_fire_time, next_fire_times
from app.unit_of_work import WorkSession

MISSED_CAP: Final = 1000
"""Missed due times are counted no further; nobody needs to know that it was more."""

_DUE_PLANS: Final = (
    select(Plan)
    .where(Plan.next_due_at <= bindparam("now"), HAS_TICKS)
    .order_by(Plan.level.desc(), Plan.next_due_at, Plan.id)
)
_DUE_SCHEDULES: Final = (
    select(CollectionSchedule)
    .where(CollectionSchedule.next_due_at <= bindparam("now"), CollectionSchedule.is_enabled)
    .order_by(CollectionSchedule.next_due_at, CollectionSchedule.id)
)
"""Asked each second, so built once."""


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
    """Return the due times of plans that have ticks, of the most important plans first."""
    plans = session.scalars(_DUE_PLANS, {"now": now}).unique()
    return [_due("plan", plan.id, plan.next_due_at, plan.retry_cron, plan.zone, now) for plan in plans]


def due_schedules(session: ReadSession, now: datetime) -> list[Due]:
    """Return the due times of enabled collection schedules."""
    schedules = session.scalars(_DUE_SCHEDULES, {"now": now}).unique()
    return [_due("schedule", one.id, one.next_due_at, one.cron, one.zone, now) for one in schedules]


def _due(subject: str, subject_id: int, found: datetime | None, cron: str, zone: str, now: datetime) -> Due:
    assert found is not None  # the caller selects next_due_at <= now
    coming = next_fire_time(cron, zone, found)
    passed: list[datetime] = []
    if coming is not None and coming <= now:
        passed = next_fire_times(cron, found.astimezone(ZoneInfo(zone)), MISSED_CAP, until=now)
    return Due(
        subject=subject,
        subject_id=subject_id,
        found=found,
        due_at=passed[-1].astimezone(UTC) if passed else found,
        missed=len(passed),
        next_due_at=next_fire_time(cron, zone, now),
    )


def claim(session: WorkSession, due: Due, now: datetime) -> Tick | None:
    """Take a due time: move the subject on and write its tick; None when another server was quicker."""
    ticks = claim_all(session, [due], now)
    return ticks[0] if ticks else None


def claim_all(session: WorkSession, due: Sequence[Due], now: datetime) -> list[Tick]:
    """Take due times: move each subject on and write its tick. Left out are those another server was quicker
    with.
    """
    known = _find_ticks(session, due)
    ticks = []
    for one in due:
        if _move_on(session, one):
            tick = known.get(_key(one)) or Tick(
                subject=one.subject, subject_id=one.subject_id, due_at=one.due_at, commands=0
            )
            tick.at, tick.missed = now, one.missed
            ticks.append(tick)
    if ticks:
        session.add_all(ticks)
        session.flush()
        session.touch("plans")
    return ticks


def _move_on(session: WorkSession, due: Due) -> bool:
    model = Plan if due.subject == "plan" else CollectionSchedule
    claimed = session.execute(
        update(model)
        .where(model.id == due.subject_id, model.next_due_at == due.found)
        .values(next_due_at=due.next_due_at)
    )
    assert isinstance(claimed, CursorResult)
    return claimed.rowcount == 1


def _find_ticks(session: WorkSession, due: Sequence[Due]) -> dict[tuple[str, int, datetime], Tick]:
    """Return the ticks of due times that were run already, by a clock that has been put back since."""
    wanted = tuple_(Tick.subject, Tick.subject_id, Tick.due_at).in_([_key(one) for one in due])
    found = session.scalars(select(Tick).where(wanted))
    return {(one.subject, one.subject_id, one.due_at): one for one in found}


def _key(due: Due) -> tuple[str, int, datetime]:
    return due.subject, due.subject_id, due.due_at


def has_too_far(session: ReadSession, now: datetime) -> bool:
    """Return whether correct_due_times would find anything; a read that needs no lock."""
    return bool(_too_far(session, now))


def correct_due_times(session: WorkSession, now: datetime) -> int:
    """Set each due time that lies beyond the next one to come to that one; return how many.

    A clock that ran ahead has claimed due times that had not come; put right, it would wait for the one
    after them.
    """
    wrong = _too_far(session, now)
    for subject, coming in wrong:
        subject.next_due_at = coming
    if wrong:
        session.touch("plans")
    return len(wrong)


def _too_far(session: ReadSession, now: datetime) -> list[tuple[Plan | CollectionSchedule, datetime]]:
    plans = select(Plan).where(Plan.next_due_at > now, HAS_TICKS)
    schedules = select(CollectionSchedule).where(
        CollectionSchedule.next_due_at > now, CollectionSchedule.is_enabled
    )
    wrong: list[tuple[Plan | CollectionSchedule, datetime]] = []
    for plan in session.scalars(plans).unique():
        _note_too_far(wrong, plan, plan.retry_cron, now)
    for schedule in session.scalars(schedules).unique():
        _note_too_far(wrong, schedule, schedule.cron, now)
    return wrong


def _note_too_far(
    wrong: list[tuple[Plan | CollectionSchedule, datetime]],
    subject: Plan | CollectionSchedule,
    cron: str,
    now: datetime,
) -> None:
    coming = next_fire_time(cron, subject.zone, now)
    if coming is not None and subject.next_due_at is not None and subject.next_due_at > coming:
        wrong.append((subject, coming))
