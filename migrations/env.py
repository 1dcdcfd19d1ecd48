"""Runs migrations inside the application (``flask --app wsgi db upgrade``); never offline."""

from typing import Any

from alembic import context
from flask import current_app

import app.agents.models
import app.anomalies.models
import app.audit.models
import app.executions.models
import app.plans.models
import app.users.models  # noqa: F401 - each of these registers its tables
from app.columns import UtcDateTime
from app.extensions import Base, take_write_lock


def render_item(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """Write our own column types as what the database holds: old migrations must not change with the code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime()"
    return False


def drop_empty(_context: Any, _revision: Any, directives: list[Any]) -> None:
    """Make no file for a migration without changes."""
    is_asked = getattr(context.config.cmd_opts, "autogenerate", False)
    if is_asked and directives[0].upgrade_ops.is_empty():
        directives[:] = []


def migrate() -> None:
    """Bring the database to the wanted revision, in one transaction."""
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        # SQLite changes a table by making it anew; references to it must not be followed meanwhile.
        if is_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_item=render_item,
            process_revision_directives=drop_empty,
            render_as_batch=True,
            transactional_ddl=True,
        )
        with context.begin_transaction():
            take_write_lock(connection)
            context.run_migrations()
        if is_sqlite:
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=ON")


migrate()
