"""The server's own database for tests on PostgreSQL: migrated once a session, emptied for each test.

A test module that says ``pytestmark = pytest.mark.each_engine`` runs on SQLite and on PostgreSQL; the
``settings`` fixture of tests/conftest.py then names the engine's database.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask_migrate import upgrade
from sqlalchemy import NullPool, create_engine, event

from app import create_app, extensions
from app.config import Settings
from app.extensions import Base, db
from tests.databases import databases

SERVER_ENGINES = ("sqlite", "postgresql")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "each_engine: runs on every engine the server's database may be on")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run marked tests that need the server's database once an engine."""
    is_marked = metafunc.definition.get_closest_marker("each_engine") is not None
    if is_marked and "server_engine" in metafunc.fixturenames:
        metafunc.parametrize("server_engine", SERVER_ENGINES, indirect=True)


@pytest.fixture
def server_engine(request: pytest.FixtureRequest) -> str:
    """The engine under the server in this test."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture(scope="session")
def migrated_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL database brought up by the migrations, for one test after another."""
    directory = tmp_path_factory.mktemp("postgresql")
    with databases("postgresql", directory) as new_database:
        url = new_database()
        app = create_app(Settings(instance=directory, database_url=url))
        with app.app_context():
            upgrade()
            db.engine.dispose()
        yield url


@pytest.fixture
def emptied_postgresql(migrated_postgresql: str) -> str:
    """The same, its tables empty and its numbers beginning at 1 again."""
    engine = create_engine(migrated_postgresql, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(_emptying())
    return migrated_postgresql


def _emptying() -> str:
    # Not TRUNCATE: with a file to begin anew for every table and index it takes thirty times as long.
    deletes = "".join(f'DELETE FROM "{table.name}";' for table in reversed(Base.metadata.sorted_tables))
    return (
        f"{deletes} SELECT setval(quote_ident(sequencename)::regclass, start_value, false)"
        " FROM pg_sequences WHERE last_value IS NOT NULL"
    )


@contextmanager
def another_writer() -> Iterator[None]:
    """Another process holds the write lock of the application's database; nobody waits long for it."""
    is_sqlite = db.engine.dialect.name == "sqlite"
    with _sqlite_writer() if is_sqlite else _postgresql_writer():
        yield


@contextmanager
def _sqlite_writer() -> Iterator[None]:
    def hurry(connection: Any, _record: object, _proxy: object) -> None:
        connection.execute("PRAGMA busy_timeout=10")

    # The first connection writes its journal mode into the file.
    db.engine.connect().close()
    event.listen(db.engine, "checkout", hurry)
    other = sqlite3.connect(str(db.engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
        event.remove(db.engine, "checkout", hurry)


@contextmanager
def _postgresql_writer() -> Iterator[None]:
    other = create_engine(db.engine.url, poolclass=NullPool)
    with pytest.MonkeyPatch.context() as patch, other.begin() as connection:
        patch.setattr(extensions, "LOCK_WAIT_MS", 10)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({extensions.WRITER_KEY})")
        yield
