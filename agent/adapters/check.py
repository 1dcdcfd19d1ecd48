"""What an adapter finds beside it, said in a line: read-only, for ``python -m agent check``."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, column, inspect, select, table
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.sql import ColumnElement

from agent.adapters.engine import read, read_within
from agent.errors import PortError


def describe(
    engine: Engine,
    schema: str | None,
    expected: Mapping[str, Sequence[str]],
    trades: str,
    now: Callable[[], datetime],
) -> str:
    """Tables found, each with a row read, whether ``trades`` has any, the database's clock against ours.

    It costs a row a table, however large they are. Raises PortError that names every missing table and
    column, or the first table that may not be read.
    """
    missing = read_within(
        engine, "look at the tables", lambda connection: _missing(connection, schema, expected)
    )
    if missing:
        raise PortError("missing: " + "; ".join(missing))
    has_row = {name: _has_row(engine, schema, name, columns) for name, columns in expected.items()}
    skew = (now() - datetime.now(UTC)).total_seconds()
    told = "has rows" if has_row[trades] else "is empty"
    return f"{engine.dialect.name}: {len(expected)} tables can be read, {trades} {told}, clock {skew:+.1f} s"


def _has_row(engine: Engine, schema: str | None, name: str, columns: Sequence[str]) -> bool:
    """Read the columns of one row: the right to read is shown by reading."""
    cells: list[ColumnElement[object]] = [column(each) for each in columns]
    one = select(*cells).select_from(table(name, schema=schema)).limit(1)
    return bool(read(engine, f"read {name}", one))


def _missing(connection: object, schema: str | None, expected: Mapping[str, Sequence[str]]) -> list[str]:
    inspector = inspect(connection)
    missing = []
    for name, columns in expected.items():
        try:
            found = {column["name"] for column in inspector.get_columns(name, schema=schema)}
        except NoSuchTableError:
            missing.append(f"table {name}{_look_alike(inspector.get_table_names(schema=schema), name)}")
            continue
        missing += [
            f"column {name}.{each}{_look_alike(found, each)}" for each in columns if each not in found
        ]
    return missing


def _look_alike(found: Sequence[str] | set[str], name: str) -> str:
    alike = next((each for each in found if each.lower() == name.lower()), None)
    return f" (there is {alike}: names are written exactly)" if alike else ""
