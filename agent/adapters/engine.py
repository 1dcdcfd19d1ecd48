"""Database engines, and the two ways to use them: a short read, and a transaction that locks first.

Nothing here alters a database: no DDL, no journal mode. Every error of the database leaves as PortError with
a short message that names neither address nor user.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, DateTime, Engine, Row, create_engine, event, literal_column, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.sql import ColumnElement, Executable

from agent.adapters.postgresql import give_up_on_silence, let_pass_unreadable_times
from agent.errors import ConfigurationError, PortError
from agent.failpoints import Failpoint, Span
from agent.standstill import EFFECT_WITHIN

T = TypeVar("T")

LOCK_WAIT_S: Final = 10
READ_TIMEOUT_S: Final = 120
"""How long one statement may take; a worker must not hang on a database that no longer answers."""
SILENCE_S: Final = 10
"""How much longer PostgreSQL is waited for, whose server itself ends a slow statement."""
IDLE_S: Final = round(EFFECT_WITHIN.total_seconds())
"""How long the server lets a transaction of ours stand still: a paused machine must not commit it at last."""
TURN_S: Final = 0.0003
"""Between two tries of a process to become SQLite's writer. By itself it waits 1, 2, 5, 10 … milliseconds,
far longer than a transaction of ours lasts."""
ATTEMPTS: Final = 6
# Serialization failure and deadlock: the database has rolled back all of it, so the whole may be tried again.
_ROLLED_BACK_STATES: Final = frozenset({"40001", "40P01"})
_ROLLED_BACK_NUMBERS: Final = frozenset({1213, 1020})
_ADDRESS: Final = re.compile(
    r"\S+://\S+|(?:at|on|host|for user|database) [\"'][^\"']*[\"'](?:@'[^']*')?|'[^']*'@'[^']*'"
)
_MARIADB_IDLE: Final = f" /*M!100300 , idle_transaction_timeout = {IDLE_S} */"
"""To MySQL, which has no such setting, a comment."""
_SPANS: Final = {
    "claim the repair": Span("production.claim"),
    "record a step": Span("production.step"),
    "open a bank request": Span("production.request"),
    "note a bank request": Span("production.note"),
    "write the trade row": Span("production.row"),
    "close the repair": Span("production.close"),
    "post to the ledger": Span("ledger.post"),
    "reverse in the ledger": Span("ledger.reverse"),
}
"""The failpoints around each thing that is written."""
_READ: Final = Failpoint("production.read.before")
_WRITE: Final = "BEGIN IMMEDIATE"
_ALONE: Final = "piculus_alone"
"""The option of a SQLite engine with which one thread of its process writes."""
_PRIMARY: Final = 0xFF
"""The part of SQLite's code of an error that says which, without the details."""
_CLOCKS: Final = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'",
    "postgresql": "timezone('utc', clock_timestamp())",
    "mysql": "utc_timestamp(6)",
    "mariadb": "utc_timestamp(6)",
}


class ConstraintError(PortError):
    """The database refused a row by a constraint, again after a second look; nothing was written."""


def open_engine(url: str, isolation: str, *, is_alone: bool = False) -> Engine:
    """An engine for SQLite, PostgreSQL (psycopg) or MariaDB (pymysql); connects nowhere yet.

    ``is_alone``: one thread of this process writes by it, others do in processes of their own.
    Raises ConfigurationError for a URL that is none of these. A SQLite file must exist: none is created.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            return _sqlite_engine(parsed.database or "", is_alone=is_alone)
        engine = create_engine(
            parsed,
            isolation_level=isolation,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_limits(backend),
        )
    except (ArgumentError, ImportError, ValueError) as error:
        raise ConfigurationError("the database URL names no database that an agent can use") from error
    if backend not in _CLOCKS:
        raise ConfigurationError(f"{backend} is not supported: use SQLite, PostgreSQL or MariaDB")
    event.listen(engine, "connect", _prepare_postgresql if backend == "postgresql" else _prepare_mariadb)
    return engine


def _limits(backend: str) -> dict[str, int | float]:
    """The driver's own time limits."""
    if backend == "postgresql":
        # The server itself ends a slow statement; these notice that there is no server any more.
        lost = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        return {
            "connect_timeout": LOCK_WAIT_S,
            "tcp_user_timeout": _milliseconds(READ_TIMEOUT_S),
            **lost,
        }
    if backend in ("mysql", "mariadb"):
        return {
            "connect_timeout": LOCK_WAIT_S,
            "read_timeout": READ_TIMEOUT_S,
            "write_timeout": READ_TIMEOUT_S,
        }
    return {}


