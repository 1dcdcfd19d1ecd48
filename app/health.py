"""``/healthz``: whether this server can do its work now."""

from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, Response, current_app, jsonify
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.extensions import db
from app.unit_of_work import unit_of_work

blueprint = Blueprint("health", __name__)
MIGRATIONS: Final = Path(__file__).resolve().parent.parent / "migrations"


@blueprint.get("/healthz")
def healthz() -> tuple[Response, int]:
    """200 when ready; 503 with the check that failed. Open to anyone, says nothing of the data."""
    checks = {
        "database": _database_trouble(),
        "migrations": _migration_trouble(),
        "runtime": current_app.extensions["runtime"].trouble(),
    }
    is_ready = not any(checks.values())
    words = {name: trouble or "ok" for name, trouble in checks.items()}
    return jsonify(status="ready" if is_ready else "not ready", checks=words), 200 if is_ready else 503


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
    wanted = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    return "" if current == wanted else f"the database is at {current}, the code at {wanted}"
