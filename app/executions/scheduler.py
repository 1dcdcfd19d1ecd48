"""What the server does by itself, once a second: due plans and collections, time limits, overdue commands.

Each part looks first, in reads that need no lock, whether there is anything to do, and only then opens a unit
of work, which reads again: what was seen is a hint. A part that fails is logged and the others go on. Missed
seconds are made up by the next one: every part looks at what is due by now, not at the second it runs in.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask, current_app

from app.agents import overdue, stops
from app.agents import service as agent_service
from app.anomalies import collection_course
from app.clock import current_time
from app.executions import (
    bulk_course,
    bulk_tending,
    limits,
    order_course,
    retention,
    ticking,
    times_ahead,
    unknown,
    unsent,
)
from app.extensions import db
from app.plans import ticks
from app.unit_of_work import unit_of_work
from app.users.sessions import living_sessions

log = logging.getLogger(__name__)

SLOW_EVERY: Final = timedelta(seconds=60)
RETENTION_TIME: Final = timedelta(seconds=5)
"""Deleting what is too old takes about so long a round, for what is due waits meanwhile."""

IDLE_PAGE: Final = 200
"""So many plans with nothing to do pass their due time in one unit of work."""

Part = Callable[[datetime], None]


class Scheduler:
    """Runs the parts every second in one background thread, from ``start`` until ``stop``."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._jobs: BackgroundScheduler | None = None
        self._slow_at: datetime | None = None

    def start(self) -> None:
        """Begin. A round that takes longer than a second delays the next, it never overlaps it."""
        # It warns whenever a round takes longer than a second, which is no trouble here.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._jobs = BackgroundScheduler(timezone="UTC", daemon=True)
        self._jobs.add_job(
            self.run_round, "interval", seconds=1, coalesce=True, max_instances=1, misfire_grace_time=None
        )
        self._jobs.start()

    def stop(self) -> None:
        """End, waiting for the round in hand."""
        if self._jobs is not None:
            self._jobs.shutdown(wait=True)
            self._jobs = None

    def run_round(self) -> None:
        """Do everything that is due now, once."""
        with self._app.app_context():
            for part in self._due_parts(current_time()):
                try:
                    # One that takes long leaves the next ones no time of the past.
                    part(current_time())
                except Exception:
                    # The scheduler-job edge: one part's failure must not stop the others or the next round.
                    log.exception("the scheduler's part %s failed", part.__name__)
                finally:
                    db.session.remove()

    def _due_parts(self, now: datetime) -> tuple[Part, ...]:
        # A clock that was put back must not keep what is due each minute waiting until it has caught up.
        if self._slow_at is not None and timedelta(0) <= now - self._slow_at < SLOW_EVERY:
            return EVERY_SECOND
        self._slow_at = now
        return (*EVERY_SECOND, *EVERY_MINUTE)


