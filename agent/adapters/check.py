"""What an adapter finds beside it, said in a line: read-only, for ``python -m agent check``."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Float,
    Integer,
    Numeric,
    column,
    inspect,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import MONEY
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine

from agent.adapters.engine import read, read_within
from agent.errors import PortError

Types = Mapping[str, Mapping[str, TypeEngine[Any]]]
"""The declared types of every table's columns; a table that is missing is left out."""
Cell = tuple[str, str]
"""A table and a column of it."""
Key = tuple[str, tuple[str, ...]]
"""A table and the columns in which no two rows of it may be alike."""


def describe(
    engine: Engine,
    schema: str | None,
    expected: Mapping[str, Sequence[str]],
    trades: str,
    now: Callable[[], datetime],
    amounts: Sequence[Cell],
    keys: Sequence[Key],
    kept: tuple[Cell, Cell] | None = None,
) -> str:
    """Tables found, each with a row read, whether ``trades`` has any, the database's clock against ours.

    ``amounts``: every column of amounts; ``keys``: what the database itself is to refuse a second time;
    ``kept``: a column of whole numbers and the one that keeps them. It costs a row a table, however large
    they are. Raises PortError that names every missing table and column, every amount declared with
    decimals, every key that is lacking, what keeps too little, or the first table that may not be read.
    """
    types = read_within(engine, "look at the tables", lambda c: _types(c, schema, expected))
    missing = _missing(engine, schema, types, expected)
    if missing:
        raise PortError("missing: " + "; ".join(missing))
    with_decimals = [
        f"{place}.{name} is {types[place][name]}"
        for place, name in amounts
        if _has_decimals(types[place][name])
    ]
    if with_decimals:
        raise PortError("amounts that are not in fen: " + "; ".join(with_decimals))
    lacking = read_within(engine, "look at the keys", lambda c: _lacking(inspect(c), schema, keys))
    if lacking:
        raise PortError("taken twice for want of a UNIQUE: " + "; ".join(lacking))
    if kept is not None:
        _require_wide(engine.dialect.name, types, *kept)
    has_row = {name: _has_row(engine, schema, name, columns) for name, columns in expected.items()}
    skew = (now() - datetime.now(UTC)).total_seconds()
    told = "has rows" if has_row[trades] else "is empty"
    return f"{engine.dialect.name}: {len(expected)} tables can be read, {trades} {told}, clock {skew:+.1f} s"


def _has_row(engine: Engine, schema: str | None, name: str, columns: Sequence[str]) -> bool:
    """Read the columns of one row: the right to read is shown by reading."""
    cells: list[ColumnElement[object]] = [column(each) for each in columns]
    one = select(*cells).select_from(table(name, schema=schema)).limit(1)
    return bool(read(engine, f"read {name}", one))


def _types(connection: Connection, schema: str | None, expected: Mapping[str, Sequence[str]]) -> Types:
    inspector = inspect(connection)
    types = {}
    for name in expected:
        with suppress(NoSuchTableError):
            columns = inspector.get_columns(name, schema=schema)
            types[name] = {column["name"]: column["type"] for column in columns}
    return types


def _has_decimals(declared: TypeEngine[Any]) -> bool:
    """By its declaration, because SQLite makes whole numbers of whole yuan: no value tells them from fen."""
    return isinstance(declared, Float | MONEY) or (isinstance(declared, Numeric) and bool(declared.scale))


def _lacking(inspector: Inspector, schema: str | None, keys: Sequence[Key]) -> list[str]:
    """The keys that a table is declared without: production writes without the lock that an agent takes.

    Of a view nothing can be told.
    """
    tables = set(inspector.get_table_names(schema=schema))
    return [
        f"{name} ({', '.join(columns)})"
        for name, columns in keys
        if name in tables and not any(held <= set(columns) for held in _held(inspector, schema, name))
    ]


def _held(inspector: Inspector, schema: str | None, name: str) -> Iterator[set[str | None]]:
    """The columns of each key that holds for every row of a table; None stands for an expression."""
    primary = inspector.get_pk_constraint(name, schema=schema)["constrained_columns"]
    if primary:
        yield set(primary)
    for constraint in inspector.get_unique_constraints(name, schema=schema):
        yield set(constraint["column_names"])
    for index in inspector.get_indexes(name, schema=schema):
        is_partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        if index["unique"] and not is_partial:
            yield set(index["column_names"])


def _require_wide(dialect_name: str, types: Types, of: Cell, keeps: Cell) -> None:
    """Raises PortError where what is to be kept may be larger than its place: the row could not be written
    once money has moved. SQLite keeps any.
    """
    declared, place = types[of[0]][of[1]], types[keeps[0]][keeps[1]]
    if dialect_name == "sqlite" or not is_short(place) or is_short(declared):
        return
    wider = f"{of[0]}.{of[1]} {declared}"
    raise PortError(f"{keeps[0]}.{keeps[1]} is {place} and {wider}: make it BIGINT, larger ones are refused")


def is_short(declared: TypeEngine[Any]) -> bool:
    """Whether a column of whole numbers holds no BIGINT."""
    return isinstance(declared, Integer) and not isinstance(declared, BigInteger)


def _missing(
    engine: Engine, schema: str | None, types: Types, expected: Mapping[str, Sequence[str]]
) -> list[str]:
    missing = []
    for name, columns in expected.items():
        found = types.get(name)
        if found is None:
            missing.append(f"table {name}{_look_alike(_tables(engine, schema), name)}")
            continue
        missing += [
            f"column {name}.{each}{_look_alike(found, each)}" for each in columns if each not in found
        ]
    return missing


def _tables(engine: Engine, schema: str | None) -> list[str]:
    return read_within(engine, "look at the tables", lambda c: inspect(c).get_table_names(schema=schema))


def _look_alike(found: Iterable[str], name: str) -> str:
    alike = next((each for each in found if each.lower() == name.lower()), None)
    return f" (there is {alike}: names are written exactly)" if alike else ""
