"""The one way to write: process lock, the database's write lock, re-read, write, commit.

Opened by a view, the command line, the scheduler or a message handler; a service takes the session and never
commits. Nothing is rendered and no I/O is done inside. The write lock is SQLite's BEGIN IMMEDIATE, or on
PostgreSQL an advisory lock (app/extensions.py): whatever is read inside is read after every earlier unit of
work has committed, of other processes too. The process lock keeps one process's threads from queueing there.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from agent.failpoints import Span
from app.errors import ConflictError
from app.extensions import db, take_write_lock

_lock = threading.RLock()
_WORK = Span("server.work")

TOPICS = (
    "home",
    "frames",
    "collections",
    "anomalies",
    "executions",
    "plans",
    "agents",
    "users",
    "audit",
    "alerts",
)
"""What a page can follow live; a tick names one of them."""


class WorkSession(Session):
    """A session that tells, once its work is durable, who should look: callbacks and touched topics."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.callbacks: list[Callable[[], None]] = []
        self.topics: set[str] = set()

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run ``callback`` after a successful commit, outside the lock; dropped on rollback."""
        self.callbacks.append(callback)

    def touch(self, *topics: str) -> None:
        """Name the topics (TOPICS) whose pages this work changes."""
        self.topics.update(topics)


@contextmanager
def unit_of_work() -> Iterator[WorkSession]:
    """Yield a session; commit at the end, roll back on any error. Needs an application context.

    After the commit the callbacks run, and the touched topics go to ``app.extensions["ticker"]`` if bound.
    Raises ConflictError('taken_meanwhile') where what may stand once only is written twice: services look
    before they write, the database has the last word. Raises OperationalError where another writer holds the
    write lock for too long (writer.find_storage_failure knows it).
    """
    _WORK.before()
    session = WorkSession(bind=db.engine, expire_on_commit=False)
    with _lock:
        try:
            session.begin()
            take_write_lock(session.connection())
            yield session
            session.flush()
            _WORK.commit()
            session.commit()
        except BaseException as error:
            session.rollback()
            if isinstance(error, IntegrityError) and _is_duplicate(error):
                raise ConflictError("taken_meanwhile") from error
            raise
        finally:
            session.close()
    _WORK.after()
    for callback in session.callbacks:
        callback()
    ticker = current_app.extensions.get("ticker")
    if ticker is not None and session.topics:
        ticker.publish(session.topics)


def _is_duplicate(error: IntegrityError) -> bool:
    name = getattr(error.orig, "sqlite_errorname", "")
    return name == "SQLITE_CONSTRAINT_UNIQUE" or getattr(error.orig, "sqlstate", None) == "23505"
