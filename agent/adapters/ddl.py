"""The tables and grants that a DBA reviews and creates; an agent runs no DDL."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from agent.adapters.names import LedgerNames, Names, TradeNames
from agent.adapters.tables import LedgerTables, TradeTables
from agent.errors import ConfigurationError

_DIALECTS = {
    "sqlite": sqlite.dialect,
    "postgresql": postgresql.dialect,
    "mysql": mysql.dialect,
    "mariadb": mysql.dialect,
}
_MOMENT = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_LONG_TEXT = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
# Trade numbers that differ in case only are two trades.
_EXACT: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}


def ddl(dialect_name: str, names: Names | None = None, grants_user: str | None = None) -> str:
    """Piculus's three tables and, for a database user, what it must be granted in both databases.

    ``dialect_name``: sqlite, postgresql, mysql or mariadb. A ``;`` ends each statement and stands nowhere
    else, so the text can be split there. The grants of the ledger stand last, under a comment: where the
    ledger is a database of its own they are run in that one. Raises ConfigurationError for another dialect or
    an odd user.
    """
    if dialect_name not in _DIALECTS:
        raise ConfigurationError(f"{dialect_name!r} is not one of {', '.join(_DIALECTS)}")
    dialect: Dialect = _DIALECTS[dialect_name]()
    names = names or Names()
    lines = ["-- Tables of Piculus, in the trade database", *_creates(dialect, names.trades)]
    # SQLite has no grants: who may write the file may write the tables.
    if grants_user and dialect_name != "sqlite":
        user = _user(dialect, grants_user)
        lines += [
            "-- What the agent may do in the trade database",
            *_trade_grants(dialect, names.trades, user),
        ]
        lines += [
            "-- What the agent may do in the ledger database",
            *_ledger_grants(dialect, names.ledger, user),
        ]
    return "\n".join(lines) + "\n"


def own_tables(names: TradeNames) -> Sequence[Table]:
    """Piculus's three tables, typed."""
    metadata = MetaData(schema=names.schema)
    return (_repair(names, metadata), _step(names, metadata), _correction(names, metadata))


def _repair(names: TradeNames, metadata: MetaData) -> Table:
    """The repair of each trade: its newest round."""
    return Table(
        names.repair,
        metadata,
        Column("trade_no", String(64), primary_key=True),
        Column("round", Integer, nullable=False),
        Column("state", String(16), nullable=False),
        *_owner(),
        Column("fixer_code", String(80), nullable=False),
        Column("target", String(16), nullable=False),
        Column("plan", _LONG_TEXT, nullable=False),
        Column("row_before", _LONG_TEXT, nullable=False),
        Column("terms", String(64), nullable=False),
        Column("started_at", _MOMENT, nullable=False),
        Column("changed_at", _MOMENT, nullable=False),
        Index("ix_piculus_repair_started", "started_at"),
        **_EXACT,
    )


