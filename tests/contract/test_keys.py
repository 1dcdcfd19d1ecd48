"""Tables that production declares without the keys that refuse a second one: ``check`` names them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import LedgerNames, TradeNames
from agent.adapters.trade_db import SqlTrades
from agent.errors import PortError
from sandbox.database import writing
from tests.contract.places import SqlLedgerPlace, SqlTradePlace

COPY = "keyless"


@contextmanager
def keyless(engine: Engine, table: str, *indexes: str) -> Iterator[None]:
    """A copy of a table with its columns and nothing else but these indexes."""
    quoted = engine.dialect.identifier_preparer.quote(table)
    with writing(engine) as connection:
        connection.execute(text(f"CREATE TABLE {COPY} AS SELECT * FROM {quoted} WHERE 1 = 0"))
        for index in indexes:
            connection.execute(text(index))
    try:
        yield
    finally:
        with writing(engine) as connection:
            connection.execute(text(f"DROP TABLE {COPY}"))


def told_of_ledger(place: SqlLedgerPlace, names: LedgerNames) -> str:
    ledger = SqlLedger(place.url, names)
    try:
        return ledger.check()
    finally:
        ledger.close()


def told_of_trades(place: SqlTradePlace, names: TradeNames) -> str:
    trades = SqlTrades(place.url, names)
    try:
        return trades.check()
    finally:
        trades.close()


def test_a_ledger_that_takes_a_leg_twice_is_told(sql_ledger: SqlLedgerPlace) -> None:
    """Nothing else refuses production's own entry behind ours."""
    wanted = rf"for want of a UNIQUE: {COPY} \(TRD_NUM, LEG, LIVE\)$"
    with keyless(sql_ledger.books.engine, "gl_entry_leg"), pytest.raises(PortError, match=wanted):
        told_of_ledger(sql_ledger, LedgerNames(entry_leg=COPY))


def test_a_ledger_that_takes_a_key_twice_is_told(sql_ledger: SqlLedgerPlace) -> None:
    wanted = rf"for want of a UNIQUE: {COPY} \(VOUCHER_NO\); {COPY} \(IDEM_KEY\)$"
    with keyless(sql_ledger.books.engine, "gl_entry"), pytest.raises(PortError, match=wanted):
        told_of_ledger(sql_ledger, LedgerNames(entry=COPY))


def test_a_table_that_takes_a_place_of_bank_requests_twice_is_told(sql_trades: SqlTradePlace) -> None:
    wanted = rf"for want of a UNIQUE: {COPY} \(REQUEST_NO\); {COPY} \(TRD_NUM, SEQ\)$"
    with keyless(sql_trades.engine, "TPBAP_BANK_REQUEST"), pytest.raises(PortError, match=wanted):
        told_of_trades(sql_trades, TradeNames(requests=COPY))


def test_tables_of_ours_made_without_their_keys_are_told(sql_trades: SqlTradePlace) -> None:
    wanted = rf"for want of a UNIQUE: {COPY} \(step_key\)$"
    with keyless(sql_trades.engine, "piculus_repair_step"), pytest.raises(PortError, match=wanted):
        told_of_trades(sql_trades, TradeNames(step=COPY))


def test_a_unique_index_is_as_good_as_a_constraint(sql_trades: SqlTradePlace) -> None:
    name = sql_trades.engine.dialect.identifier_preparer.quote
    indexes = [
        f"CREATE UNIQUE INDEX ux_number ON {COPY} ({name('REQUEST_NO')})",
        f"CREATE UNIQUE INDEX ux_place ON {COPY} ({name('TRD_NUM')}, {name('SEQ')})",
    ]
    with keyless(sql_trades.engine, "TPBAP_BANK_REQUEST", *indexes):
        assert "5 tables" in told_of_trades(sql_trades, TradeNames(requests=COPY))


def test_an_index_over_some_rows_only_or_over_more_columns_is_none(sql_trades: SqlTradePlace) -> None:
    if sql_trades.engine.dialect.name not in ("sqlite", "postgresql"):
        pytest.skip("MariaDB has no index over some rows")
    name = sql_trades.engine.dialect.identifier_preparer.quote
    number, place, kind = name("REQUEST_NO"), name("SEQ"), name("KIND")
    indexes = [
        f"CREATE UNIQUE INDEX ux_number ON {COPY} ({number}) WHERE {kind} = 'payout'",
        f"CREATE UNIQUE INDEX ux_place ON {COPY} ({name('TRD_NUM')}, {place}, {kind})",
    ]
    wanted = rf"{COPY} \(REQUEST_NO\); {COPY} \(TRD_NUM, SEQ\)$"
    with (
        keyless(sql_trades.engine, "TPBAP_BANK_REQUEST", *indexes),
        pytest.raises(PortError, match=wanted),
    ):
        told_of_trades(sql_trades, TradeNames(requests=COPY))
