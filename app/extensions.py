"""The Flask extensions, unbound; create_app binds them."""

import sqlite3
from typing import Any, Final

from flask_babel import Babel
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import Connection, Engine, MetaData, event
from sqlalchemy.orm import DeclarativeBase

from app.columns import NAMING

LOCK_WAIT_MS: Final = 10_000
"""How long a unit of work waits for another writer before it fails; whoever opened it tries again later."""
IDLE_WRITER_MS: Final = 60_000
"""A unit of work silent for so long is of a server that hangs or is gone: PostgreSQL undoes it."""
WRITER_KEY: Final = int.from_bytes(b"PICULUS")
"""The advisory lock on PostgreSQL that the one writer holds; each database counts its own."""


class Base(DeclarativeBase):
    """The declarative base of every model."""

    metadata = MetaData(naming_convention=NAMING)


db: SQLAlchemy = SQLAlchemy(model_class=Base, disable_autonaming=True)
migrate = Migrate(render_as_batch=True)
login_manager = LoginManager()
csrf = CSRFProtect()
babel = Babel()
limiter = Limiter(key_func=get_remote_address, default_limits=[], storage_uri="memory://")


@event.listens_for(Engine, "connect")
def set_up_sqlite(connection: Any, _record: object) -> None:
    """WAL, on the disk at each commit, foreign keys, a busy time-out; the driver begins no transaction."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={LOCK_WAIT_MS}",
        "foreign_keys=ON",
        "cache_size=-32000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def take_write_lock(connection: Connection) -> None:
    """Be the one writer from the first statement of a transaction on, or fail after LOCK_WAIT_MS.

    On PostgreSQL every statement after the lock sees what was committed before it: a snapshot for the whole
    transaction, which a stricter isolation takes at the first statement, would be from before the wait.
    Not an event of the engine: one that listens to any slows down every statement.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        # One trip for all four; SET takes no snapshot.
        connection.exec_driver_sql(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
            f" SET LOCAL lock_timeout = {LOCK_WAIT_MS};"
            f" SET LOCAL idle_in_transaction_session_timeout = {IDLE_WRITER_MS};"
            f" SELECT pg_advisory_xact_lock({WRITER_KEY})"
        )
