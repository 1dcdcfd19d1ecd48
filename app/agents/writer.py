"""The one thread that writes what arrives: frames and the work of messages, in batches.

A job that fails undoes itself and no other; the batch is committed; only then are Acks sent. When the
database cannot be written (locked, disk full) nothing is acknowledged, the same batch is tried again, and the
server is not ready.
"""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError, OperationalError

from agent.failpoints import Failpoint
from app.agents.models import Frame
from app.unit_of_work import WorkSession, unit_of_work

log = logging.getLogger(__name__)

BATCH_ITEMS: Final = 500
FRAME_LINGER_SECONDS: Final = 0.05
JOB_LINGER_SECONDS: Final = 0.004
RETRY_SECONDS: Final = 0.5
ROOM: Final = 20_000
"""Items waiting beyond which message handlers wait: the sockets are then read no further."""

_BATCH: Final = Failpoint("server.batch.before")
_WRITTEN: Final = Failpoint("server.batch.after")

_SQLITE_STORAGE = (
    "BUSY",
    "LOCKED",
    "FULL",
    "IOERR",
    "READONLY",
    "CANTOPEN",
    "PROTOCOL",
    "NOMEM",
    "INTERRUPT",
)
_POSTGRES_STORAGE = ("08", "25006", "40", "53", "55P03", "57", "58")


@dataclass(frozen=True)
class Job:
    """Work for the writer's transaction. It may run more than once, but is committed once.

    ``failed`` hears, after the commit, the error that undid this job; its own after_commit callbacks are
    dropped then. ``frame`` returns the Frame row of the message that is handled, given that error, None for
    none; it is kept either way.
    """

    run: Callable[[WorkSession], None]
    failed: Callable[[Exception], None]
    frame: Callable[[Exception | None], dict[str, Any]] | None = None


Item = Job | dict[str, Any]
"""A job, or the columns of a Frame row."""


