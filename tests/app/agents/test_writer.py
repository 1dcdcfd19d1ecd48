"""The writer: batches, savepoints, and nothing acknowledged before it is durable."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select

from agent import failpoints
from app.agents.models import Frame, ReceivedMessage
from app.agents.writer import Job, Writer
from app.extensions import db
from app.unit_of_work import WorkSession
from tests.conftest import HandClock

PATIENCE = 10.0


@pytest.fixture
def writer(app: Flask) -> Iterator[Writer]:
    writer = Writer(app)
    writer.start()
    yield writer
    writer.stop()


def frame(clock: HandClock, **values: Any) -> dict[str, Any]:
    """Return the columns of a frame row."""
    row = {
        "at": clock(),
        "group_id": 1,
        "agent_id": 1,
        "direction": "in",
        "type": "Heartbeat",
        "size": 2,
        "message_id": "m",
        "command_id": None,
        "trade_no": None,
        "latency_ms": None,
        "body": "{}",
        "error": "",
    }
    return {**row, **values}


def keep(clock: HandClock, message_id: str) -> Job:
    """A job that stores a message id."""

    def run(session: WorkSession) -> None:
        session.add(ReceivedMessage(agent_id=1, message_id=message_id, at=clock()))

    return Job(run, _unexpected)


def _unexpected(error: Exception) -> None:
    raise AssertionError(error)


def stored_ids() -> list[str]:
    return list(db.session.scalars(select(ReceivedMessage.message_id).order_by(ReceivedMessage.message_id)))


def test_frames_and_jobs_are_stored(writer: Writer, clock: HandClock) -> None:
    for number in range(1200):
        writer.keep(frame(clock, message_id=str(number)))
    writer.submit(keep(clock, "a"))
    assert writer.flush()
    assert db.session.scalar(select(func.count()).select_from(Frame)) == 1200
    assert stored_ids() == ["a"]


def test_a_failing_job_undoes_itself_only(writer: Writer, clock: HandClock) -> None:
    failures: list[str] = []

    def run(session: WorkSession) -> None:
        session.add(ReceivedMessage(agent_id=1, message_id="bad", at=clock()))
        session.flush()
        session.after_commit(lambda: failures.append("acknowledged"))
        raise ValueError("no")

    writer.submit(keep(clock, "a"))
    writer.submit(Job(run, lambda error: failures.append(str(error))))
    writer.submit(keep(clock, "b"))
    assert writer.flush()
    assert stored_ids() == ["a", "b"]
    assert failures == ["no"]


def test_what_follows_the_commit_sees_the_row(app: Flask, writer: Writer, clock: HandClock) -> None:
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        with sqlite3.connect(app.extensions["settings"].instance / "piculus.db") as connection:
            seen.append(connection.execute("SELECT count(*) FROM received_message").fetchone()[0])
        done.set()

    def run(session: WorkSession) -> None:
        session.add(ReceivedMessage(agent_id=1, message_id="a", at=clock()))
        session.after_commit(look)

    writer.submit(Job(run, _unexpected))
    assert done.wait(PATIENCE)
    assert seen == [1]


def test_while_the_database_takes_no_writes_nothing_is_acknowledged(
    app: Flask, writer: Writer, clock: HandClock
) -> None:
    acknowledged = threading.Event()
    make_full(app, True)

    def run(session: WorkSession) -> None:
        session.add(ReceivedMessage(agent_id=1, message_id="x" * 40, at=clock()))
        session.add_all(
            ReceivedMessage(agent_id=2, message_id=f"{number:040}", at=clock()) for number in range(5000)
        )
        session.after_commit(acknowledged.set)

    with complaint("app.agents.writer") as complained:
        writer.submit(Job(run, _unexpected))
        assert complained.wait(PATIENCE)
    assert "full" in writer.trouble
    assert not acknowledged.is_set()
    make_full(app, False)
    assert acknowledged.wait(PATIENCE)
    assert writer.flush()
    assert writer.trouble == ""
    assert len(stored_ids()) == 5001


def test_an_error_nobody_expects_ends_neither_the_writer_nor_what_waits(
    app: Flask, writer: Writer, clock: HandClock
) -> None:
    left = ["server.work.before", "server.work.commit"]

    def fail(point: str) -> None:
        if point in left:
            left.remove(point)
            raise LookupError(point)

    with failpoints.armed(fail), complaint("app.agents.writer") as complained:
        writer.submit(keep(clock, "a"))
        assert complained.wait(PATIENCE)
        assert writer.flush()
    assert left == []
    assert stored_ids() == ["a"]


@contextmanager
def complaint(logger: str) -> Iterator[threading.Event]:
    """An event that is set once ``logger`` has told of an error inside the block."""
    told = threading.Event()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: told.set()  # type: ignore[method-assign]
    logging.getLogger(logger).addHandler(handler)
    try:
        yield told
    finally:
        logging.getLogger(logger).removeHandler(handler)


def make_full(app: Flask, is_full: bool) -> None:
    """Let the database file grow no more, or grow again, on every connection."""
    pages = 100_000_000

    def limit(connection: Any, _record: object, _proxy: object) -> None:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={used if is_full else pages}")

    listeners = app.extensions.setdefault("test_limits", [])
    for known in listeners:
        event.remove(db.engine, "checkout", known)
    listeners[:] = [limit]
    event.listen(db.engine, "checkout", limit)


def test_a_job_that_fails_while_it_reads_keeps_nobody_from_writing(
    app: Flask, writer: Writer, clock: HandClock
) -> None:
    """Its failure is held on to, as a log's handler may do."""
    held: list[Exception] = []

    def read_half(session: WorkSession) -> None:
        session.add_all(ReceivedMessage(agent_id=1, message_id=f"x{n}", at=clock()) for n in range(3))
        session.flush()
        rows = session.execute(select(ReceivedMessage.message_id))
        raise LookupError(str(rows.closed))

    writer.submit(Job(read_half, held.append))
    assert writer.flush()
    with sqlite3.connect(app.extensions["settings"].instance / "piculus.db") as another:
        another.execute(
            "INSERT INTO received_message (agent_id, message_id, at) VALUES (1, 'a', '2026-03-02')"
        )
    another.close()
    writer.submit(keep(clock, "b"))
    assert writer.flush()
    assert (len(held), stored_ids()) == (1, ["a", "b"])