def _step(names: TradeNames, metadata: MetaData) -> Table:
    """Every outside effect of a repair, by its idempotency key."""
    return Table(
        names.step,
        metadata,
        Column("step_key", String(160), primary_key=True),
        Column("trade_no", String(64), nullable=False),
        Column("round", Integer, nullable=False),
        Column("seq", Integer, nullable=False),
        Column("name", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("moves_money", Integer, nullable=False),
        Column("started_at", _MOMENT, nullable=False),
        Column("finished_at", _MOMENT),
        Column("result", _LONG_TEXT, nullable=False),
        *_owner(),
        Index("ix_piculus_repair_step_trade", "trade_no"),
        **_EXACT,
    )


def _correction(names: TradeNames, metadata: MetaData) -> Table:
    """The old row of every row written."""
    return Table(
        names.correction,
        metadata,
        Column("trade_no", String(64), primary_key=True),
        Column("round", Integer, primary_key=True, autoincrement=False),
        Column("old_version", BigInteger, primary_key=True, autoincrement=False),
        Column("trade_id", BigInteger, nullable=False),
        Column("fixer_code", String(80), nullable=False),
        *_owner(),
        Column("old_row", _LONG_TEXT, nullable=False),
        Column("new_row", _LONG_TEXT, nullable=False),
        Column("written_at", _MOMENT, nullable=False),
        **_EXACT,
    )


def _owner() -> list[Column[Any]]:
    """Which attempt wrote a line."""
    return [
        Column("fence", BigInteger, nullable=False),
        Column("agent", String(128), nullable=False),
        Column("boot_id", String(64), nullable=False),
    ]


def _creates(dialect: Dialect, names: TradeNames) -> Iterator[str]:
    for table in own_tables(names):
        yield f"{str(CreateTable(table).compile(dialect=dialect)).strip()};"
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            yield f"{CreateIndex(index).compile(dialect=dialect)};"


def _trade_grants(dialect: Dialect, names: TradeNames, user: str) -> Iterator[str]:
    tables, columns, requests = TradeTables(names), names.columns, names.request_columns
    written = [
        columns.status,
        columns.acc_voucher,
        columns.acc_status,
        columns.e_acc_voucher,
        columns.e_acc_status,
        columns.message,
        columns.changed_at,
        columns.version,
    ]
    yield _grant(dialect, "SELECT", names.table, names.schema, user)
    yield _grant(dialect, "UPDATE", names.table, names.schema, user, written)
    yield _grant(dialect, "SELECT, INSERT", names.requests, names.schema, user)
    yield _grant(
        dialect, "UPDATE", names.requests, names.schema, user, [requests.status, requests.changed_at]
    )
    for own in (tables.repair, tables.step):
        yield _grant(dialect, "SELECT, INSERT, UPDATE", own.name, names.schema, user)
    yield _grant(dialect, "SELECT, INSERT", names.correction, names.schema, user)


def _ledger_grants(dialect: Dialect, names: LedgerNames, user: str) -> Iterator[str]:
    tables = LedgerTables(names)
    for read_only in (tables.account, tables.sequence):
        yield _grant(dialect, "SELECT", read_only.name, names.schema, user)
    yield _grant(dialect, "UPDATE", names.account, names.schema, user, ["BALANCE"])
    yield _grant(dialect, "UPDATE", names.sequence, names.schema, user, ["LAST_VALUE"])
    for appended in (tables.entry, tables.entry_leg, tables.posting):
        yield _grant(dialect, "SELECT, INSERT", appended.name, names.schema, user)
    # A reversal marks the entry that it takes back; what that entry says stays as it was posted.
    yield _grant(dialect, "UPDATE", names.entry, names.schema, user, ["REVERSED_BY"])
    yield _grant(dialect, "UPDATE", names.entry_leg, names.schema, user, ["LIVE"])
    if dialect.name == "postgresql":
        # The numbers of gl_posting come from the sequence behind its column.
        sequence = _quoted(dialect, f"{names.posting}_ID_seq", names.schema)
        yield f"GRANT USAGE ON SEQUENCE {sequence} TO {user};"


def _grant(
    dialect: Dialect, rights: str, table: str, schema: str | None, user: str, columns: Sequence[str] = ()
) -> str:
    named = ", ".join(_quoted(dialect, column) for column in columns)
    what = f"{rights} ({named})" if named else rights
    return f"GRANT {what} ON {_quoted(dialect, table, schema)} TO {user};"


def _quoted(dialect: Dialect, name: str, schema: str | None = None) -> str:
    quote = dialect.identifier_preparer.quote
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def _user(dialect: Dialect, name: str) -> str:
    """``name``, or on MariaDB ``name@host``, quoted."""
    if not re.fullmatch(r"[A-Za-z0-9_.$-]{1,63}(@[A-Za-z0-9_.%:-]{1,60})?", name):
        raise ConfigurationError(f"{name!r} is no name of a database user")
    if dialect.name != "mysql":
        return dialect.identifier_preparer.quote_identifier(name)
    user, _, host = name.partition("@")
    return f"'{user}'@'{host or '%'}'"