def sweep_commands(now: datetime) -> None:
    """End overdue leases and deadlines."""
    if overdue.has_work(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            overdue.sweep(session, now)


def enforce_stops(now: datetime) -> None:
    """Withdraw repairs that stops hold back, so that none pends until its deadline."""
    if not stops.has_work(db.session):
        return
    withdrawn = stops.BATCH
    while withdrawn >= stops.BATCH:
        db.session.remove()
        with unit_of_work() as session:
            withdrawn = stops.enforce(session, now)


def withdraw_unsent(now: datetime) -> None:
    """Withdraw what plans began by themselves and are not to begin any more: a batch, the rest next second.

    None of it is sent meanwhile, and ticks, leases and results have their turn.
    """
    if unsent.has_work(db.session):
        db.session.remove()
        with unit_of_work() as session:
            unsent.withdraw(session, now)


def dismiss_viewers(now: datetime) -> None:
    """Close the live channel of people who were disabled, reset or have a new password."""
    ticker = current_app.extensions["ticker"]
    keys = ticker.session_keys()
    if keys:
        living = living_sessions(db.session, keys)
        ticker.dismiss(lambda viewer: viewer.session_key not in living)


def start_first_collections(now: datetime) -> None:
    """Collect once where a group's agents have connected for the first time."""
    if not ticking.has_first_collections(db.session, now):
        return
    db.session.remove()
    with unit_of_work() as session:
        ticking.start_first_collections(session, now)


def tend_runs(now: datetime) -> None:
    """Carry live collection runs on."""
    if not collection_course.has_live(db.session):
        return
    db.session.remove()
    with unit_of_work() as session:
        collection_course.tend_runs(session, now)


def run_due_schedules(now: datetime) -> None:
    """Start the recurring collections that are due."""
    for due in ticks.due_schedules(db.session, now):
        _run_one(due, _run_due_schedule)


def run_due_plans(now: datetime) -> None:
    """Give the anomalies of each due plan their attempt, page by page, the most important plan first.

    Plans with nothing to attempt, which are most of them, pass their due times together.
    """
    due = ticks.due_plans(db.session, now)
    busy = ticking.plans_with_work(db.session, due)
    for one in due:
        if one.subject_id in busy:
            _run_one(one, _run_due_plan)
    idle = [one for one in due if one.subject_id not in busy]
    db.session.remove()
    for first in range(0, len(idle), IDLE_PAGE):
        with unit_of_work() as session:
            ticks.claim_all(session, idle[first : first + IDLE_PAGE], now)


def _run_one(due: ticks.Due, run: Callable[[ticks.Due, datetime], None]) -> None:
    try:
        run(due, current_time())
    except Exception:
        # The scheduler-job edge again: what ails one plan or group must not hold up all that come after it.
        log.exception("the tick of %s %d failed", due.subject, due.subject_id)


def _run_due_schedule(due: ticks.Due, now: datetime) -> None:
    with unit_of_work() as session:
        ticking.run_schedule_tick(session, due, now)


def _run_due_plan(due: ticks.Due, now: datetime) -> None:
    with unit_of_work() as session:
        page = ticking.begin_plan_tick(session, due, now)
        if page is not None:
            # In the same unit of work: under load each one waits its turn behind the writer's batches.
            page = ticking.attempt_tick_page(session, page, now)
    while page is not None and page.last_id is not None:
        page = _next_page(page)


def _next_page(page: ticking.TickPage) -> ticking.TickPage:
    with unit_of_work() as session:
        return ticking.attempt_tick_page(session, page, current_time())


def tend_bulk_repairs(now: datetime) -> None:
    """Carry bulk repairs on: take up what ended, begin what may begin. Results wake bulk_tending besides."""
    bulk_tending.tend_each(bulk_course.live_ids(db.session), now)


def resume_clicked(now: datetime) -> None:
    """Go on with repairs of manual plans that have moved money."""
    if not ticking.has_clicked(db.session):
        return
    db.session.remove()
    with unit_of_work() as session:
        ticking.resume_clicked(session, now)


def verify_unknown(now: datetime) -> None:
    """Ask about what waits and no tick asks about."""
    unasked = unknown.unasked_ids(db.session, now)
    db.session.remove()
    if unasked:
        with unit_of_work() as session:
            unknown.verify_waiting(session, unasked, now)


def apply_limits(now: datetime) -> None:
    """Hand to a person what has waited too long."""
    while limits.has_overdue(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            limits.apply_limits(session, now)


def correct_due_times(now: datetime) -> None:
    """Bring back due times that a clock running ahead has put too far off."""
    if ticks.has_too_far(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            ticks.correct_due_times(session, now)


def bring_back_times(now: datetime) -> None:
    """Bring back since when trades wait, or are unknown, and when agents were last heard, where a clock
    running ahead has dated that.
    """
    if times_ahead.has_any(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            times_ahead.bring_back(session, now)
    if agent_service.is_any_heard_ahead(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            agent_service.unhear_ahead(session, now)


def close_orders(now: datetime) -> None:
    """End money orders that nobody confirmed in time, and those whose trade is with a person again."""
    if order_course.has_over(db.session, now):
        db.session.remove()
        with unit_of_work() as session:
            order_course.close_over(session, now)


def delete_old_rows(now: datetime) -> None:
    """Delete what is too old, a batch of each kind in turn, until nothing is left or the time is up."""
    until = current_time() + RETENTION_TIME
    unfinished = retention.sweeps(current_app.extensions["settings"], now)
    while unfinished and current_time() < until:
        unfinished = tuple(sweep for sweep in unfinished if _delete_batch(sweep) >= retention.BATCH)


def _delete_batch(sweep: retention.Sweep) -> int:
    if not sweep.has_work(db.session):
        return 0
    db.session.remove()
    with unit_of_work() as session:
        return sweep.delete_batch(session)


EVERY_SECOND: Final[tuple[Part, ...]] = (
    enforce_stops,
    withdraw_unsent,
    sweep_commands,
    dismiss_viewers,
    start_first_collections,
    tend_runs,
    run_due_schedules,
    run_due_plans,
    tend_bulk_repairs,
)
EVERY_MINUTE: Final[tuple[Part, ...]] = (
    correct_due_times,
    bring_back_times,
    resume_clicked,
    verify_unknown,
    apply_limits,
    close_orders,
    delete_old_rows,
)
