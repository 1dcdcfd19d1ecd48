"""Fixtures of every test: a fresh migrated database, the application on it, a clock that is set by hand."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade

from app import create_app
from app.config import Settings
from app.extensions import db
from tests.databases import LEFT_OUT

pytest_plugins = ["tests.app.live_server", "tests.chromium", "tests.server_databases"]


class HandClock:
    """A clock that stands until it is moved. Call it for the time."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Move on and return the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> HandClock:
    """Stands at noon UTC of a Monday."""
    return HandClock(datetime(2026, 3, 2, 12, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file brought up by the migrations, made once and copied for each test."""
    instance = tmp_path_factory.mktemp("migrated")
    app = create_app(Settings(instance=instance))
    with app.app_context():
        upgrade()
        with db.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        db.engine.dispose()
    return instance / "piculus.db"


@pytest.fixture
def settings(
    tmp_path: Path, migrated_database: Path, server_engine: str, request: pytest.FixtureRequest
) -> Settings:
    """Settings of an instance of its own, its database empty and migrated."""
    instance = tmp_path / "instance"
    instance.mkdir()
    if server_engine == "postgresql":
        return Settings(instance=instance, database_url=request.getfixturevalue("emptied_postgresql"))
    shutil.copy(migrated_database, instance / "piculus.db")
    return Settings(instance=instance)


@pytest.fixture
def app(settings: Settings, clock: HandClock) -> Iterator[Flask]:
    """The application, with its context pushed. Nothing runs beside it."""
    app = create_app(settings, clock)
    app.testing = True
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript."""
    return app.test_client()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what starts real processes: few tests, but long ones, that would else end alone at last."""
    items.sort(key=lambda item: item.path.parent.name not in ("journey", "bench", "chaos"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line about what was left out for want of a server."""
    left_out = _left_out_everywhere(terminalreporter.config)
    if left_out:
        terminalreporter.write_line(f"LEFT OUT: no server answered for {', '.join(sorted(left_out))}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """CI asks for everything (PICULUS_REQUIRE_ALL): what was left out is then a failure."""
    is_worker = hasattr(session.config, "workerinput")
    if is_worker:
        session.config.workeroutput["left_out"] = sorted(LEFT_OUT)  # type: ignore[attr-defined]
    elif os.environ.get("PICULUS_REQUIRE_ALL") and _left_out_everywhere(session.config) and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    """Gather what the workers of pytest-xdist left out."""
    config.stash[_gathered] = set()
    if config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_WorkerEars(config), "left-out")


_gathered = pytest.StashKey[set[str]]()


class _WorkerEars:
    """Hears each worker of pytest-xdist end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        output = getattr(node, "workeroutput", {})
        self._config.stash[_gathered].update(output.get("left_out", ()))


def _left_out_everywhere(config: pytest.Config) -> set[str]:
    return LEFT_OUT | config.stash.get(_gathered, set())
