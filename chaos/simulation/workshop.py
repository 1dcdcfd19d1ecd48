"""Where schedules are run: a folder whose empty databases are made once and copied for each schedule."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from agent.adapters.ddl import ddl
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import Names
from agent.adapters.trade_db import SqlTrades
from app import create_app
from app.agents import service as agents
from app.audit.service import Actor
from app.config import Settings
from app.extensions import db
from app.plans.product_plans import PRODUCT_PLANS, PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup, User
from chaos.simulation.loom import START
from sandbox.clock import utc_now as sandbox_now
from sandbox.world import World

GROUP: Final = "PBAP"
AGENTS: Final = ("agent-a", "agent-b")
MAX_RETRIES: Final = 2
BANK_DAY_SECONDS: Final = 600
PERSON: Final = Actor(id=1, name="li.na", address="127.0.0.1")
OTHER_PERSON: Final = Actor(id=2, name="wang.wei", address="127.0.0.1")
NO_BREAKER: Final = {"breaker_failures": 0, "breaker_returns": 0}
"""A schedule full of faults would trip it at once: only some arm it, and have a person who resets it."""
_RETRY_CRON: Final = "0 * * * * ?"
WATCH: Final = """
CREATE TABLE watched (seq INTEGER PRIMARY KEY, what TEXT, id TEXT, before TEXT, after TEXT);
CREATE TRIGGER watch_command AFTER UPDATE OF state ON command WHEN OLD.state <> NEW.state
BEGIN INSERT INTO watched (what, id, before, after) VALUES ('command', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER watch_anomaly AFTER UPDATE OF state ON anomaly WHEN OLD.state <> NEW.state
BEGIN INSERT INTO watched (what, id, before, after) VALUES ('anomaly', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER watch_order AFTER UPDATE OF state ON money_order WHEN OLD.state <> NEW.state
BEGIN INSERT INTO watched (what, id, before, after) VALUES ('order', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER watch_attempt AFTER UPDATE OF outcome ON attempt
WHEN OLD.outcome IS NOT NULL AND OLD.outcome IS NOT NEW.outcome
BEGIN INSERT INTO watched (what, id, before, after)
VALUES ('attempt', NEW.command_id, OLD.outcome, NEW.outcome); END;
"""
"""The database itself writes down each change of state, whatever code made it; an attempt by its command."""
WATCH_BREAKERS: Final = """
CREATE TABLE defiance (seq INTEGER PRIMARY KEY, what TEXT, command_id TEXT, scope TEXT, breaker_id INTEGER);
CREATE TRIGGER watch_begun AFTER INSERT ON begun_repair WHEN NEW.is_new
BEGIN INSERT INTO defiance (what, command_id, scope, breaker_id)
SELECT 'begun', NEW.command_id, scope, id FROM breaker WHERE reset_at IS NULL
    AND group_id = NEW.group_id AND (scope = 'group' OR subject_name = NEW.fixer_code); END;
CREATE TRIGGER watch_sent AFTER UPDATE OF state ON command WHEN OLD.state = 'pending' AND NEW.state = 'sent'
BEGIN INSERT INTO defiance (what, command_id, scope, breaker_id)
SELECT 'sent', NEW.id, breaker.scope, breaker.id FROM begun_repair AS begun
    JOIN breaker ON breaker.reset_at IS NULL AND breaker.code <> 'amount'
        AND breaker.group_id = begun.group_id
        AND (breaker.scope = 'group' OR breaker.subject_name = begun.fixer_code)
WHERE begun.command_id = NEW.id AND begun.is_new AND NOT EXISTS (
    SELECT 1 FROM step JOIN attempt ON attempt.id = step.attempt_id
    WHERE attempt.command_id = NEW.id AND step.moves_money AND step.state = 'done')
AND NOT EXISTS (SELECT 1 FROM anomaly JOIN attempt ON attempt.anomaly_id = anomaly.id
    WHERE attempt.command_id = NEW.id AND anomaly.has_moved_money); END;
"""
"""The server's database writes down what a plan begins, and what of it is sent, while a breaker stands there.

By the order of what is written, for times tell less: a trip is dated by when its result came, which may lie
long before it was read. What has moved money, by its steps or by word,
is gone on with and sent again; what an hour's amount has let go is sent yet.
"""
_WATCH_REPAIRS: Final = """
CREATE TABLE intrusion (seq INTEGER PRIMARY KEY, what TEXT);
CREATE TRIGGER watch_takeover AFTER UPDATE OF fence ON piculus_repair
WHEN NEW.round = OLD.round AND NEW.fence < OLD.fence
BEGIN INSERT INTO intrusion (what)
VALUES (NEW.trade_no || ': fence ' || NEW.fence || ' took over from ' || OLD.fence); END;
CREATE TRIGGER watch_new_step AFTER INSERT ON piculus_repair_step
WHEN NOT EXISTS (SELECT 1 FROM piculus_repair AS repair WHERE repair.trade_no = NEW.trade_no
    AND repair.round = NEW.round AND repair.fence = NEW.fence AND repair.boot_id = NEW.boot_id)
BEGIN INSERT INTO intrusion (what) VALUES (NEW.step_key || ' was written by fence ' || NEW.fence); END;
CREATE TRIGGER watch_step AFTER UPDATE ON piculus_repair_step
WHEN NOT EXISTS (SELECT 1 FROM piculus_repair AS repair WHERE repair.trade_no = NEW.trade_no
    AND repair.round = NEW.round AND repair.fence = NEW.fence AND repair.boot_id = NEW.boot_id)
BEGIN INSERT INTO intrusion (what) VALUES (NEW.step_key || ' was written by fence ' || NEW.fence); END;
"""
"""Production's database writes down whatever an attempt wrote that did not hold the repair."""


class Workshop:
    """What one schedule after another is run with: made once, for that is what takes the time.

    ``apps`` are the applications of two servers on one database; ``tokens`` and ``databases`` (trades,
    ledger) those of each agent; ``world`` is production as the sandbox has it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._empty = folder / "empty"
        self.run = folder / "run"
        self._empty.mkdir(parents=True)
        self.run.mkdir()
        self.tokens: dict[str, str] = {}
        world = World.created(self._empty, groups=(GROUP,))
        self._make_own_tables(make_url(world.trade_url()).database or "")
        world.close()
        self._make_server(self._empty)
        _fold(self._empty)
        self.clear()
        settings = Settings(instance=self.run)
        self.apps: tuple[Flask, ...] = (create_app(settings), create_app(settings))
        self.world = World(self.run, groups=(GROUP,), clock=sandbox_now, day_seconds=BANK_DAY_SECONDS)
        self.databases = {
            name: (SqlTrades(self.world.trade_url()), SqlLedger(self.world.ledger_url())) for name in AGENTS
        }

    def clear(self) -> None:
        """Put fresh databases in place."""
        for path in self.run.glob("*.db*"):
            path.unlink()
        for path in self._empty.glob("*.db"):
            shutil.copyfile(path, self.run / path.name)

    def arm(self, failures: int) -> None:
        """Have so many failures of an hour trip each plan's breaker and its group's; needs no application."""
        with sqlite3.connect(self.run / "piculus.db") as server:
            for table in ("plan", "system_group"):
                server.execute(f"UPDATE {table} SET breaker_failures = ?", (failures,))
        server.close()

    def forget(self) -> None:
        """Let go of every connection to the databases of the schedule that ended."""
        self.world.close()
        for trades, ledger in self.databases.values():
            trades.close()
            ledger.close()
        for app in self.apps:
            with app.app_context():
                db.session.remove()
                db.engine.dispose()

    @staticmethod
    def _make_own_tables(trades: str) -> None:
        """What a DBA does with ``agent ddl``."""
        with sqlite3.connect(trades) as connection:
            connection.executescript(ddl("sqlite", Names(), ""))
            connection.executescript(_WATCH_REPAIRS)
        connection.close()

    def _make_server(self, folder: Path) -> None:
        app = create_app(Settings(instance=folder))
        with app.app_context():
            upgrade()
            with unit_of_work() as session:
                group = SystemGroup(sys_code=GROUP, name="收单平台", created_at=START, **NO_BREAKER)
                session.add_all([group, *(_person(actor) for actor in (PERSON, OTHER_PERSON))])
                session.flush()
                for name in AGENTS:
                    _, self.tokens[name] = agents.register(
                        session, name=name, group_id=group.id, actor=PERSON, now=START
                    )
                for values in PRODUCT_PLANS:
                    create_plan(session, _quick(values), actor=PERSON, now=START)
            db.session.remove()
            db.engine.dispose()
        with sqlite3.connect(folder / "piculus.db") as connection:
            connection.executescript(WATCH + WATCH_BREAKERS)
        connection.close()


def _quick(values: PlanValues) -> PlanValues:
    return replace(
        values, retry_cron=_RETRY_CRON, max_retries=MAX_RETRIES, breaker_failures=0, breaker_returns=0
    )


def _person(actor: Actor) -> User:
    return User(
        id=actor.id,
        username=actor.name,
        password_hash="none",
        role="operator",
        sees_all_groups=True,
        created_at=START - timedelta(days=30),
    )


def _fold(folder: Path) -> None:
    """Bring what lies beside each database back into its file, so that one copy is enough."""
    for path in folder.glob("*.db"):
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()


@contextmanager
def simulated_clock() -> Iterator[None]:
    """Let SQLite's own clock follow the schedule's, in every connection opened meanwhile."""

    def set_up(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.create_function("strftime", -1, _strftime)
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", set_up)
    try:
        yield
    finally:
        event.remove(Engine, "connect", set_up)


def _strftime(layout: str, *_moment: str) -> str:
    """What the agent's adapters ask SQLite for: '%Y-%m-%d %H:%M:%f' of now."""
    now = datetime.now(UTC).replace(tzinfo=None)
    assert layout == "%Y-%m-%d %H:%M:%f", layout
    return now.isoformat(sep=" ", timespec="milliseconds")
