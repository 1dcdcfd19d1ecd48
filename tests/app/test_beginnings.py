"""A beginning is found whatever order a database has its letters in, and by an index."""

from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.dialects import postgresql

from app.beginnings import begins_with
from tests.databases import databases

NAMES = ["CO8", "CO9", "CO91", "CO9Z", "CO9z1", "co91", "CO9账", "C0", "CO:", "CP", "", "ÇO91", "CO 91"]
PLACES = [("sqlite", None), ("postgresql", None), ("postgresql", "en-x-icu"), ("postgresql", "C")]


@pytest.mark.parametrize(("engine_name", "collation"), PLACES)
def test_a_beginning_is_found_in_every_order_of_letters(
    engine_name: str, collation: str | None, tmp_path: Path
) -> None:
    table = Table("names", MetaData(), Column("name", String(64, collation=collation), index=True))
    with databases(engine_name, tmp_path) as new_database:
        engine = create_engine(new_database())
        with engine.begin() as connection:
            table.create(connection)
            connection.execute(insert(table), [{"name": name} for name in NAMES])
            for beginning in ("CO9", "CO", "C", "co", "CO9Z", "CO:", "CO9账", "CO91", "D"):
                found = connection.scalars(select(table.c.name).where(begins_with(table.c.name, beginning)))
                assert set(found) == {name for name in NAMES if name.startswith(beginning)}
        engine.dispose()


@pytest.mark.parametrize("collation", [None, "en-x-icu"])
def test_an_index_is_read_between_both_ends(collation: str | None, tmp_path: Path) -> None:
    table = Table("names", MetaData(), Column("name", String(64, collation=collation), index=True))
    asked = select(table.c.name).where(begins_with(table.c.name, "CO9"))
    statement = asked.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    with databases("postgresql", tmp_path) as new_database:
        engine = create_engine(new_database())
        with engine.begin() as connection:
            table.create(connection)
            connection.exec_driver_sql("SET enable_seqscan = off")
            plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}").scalars())
        engine.dispose()
    (condition,) = [line for line in plan.splitlines() if "Index Cond" in line]
    assert ">=" in condition
    assert "< " in condition
