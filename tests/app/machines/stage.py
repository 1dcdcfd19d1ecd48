"""The server's real parts without threads, over a real SQLite file that writes down each change of state.

Whatever changes a state, a service or a bulk statement, a trigger of the database notes it in ``trace``.
"""

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from flask import Flask
from sqlalchemy import text

from app import HANDLERS, create_app
from app.agents.dispatcher import Dispatcher
from app.agents.frames import FrameLog
from app.agents.hub import Hub
from app.agents.inbox import Inbox, Outlets
from app.agents.presence import Presence
from app.agents.writer import Item, Writer
from app.config import Settings
from app.errors import PiculusError
from app.executions.scheduler import Scheduler
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work

BEGINNING: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HEARTBEAT_SECONDS: Final = 10.0
T = TypeVar("T")

_TRACE: Final = """
CREATE TABLE trace (seq INTEGER PRIMARY KEY, kind TEXT, id INTEGER, before TEXT, after TEXT);
CREATE TRIGGER trace_command AFTER UPDATE OF state ON command WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO trace (kind, id, before, after) VALUES ('command', OLD.seq, OLD.state, NEW.state); END;
CREATE TRIGGER trace_anomaly AFTER UPDATE OF state ON anomaly WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO trace (kind, id, before, after) VALUES ('anomaly', OLD.id, OLD.state, NEW.state); END;
CREATE TRIGGER trace_fence AFTER UPDATE OF fence ON command WHEN OLD.fence <> NEW.fence BEGIN
    INSERT INTO trace (kind, id, before, after) VALUES ('fence', OLD.seq, OLD.fence, NEW.fence); END;
"""


class StageClock:
    """A clock that is moved by hand, either way."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self.now += timedelta(seconds=seconds)


class PromptWriter(Writer):
    """Writes each item at once, in the thread that puts it."""

    def _put(self, item: Item) -> None:
        self._write_until_done([item])


class Complaints(logging.Handler):
    """What the server logged as an error: nothing a machine does may lead to one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(logging.Formatter().format(record))


class Stage:
    """One server process: hub, inbox, dispatcher and scheduler, each moved by a call."""

    def __init__(self, instance: Path, migrated_database: Path, in_flight_limit: int = 3) -> None:
        self._source = migrated_database
        self._file = instance / "piculus.db"
        shutil.copy(migrated_database, self._file)
        self.clock = StageClock()
        settings = Settings(instance=instance, heartbeat_seconds=HEARTBEAT_SECONDS)
        self.app: Flask = create_app(settings, self.clock)
        self._limit = in_flight_limit
        self.complaints = Complaints()

    @contextmanager
    def curtain(self) -> Iterator[None]:
        """The application's context, for as long as machines play."""
        logging.getLogger("app").addHandler(self.complaints)
        try:
            with self.app.app_context():
                yield
        finally:
            logging.getLogger("app").removeHandler(self.complaints)
            self._let_go()

    def begin(self) -> None:
        """Begin anew: an empty database, the first moment, no socket."""
        self._let_go()
        for leftover in self._file.parent.glob("piculus.db*"):
            leftover.unlink()
        shutil.copy(self._source, self._file)
        with sqlite3.connect(self._file) as connection:
            connection.executescript(_TRACE)
        self.clock.now = BEGINNING
        self.complaints.told.clear()
        self.restart()

    def restart(self) -> None:
        """A new process on the same database: no socket, nothing in memory."""
        writer = PromptWriter(self.app)
        frame_log = FrameLog(lambda row: None, self.clock)
        presence = Presence()
        self.hub = Hub(self.app.extensions["runtime"].loop, frame_log)
        self._dispatcher = Dispatcher(self.app, self.hub, writer, presence, self.clock, self._limit)
        outlets = Outlets(self.hub, writer, presence, frame_log)
        look_now = self._dispatcher.look_now
        self.inbox = Inbox(outlets, HANDLERS, look_now, self.clock, HEARTBEAT_SECONDS)
        self.hub.on_lost = self.inbox.lost
        self._scheduler = Scheduler(self.app)

    def _let_go(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()

    # ---- what the threads of a running server do

    def dispatch(self) -> None:
        """One round of the dispatcher, everything in it due."""
        self._dispatcher._presence_due = self._dispatcher._ended_due = 0.0
        self._dispatcher.round()
        db.session.remove()

    def tick(self) -> None:
        """One round of the scheduler."""
        self._scheduler.run_round()
        db.session.remove()

    # ---- people and looks

    def ask(self, work: Callable[[WorkSession], T]) -> T | str:
        """A unit of work as a view opens it; the code where a service refuses."""
        try:
            with unit_of_work() as session:
                return work(session)
        except PiculusError as error:
            return error.code

    def rows(self, sql: str, **values: Any) -> list[Any]:
        """Read rows as they stand now."""
        with db.engine.connect() as connection:
            return list(connection.execute(text(sql), values))
