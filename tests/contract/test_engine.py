"""The engines an agent opens: what they never do is wait for ever."""

import itertools
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, make_url, text

from agent.adapters import engine as engines
from agent.adapters.engine import open_engine, read, read_within, write
from agent.errors import PortError
from tests.contract.relay import Relay
from tests.databases import databases

IDLE = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", "30s"),
    "mariadb": ("SELECT @@idle_transaction_timeout", "30"),
}
SLEEPS = {"postgresql": "SELECT pg_sleep(5)", "mariadb": "SELECT sleep(5)"}


@pytest.mark.parametrize("name", SLEEPS)
def test_a_statement_that_takes_too_long_is_given_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "READ_TIMEOUT_S", 0.5)
    with databases(name, tmp_path) as new_database:
        engine = open_engine(new_database(), "READ COMMITTED")
        try:
            with pytest.raises(PortError, match=r"timeout|timed out|Lost connection"):
                read(engine, "sleep", text(SLEEPS[name]))
        finally:
            engine.dispose()


@pytest.mark.parametrize("name", SLEEPS)
def test_a_database_that_falls_silent_behind_a_proxy_is_given_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "READ_TIMEOUT_S", 1)
    monkeypatch.setattr(engines, "SILENCE_S", 0)
    with (
        databases(name, tmp_path) as new_database,
        ThreadPoolExecutor(1) as worker,
        Relay(_place(url := make_url(new_database()))) as relay,
    ):
        behind_it = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        engine = open_engine(behind_it, "READ COMMITTED")

        def ask(connection: Connection) -> None:
            connection.execute(text("SELECT 1"))
            relay.mute()
            connection.execute(text("SELECT 2"))

        try:
            with pytest.raises(PortError, match=r"no answer|timed out"):
                worker.submit(read_within, engine, "ask", ask).result(timeout=60)
            assert read(engine, "ask again", text("SELECT 3")) == [(3,)]
        finally:
            engine.dispose()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, Engine]]:
    """A writer that holds SQLite's lock, and the engine of another process's only one."""
    file = tmp_path / "production.db"
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("CREATE TABLE trade (number TEXT)")
    engine = open_engine(f"sqlite:///{file}", "", is_alone=True)
    assert read(engine, "connect", text("SELECT number FROM trade")) == []
    holder.execute("BEGIN IMMEDIATE")
    yield holder, engine
    engine.dispose()
    holder.close()


def put(connection: Connection) -> None:
    connection.execute(text("INSERT INTO trade VALUES ('T1')"))


def busy_timeout(connection: Connection) -> object:
    return connection.execute(text("PRAGMA busy_timeout")).scalar()


def test_one_that_writes_alone_in_its_process_looks_again_until_it_may(
    writers: tuple[sqlite3.Connection, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, engine = writers
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 3:
            holder.execute("COMMIT")

    monkeypatch.setattr(engines.time, "sleep", pause)
    write(engine, "record a step", put)
    assert paused == [engines.TURN_S] * 3
    assert holder.execute("SELECT number FROM trade").fetchall() == [("T1",)]
    assert read_within(engine, "look", busy_timeout) == 1000 * engines.LOCK_WAIT_S


def test_one_that_may_not_write_in_time_says_so_and_has_written_nothing(
    writers: tuple[sqlite3.Connection, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, engine = writers
    now = itertools.count()
    monkeypatch.setattr(engines.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(engines.time, "sleep", lambda _: None)
    with pytest.raises(PortError, match="database is locked"):
        write(engine, "record a step", put)
    holder.execute("COMMIT")
    assert read(engine, "look", text("SELECT number FROM trade")) == []
    assert read_within(engine, "look", busy_timeout) == 1000 * engines.LOCK_WAIT_S


def _place(url: URL) -> tuple[str, int]:
    assert url.host
    assert url.port
    return url.host, url.port


@pytest.mark.parametrize("name", IDLE)
def test_the_server_ends_a_transaction_that_stands_still(name: str, tmp_path: Path) -> None:
    asked, seconds = IDLE[name]
    with databases(name, tmp_path) as new_database:
        engine = open_engine(new_database(), "READ COMMITTED")
        try:
            [[found]] = read(engine, "read a setting", text(asked))
        finally:
            engine.dispose()
    assert str(found).startswith(seconds)
