"""The Flask extensions, unbound; create_app binds them."""

import sqlite3
from typing import Any

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
    """WAL, foreign keys, a 10 s busy time-out; the driver never begins a transaction on its own."""
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "busy_timeout=10000",
        "foreign_keys=ON",
        "cache_size=-32000",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@event.listens_for(Engine, "begin")
def begin_immediate(connection: Connection) -> None:
    """On SQLite a unit of work takes the write lock at once; a read stays in autocommit."""
    if connection.dialect.name == "sqlite" and connection.get_execution_options().get("is_unit_of_work"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