def _sqlite_engine(path: str, *, is_alone: bool) -> Engine:
    if not path or path == ":memory:":
        raise ConfigurationError("a SQLite database must be a file")
    # mode=rw: a wrong path is an error, not a new empty file.
    target = path if path.startswith("file:") else f"file:{quote(path)}"
    joint = "&" if "?" in target else "?"
    engine = create_engine(
        f"sqlite:///{target}{joint}mode=rw&uri=true",
        connect_args={"timeout": LOCK_WAIT_S},
        hide_parameters=True,
        execution_options={_ALONE: is_alone},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself (_begin does): it would begin them deferred.
    connection.isolation_level = None
    # A text that is not UTF-8 is one bad value, not the end of a collection.
    connection.text_factory = _text
    connection.execute("PRAGMA foreign_keys = ON")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _begin(connection: Connection, how: str) -> None:
    """Begin SQLite's transaction; other databases begin theirs by themselves.

    Not by an event of the engine: one that listens to any slows down every statement. And past SQLAlchemy,
    to which these are as much work as a statement.
    """
    driver = connection.connection.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        try:
            driver.execute(how)
        except sqlite3.Error as error:
            raise OperationalError(how, None, error) from error


def _begin_to_write(connection: Connection) -> None:
    """Become SQLite's one writer; other databases begin their transactions by themselves.

    A deferred transaction that reads and then writes would fail at once when two meet. Threads of one process
    that tried often would take the interpreter from the one that writes: they wait as SQLite has it.
    """
    driver = connection.connection.dbapi_connection
    if not isinstance(driver, sqlite3.Connection) or not connection.get_execution_options().get(_ALONE):
        _begin(connection, _WRITE)
        return
    until = time.monotonic() + LOCK_WAIT_S
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while not _is_writer(driver, until):
            time.sleep(TURN_S)
    except sqlite3.Error as error:
        raise OperationalError(_WRITE, None, error) from error
    finally:
        driver.execute(f"PRAGMA busy_timeout = {_milliseconds(LOCK_WAIT_S)}")


def _is_writer(driver: sqlite3.Connection, until: float) -> bool:
    try:
        driver.execute(_WRITE)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > until:
            raise
        return False
    return True


def _prepare_postgresql(connection: Any, _record: object) -> None:
    let_pass_unreadable_times(connection)
    give_up_on_silence(connection, READ_TIMEOUT_S + SILENCE_S)
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        cursor.execute(f"SET statement_timeout = {_milliseconds(READ_TIMEOUT_S)}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_milliseconds(IDLE_S)}")
    connection.commit()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _prepare_mariadb(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        # TIMESTAMP columns are converted to the session's zone; DATETIME ones are not.
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(f"SET innodb_lock_wait_timeout = {LOCK_WAIT_S}{_MARIADB_IDLE}")


def clock(engine: Engine) -> ColumnElement[datetime]:
    """The database's own clock in SQL, naive UTC with microseconds."""
    return literal_column(_CLOCKS[engine.dialect.name], DateTime())


def read(
    engine: Engine, what: str, statement: Executable, values: Mapping[str, object] | None = None
) -> Sequence[Row[Any]]:
    """All rows of one statement, in a transaction of its own. Raises PortError."""
    return _read(engine, what, lambda connection: connection.execute(statement, values).all())


def read_within(engine: Engine, what: str, work: Callable[[Connection], T]) -> T:
    """Several reads in one transaction. Raises PortError."""

    def within(connection: Connection) -> T:
        _begin(connection, "BEGIN")
        return work(connection)

    return _read(engine, what, within)


def _read(engine: Engine, what: str, work: Callable[[Connection], T]) -> T:
    _READ()
    try:
        with engine.connect() as connection:
            return work(connection)
    except (SQLAlchemyError, OverflowError) as error:
        raise PortError(f"{what}: {explain(error)}") from error


def write(engine: Engine, what: str, work: Callable[[Connection], T]) -> T:
    """Run ``work`` in one transaction and commit. Raises PortError: it is not known whether it was committed.

    A deadlock, a serialization failure or a constraint means that someone came between and that all was
    rolled back: ``work`` is run again and looks again. A constraint that stays raises ConstraintError.
    ``what`` is one of those that have their failpoints here.
    """
    span = _SPANS[what]
    span.before()
    written = _write(engine, what, work, span)
    span.after()
    return written


def _write(engine: Engine, what: str, work: Callable[[Connection], T], span: Span) -> T:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _connect_to_write(engine) as connection, connection.begin():
                _begin_to_write(connection)
                written = work(connection)
                span.commit()
                return written
        except IntegrityError as error:
            if attempt > 1:
                raise ConstraintError(f"{what}: {explain(error)}") from error
        except (SQLAlchemyError, OverflowError) as error:
            if attempt == ATTEMPTS or not _is_rolled_back(error):
                raise PortError(f"{what}: {explain(error)}") from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _connect_to_write(engine: Engine) -> Connection:
    """A connection whose every statement sees what was committed before it, however strict the readers are.

    PostgreSQL takes the snapshot of a stricter transaction at its first statement, which waits for a lock:
    what is read behind the lock would be from before the wait. MariaDB takes it at the first read.
    """
    connection = engine.connect()
    if engine.dialect.name == "postgresql":
        connection.execution_options(isolation_level="READ COMMITTED")
    return connection


def _is_rolled_back(error: Exception) -> bool:
    original = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(original, "sqlstate", None)
    number = original.args[0] if original is not None and original.args else None
    return state in _ROLLED_BACK_STATES or number in _ROLLED_BACK_NUMBERS


def explain(error: Exception) -> str:
    """A short reason without addresses, users or parameters."""
    original = error.orig if isinstance(error, DBAPIError) else error
    parts = [str(part) for part in getattr(original, "args", ())] or [str(original)]
    line = next((line.strip() for line in parts[-1].splitlines() if line.strip()), type(original).__name__)
    return _ADDRESS.sub("…", line)[:200]
