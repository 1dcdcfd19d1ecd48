"""Carries bulk repairs on as results come: few trades of one are under way at a time, and none of the others
waits for the next second.

The scheduler tends them once a second besides: for time limits, and for what another server was told.
"""

import logging
import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from flask import Flask, current_app

from agent.answers import FactsRead, RepairFinished
from app.agents.models import Agent
from app.clock import current_time
from app.executions import bulk_course
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work

log = logging.getLogger(__name__)

LEAST_SECONDS: Final = 0.05
"""The least time between two looks: results that come in by the hundred ask for one together."""


def result_came(
    session: WorkSession, _agent: Agent, _message: RepairFinished | FactsRead, _now: datetime
) -> None:
    """A repair or a verification has ended: have the tender look once that is committed."""
    session.after_commit(current_app.extensions["bulk_tender"].look_now)


def tend_each(bulk_ids: Iterable[int], now: datetime) -> None:
    """Tend these, each in a unit of work of its own."""
    for bulk_id in bulk_ids:
        try:
            _tend(bulk_id, now)
        except Exception:
            # The scheduler-job edge: one that fails must not hold up the others.
            log.exception("the bulk repair %d failed", bulk_id)


def _tend(bulk_id: int, now: datetime) -> None:
    with unit_of_work() as session:
        bulk_course.tend(session, bulk_id, now)


class BulkTender:
    """A thread that looks whenever it is told to, from ``start`` until ``stop``."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._look = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="bulk tender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the round in hand."""
        self._stopping.set()
        self._look.set()
        if self._thread is not None:
            self._thread.join(10)

    def look_now(self) -> None:
        """Something has ended that a bulk repair may wait for."""
        self._look.set()

    def round(self) -> None:
        """Tend the bulk repairs of which something has ended. Needs an application context."""
        ended = bulk_course.ended_ids(db.session)
        db.session.remove()
        tend_each(ended, current_time())

    def _run(self) -> None:
        with self._app.app_context():
            while not self._stopping.is_set():
                self._look.wait()
                self._look.clear()
                if self._stopping.is_set():
                    return
                try:
                    self.round()
                except Exception:
                    # A background job's edge: whatever one round meets, the next one is tried.
                    log.exception("a look at the bulk repairs failed")
                finally:
                    db.session.remove()
                self._stopping.wait(LEAST_SECONDS)
