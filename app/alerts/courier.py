"""The part that tells: it looks what has happened, gathers it, and has it sent, beside everything else.

One thread looks, once a second; a few others send, each within its time limits. Nothing is sent inside a unit
of work, and a channel that hangs holds up no repair, no page and hardly another channel.
"""

import logging
import queue
import threading
from datetime import datetime, timedelta
from typing import Final

from flask import Flask
from flask_babel import force_locale
from sqlalchemy import delete, select

from app.alerts import kept_back, outbox, routing, texts, times_ahead, watching
from app.alerts.events import severity_of
from app.alerts.models import IS_UNDONE, AlertDelivery
from app.alerts.outbox import Letter
from app.alerts.sender import Sender, SendError
from app.clock import current_time
from app.extensions import db
from app.lately import LITTLE
from app.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 1.0
WORKERS: Final = 4
STOP_SECONDS: Final = 5.0
WATCH_EVERY: Final = timedelta(seconds=5)
SWEEP_EVERY: Final = timedelta(minutes=10)
SWEPT: Final = 1_000


class Courier:
    """Runs from ``start`` until ``stop``; tests call ``run_round`` and ``post`` themselves."""

    def __init__(self, app: Flask, sender: Sender) -> None:
        self._app = app
        self._sender = sender
        self._stopping = threading.Event()
        self._letters: queue.Queue[Letter] = queue.Queue()
        self._threads: list[threading.Thread] = []
        self._watch_at: datetime | None = None
        self._judges_from: datetime | None = None
        self._sweep_at: datetime | None = None
        self._lost: set[int] | None = None
        self._failing: set[str] = set()

    def start(self) -> None:
        """Begin."""
        self._stopping.clear()
        targets = [self._look, *[self._work] * WORKERS]
        # Daemons: a connection that does not end must not keep the server from ending.
        self._threads = [threading.Thread(target=one, name="courier", daemon=True) for one in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End. What is being sent may end for a moment; what has not is sent by the next server."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS / len(self._threads))

    @property
    def trouble(self) -> str:
        """Return the names of the channels whose newest message failed, '' for none."""
        return ", ".join(sorted(self._failing))

    def run_round(self) -> list[Letter]:
        """Do everything that is due now but the sending; return what is to be sent."""
        with self._app.app_context():
            now = current_time()
            try:
                self._watch(now)
                self._sweep(now)
                return self._gather(now)
            finally:
                db.session.remove()

    def post(self, letter: Letter) -> str:
        """Send a claimed letter and keep how that ended; return the error, '' for none."""
        with self._app.app_context():
            settings = self._app.extensions["settings"]
            with force_locale(letter.language):
                message = texts.compose(letter, settings.public_url, settings.environment_name)
            error = self._send(letter, message)
            with unit_of_work() as work:
                delivery = outbox.settle(
                    work, letter, title=message.title, body=message.body, error=error, now=current_time()
                )
            if delivery is not None:
                self._remember(delivery.channel_name, error)
            db.session.remove()
            return error

    def _send(self, letter: Letter, message: texts.Message) -> str:
        severity = severity_of(letter.kind, is_recovery=letter.is_recovery and not letter.standing_count)
        try:
            self._sender.send(letter.url, message.title, message.body, severity)
        except SendError as error:
            return str(error) or "refused"
        return ""

    def _remember(self, channel: str, error: str) -> None:
        if not error:
            self._failing.discard(channel)
        elif channel not in self._failing:
            self._failing.add(channel)
            log.warning("alerts do not reach the channel %s: %s", channel, error)

    def _gather(self, now: datetime) -> list[Letter]:
        while routing.has_events(db.session):
            db.session.remove()
            with unit_of_work() as work:
                if routing.route(work, now) < routing.BATCH:
                    break
        if kept_back.has_any(db.session, now):
            db.session.remove()
            with unit_of_work() as work:
                kept_back.review(work, now)
        if not outbox.has_work(db.session, now):
            return []
        db.session.remove()
        with unit_of_work() as work:
            return outbox.claim(work, now)

    def _watch(self, now: datetime) -> None:
        """Look after agents and groups. An agent is lost when two looks in a row find it so.

        After a start everybody has a while to come back. Signs of life that could not be written for a moment
        are written between two looks.
        """
        if _has_just_been(self._watch_at, now, WATCH_EVERY):
            return
        self._bring_back(now)
        self._watch_at = now
        if watching.emptied_groups(db.session):
            db.session.remove()
            with unit_of_work() as work:
                watching.tell_emptied(work, now)
        self._judges_from = self._judges_from or now + watching.OFFLINE_AFTER
        if now < self._judges_from:
            return
        lost = watching.lost_agents(db.session, now)
        before, self._lost = self._lost, lost
        if before is not None and watching.has_news(db.session, lost & before, lost):
            db.session.remove()
            with unit_of_work() as work:
                watching.tell_agents(work, lost & before, now)

    def _bring_back(self, now: datetime) -> None:
        """Undo what a clock that ran ahead has dated, so that messages do not wait until it has caught up."""
        if self._watch_at is not None and now + LITTLE < self._watch_at:
            # Signs of life are dated ahead as well, each until the agent's next: as after a start.
            self._judges_from = self._lost = None
        if times_ahead.has_any(db.session, now):
            db.session.remove()
            with unit_of_work() as work:
                times_ahead.bring_back(work, now)

    def _sweep(self, now: datetime) -> None:
        """Delete messages that have grown old."""
        if _has_just_been(self._sweep_at, now, SWEEP_EVERY):
            return
        self._sweep_at = now
        before = now - timedelta(days=self._app.extensions["settings"].alert_days)
        old = select(AlertDelivery.id).where(AlertDelivery.created_at < before, ~IS_UNDONE).limit(SWEPT)
        if db.session.scalars(old.limit(1)).first() is None:
            return
        db.session.remove()
        with unit_of_work() as work:
            work.execute(delete(AlertDelivery).where(AlertDelivery.id.in_(old)))

    # ---- the threads

    def _look(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            try:
                for letter in self.run_round():
                    self._letters.put(letter)
            except Exception:
                # The scheduler-job edge: a database that cannot be written now may be in a second.
                log.exception("looking for alerts failed")

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                letter = self._letters.get(timeout=ROUND_SECONDS)
            except queue.Empty:
                continue
            try:
                self.post(letter)
            except Exception:
                # The same edge: its claim runs out, and it is sent again.
                log.exception("sending an alert failed")


def _has_just_been(at: datetime | None, now: datetime, pace: timedelta) -> bool:
    """Whether less than a pace has passed since; not where the clock was put back."""
    return at is not None and timedelta(0) <= now - at < pace
