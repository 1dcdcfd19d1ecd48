"""CHAR columns, which PostgreSQL pads with blanks."""

from pathlib import Path

import msgspec
from sqlalchemy import create_engine, text

from agent.adapters.ddl import ddl
from agent.adapters.names import RequestColumns
from agent.adapters.trade_db import SqlTrades
from sandbox.statements import split_statements
from tests.databases import databases


def test_the_blanks_of_a_char_column_are_no_part_of_a_request_number(tmp_path: Path) -> None:
    columns = msgspec.structs.astuple(RequestColumns())
    typed = ", ".join(f'"{name}" {"CHAR(80)" if name in columns[:2] else "TEXT"}' for name in columns)
    values = ("WD12345678-0", "WD12345678", None, "payout", "created", None, None, None)
    with databases("postgresql", tmp_path) as new_database:
        url = new_database()
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f'CREATE TABLE "TPBAP_BANK_REQUEST" ({typed})'))
            insert_of = f'INSERT INTO "TPBAP_BANK_REQUEST" VALUES ({", ".join(["%s"] * len(values))})'
            connection.exec_driver_sql(insert_of, values)
            for statement in split_statements(ddl("postgresql")):
                connection.execute(text(statement))
        engine.dispose()
        trades = SqlTrades(url)
        found = trades.bank_requests(["WD12345678"])
        trades.close()
    assert [each.request_no for each in found["WD12345678"]] == ["WD12345678-0"]
