"""``/healthz``: whether this server can do its work now."""

import threading
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Flask, Response, current_app, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.clock import current_time
from app.extensions import db
from app.unit_of_work import unit_of_work

blueprint = Blueprint("health", __name__)
MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "migrations"


KEPT_FOR: Final = timedelta(seconds=1)
"""Anyone may ask, and as often as they like: the write lock is taken for it once in this time."""


class Checks:
    """What was found wrong, by check ('' for nothing), and when. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, str] = {}
        self._at: datetime | None = None

    def look(self, now: datetime) -> dict[str, str]:
        """Return what is wrong now, or was at most KEPT_FOR ago."""
        with self._lock:
            if self._at is None or not timedelta(0) <= now - self._at < KEPT_FOR:
                self._found, self._at = _look(), current_time()
            return self._found


def init_app(app: Flask) -> None:
    """Give the application its checks."""
    app.extensions["health"] = Checks()


@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """200 when ready; 503 with the check that failed. Open to anyone, says nothing of the data."""
    checks = current_app.extensions["health"].look(current_time())
    is_ready = not any(checks.values())
    words = {name: trouble or "ok" for name, trouble in checks.items()}
    status = "ready" if is_ready else "not ready"
    return jsonify(status=status, checks=words, notes=_notes()), 200 if is_ready else 503


def _notes() -> dict[str, str]:
    """What somebody should look at though the server does its work."""
    return {"alerts": "failing" if current_app.extensions["courier"].trouble else "ok"}


def _look() -> dict[str, str]:
    return {
        "database": _database_trouble(),
        "migrations": _migration_trouble(),
        "runtime": current_app.extensions["runtime"].trouble(),
    }


def _database_trouble() -> str:
    """Return '' when the database takes writes: the transaction is opened for writing and changes nothing."""
    try:
        with unit_of_work() as session:
            session.execute(text("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0"))
    except SQLAlchemyError as error:
        return type(error).__name__
    return ""


def _migration_trouble() -> str:
    try:
        with db.engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        return type(error).__name__
    wanted = _head()
    return "" if current == wanted else f"the database is at {current}, the code at {wanted}"


@cache
def _head() -> str | None:
    """The newest migration of this code, which does not change while it runs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()