class Writer:
    """Takes items from any thread, writes them in order."""

    def __init__(self, app: Flask, *, linger: float = FRAME_LINGER_SECONDS) -> None:
        self._app = app
        self._linger = linger
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._busy = 0
        self._hurry = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._trouble = ""

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Write what waits, then end.

        What cannot be written by then is lost here and sent again by the agents.
        """
        with self._changed:
            self._is_stopping = True
            self._hurry.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def trouble(self) -> str:
        """Why nothing can be written now, '' when all is well."""
        if self._thread is None or not self._thread.is_alive():
            return "the writer is not running"
        return self._trouble

    def keep(self, frame: dict[str, Any]) -> None:
        """Write a frame row soon."""
        self._put(frame)

    def submit(self, job: Job) -> None:
        """Run a job soon."""
        self._put(job)

    def wait_for_room(self) -> None:
        """Wait while too much waits to be written."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < ROOM or self._is_stopping)

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until everything put so far is written; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._items and not self._busy, timeout=seconds)

    def write_waiting(self) -> bool:
        """Write what waits now, on the caller's thread, where no thread was started; return whether any did.

        Needs an application context. Raises whatever befell the writing: it is all kept, for another call.
        """
        batch = self._take_batch()
        if not batch:
            return False
        try:
            callbacks = self._write(batch)
        except BaseException:
            self._items.extendleft(reversed(batch))
            raise
        _follow(callbacks)
        return True

    def _put(self, item: Item) -> None:
        with self._changed:
            self._items.append(item)
            if len(self._items) == 1:
                self._changed.notify_all()
            # A frame can wait for others; a job has someone waiting for its Ack.
            if isinstance(item, Job) or len(self._items) >= BATCH_ITEMS:
                self._hurry.set()

    # ---- the thread

    def _run(self) -> None:
        with self._app.app_context():
            while batch := self._next_batch():
                self._write_until_done(batch)
                with self._changed:
                    self._busy = 0
                    self._changed.notify_all()

    def _next_batch(self) -> list[Item]:
        """Wait for items and a little for more; return them, none when stopping and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._is_stopping)
        if self._hurry.wait(self._linger) and len(self._items) < BATCH_ITEMS and not self._is_stopping:
            time.sleep(JOB_LINGER_SECONDS)
        with self._changed:
            batch = self._take_batch()
            self._busy = len(batch)
            if not self._items and not self._is_stopping:
                self._hurry.clear()
            self._changed.notify_all()
            return batch

    def _take_batch(self) -> list[Item]:
        return [self._items.popleft() for _ in range(min(BATCH_ITEMS, len(self._items)))]

    def _write_until_done(self, batch: list[Item]) -> None:
        while True:
            try:
                callbacks = self._write(batch)
            except Exception as error:
                # The message handler edge: what waits to be written outlives whatever befell the writer; were
                # its thread to end, the server would take messages and never acknowledge one.
                was_well = not self._trouble
                cause = find_storage_failure(error) or error
                self._trouble = str(cause).partition("\n")[0][:300]
                if was_well:
                    log.exception("nothing can be written")
                if self._is_stopping:
                    return
                self._pause()
                continue
            self._trouble = ""
            _follow(callbacks)
            return

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopping, timeout=RETRY_SECONDS)

    def _write(self, batch: list[Item]) -> list[Callable[[], None]]:
        """Write a batch, at first without savepoints; when a job fails, again with one around each."""
        _BATCH()
        try:
            return _write_batch(batch, _run_bare)
        except Exception as error:
            # The message handler edge: whose fault it is shows when each job runs by itself.
            if find_storage_failure(error) is not None:
                raise
        return _write_batch(batch, _attempt)


Run = Callable[[WorkSession, Job], Exception | None]
"""Runs one job; returns the error that undid it."""


def _write_batch(batch: list[Item], run: Run) -> list[Callable[[], None]]:
    """Write a batch in one transaction; return what is to follow the commit."""
    with unit_of_work() as session:
        frames = [row for item in batch if (row := _run_item(session, item, run)) is not None]
        if frames:
            run(session, Job(lambda session: _insert_frames(session, frames), _log_lost_frames))
        # Run by the writer after the commit: an error in one must not look like a failed transaction.
        callbacks = list(session.callbacks)
        session.callbacks.clear()
    return callbacks


def _run_item(session: WorkSession, item: Item, run: Run) -> dict[str, Any] | None:
    """Run a job; return the frame row there is to keep of the item, None for none."""
    if isinstance(item, dict):
        return item
    error = run(session, item)
    return None if item.frame is None else item.frame(error)


def _run_bare(session: WorkSession, job: Job) -> None:
    job.run(session)


def _attempt(session: WorkSession, job: Job) -> Exception | None:
    kept = len(session.callbacks)
    try:
        with session.begin_nested():
            job.run(session)
    except Exception as error:
        # The message handler edge: a fault in one message's work must not undo the others'.
        if find_storage_failure(error) is not None:
            raise
        del session.callbacks[kept:]
        session.info.pop("looks", None)
        failure = error
        session.after_commit(lambda: _tell(job, failure))
        return failure
    return None


def _tell(job: Job, failure: Exception) -> None:
    """Let a job hear of its failure, and let go of what it had in hand.

    A statement that was being read would keep its connection at the rows of then, from which SQLite lets
    nobody write, for as long as anybody holds the failure.
    """
    try:
        job.failed(failure)
    finally:
        traceback.clear_frames(failure.__traceback__)


def _insert_frames(session: WorkSession, frames: list[dict[str, Any]]) -> None:
    session.execute(insert(Frame), frames)
    session.touch("frames")


def _log_lost_frames(error: Exception) -> None:
    log.error("frames were not kept: %s", error)


def _follow(callbacks: list[Callable[[], None]]) -> None:
    """Do what follows the commit."""
    _WRITTEN()
    for callback in callbacks:
        _run_callback(callback)


def _run_callback(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        # The same edge: the work is durable, what follows it (an Ack) is sent again when asked for.
        log.exception("a callback after the commit failed")


def find_storage_failure(error: BaseException | None) -> DBAPIError | None:
    """Return the failure that says the database cannot be written now, None for a statement it refuses.

    What led to the error counts too: a full disk makes SQLite forget its savepoints, and only that is seen.
    """
    while error is not None:
        if isinstance(error, DBAPIError) and _is_storage(error):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_storage(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRES_STORAGE)
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).removeprefix("SQLITE_").startswith(_SQLITE_STORAGE)
    return isinstance(error, OperationalError)
