"""What an adapter finds beside it, said in a line: read-only, for ``python -m agent check``."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, func, inspect, select, table
from sqlalchemy.exc import NoSuchTableError

from agent.adapters.engine import read, read_within
from agent.errors import PortError


def describe(
    engine: Engine,
    schema: str | None,
    expected: Mapping[str, Sequence[str]],
    counted: str,
    now: Callable[[], datetime],
) -> str:
    """Tables found, rows of ``counted``, and how far the database's clock is from ours.

    Raises PortError that names every missing table and column.
    """
    missing = read_within(
        engine, "look at the tables", lambda connection: _missing(connection, schema, expected)
    )
    if missing:
        raise PortError("missing: " + "; ".join(missing))
    rows = read(engine, "count the rows", select(func.count()).select_from(table(counted, schema=schema)))[0][
        0
    ]
    skew = (now() - datetime.now(UTC)).total_seconds()
    return f"{engine.dialect.name}: {len(expected)} tables, {rows} rows in {counted}, clock {skew:+.1f} s"


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
