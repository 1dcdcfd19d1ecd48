"""Fresh temporary databases for tests that must hold on every engine.

    from tests.databases import each_database, fresh_database    # fixtures; import them in a conftest

``each_database`` runs a test once an engine (sqlite, postgresql, mariadb) and gives it a function that
makes a new empty database at each call and returns its SQLAlchemy URL. All are dropped afterwards.
Servers: PICULUS_TEST_POSTGRES_URL and PICULUS_TEST_MARIADB_URL, else the local defaults. One that
does not answer is skipped and named in LEFT_OUT, which tests/conftest.py prints as one line.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

ENGINES = ("sqlite", "postgresql", "mariadb")
LEFT_OUT: set[str] = set()

NewDatabase = Callable[[], str]

_SERVERS = {
    "postgresql": ("PICULUS_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": ("PICULUS_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


def server_url(engine_name: str) -> URL:
    """Where the server is, whether or not it answers."""
    variable, default = _SERVERS[engine_name]
    return make_url(os.environ.get(variable) or default)


@cache
def server_answers(engine_name: str) -> bool:
    """Asked once a session; a server that does not answer is put on LEFT_OUT."""
    url = server_url(engine_name)
    engine = create_engine(url, connect_args={"connect_timeout": 3})
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        LEFT_OUT.add(engine_name)
        return False
    finally:
        engine.dispose()
    return True


@contextmanager
def databases(engine_name: str, directory: Path) -> Iterator[NewDatabase]:
    """A maker of databases; every one it made is dropped at the end of the block."""
    if engine_name == "sqlite":
        yield lambda: f"sqlite:///{directory / (uuid.uuid4().hex + '.db')}"
        return
    if not server_answers(engine_name):
        pytest.skip(f"no {engine_name} server answers")
    made: list[str] = []

    def new_database() -> str:
        name = f"piculus_test_{uuid.uuid4().hex}"
        _run(engine_name, f"CREATE DATABASE {name}{_charset(engine_name)}")
        made.append(name)
        return server_url(engine_name).set(database=name).render_as_string(hide_password=False)

    try:
        yield new_database
    finally:
        for name in made:
            _run(engine_name, f"DROP DATABASE {name}{_force(engine_name)}")


def _charset(engine_name: str) -> str:
    return " CHARACTER SET utf8mb4" if engine_name == "mariadb" else ""


def _force(engine_name: str) -> str:
    # PostgreSQL refuses to drop a database a pooled connection still looks at.
    return " WITH (FORCE)" if engine_name == "postgresql" else ""


def _run(engine_name: str, statement: str) -> None:
    engine = create_engine(server_url(engine_name), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


@pytest.fixture(params=ENGINES)
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """The test runs on every engine; the value makes a fresh database there."""
    with databases(request.param, tmp_path) as new_database:
        yield new_database


@pytest.fixture
def fresh_database(tmp_path: Path) -> Iterator[NewDatabase]:
    """The same on SQLite alone, for tests that are not about the engine."""
    with databases("sqlite", tmp_path) as new_database:
        yield new_database
