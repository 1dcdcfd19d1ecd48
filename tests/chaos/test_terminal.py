"""An end that becomes another is found, whoever wrote it; the late result of what was in doubt is none."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from chaos.simulation.invariants import _terminal
from chaos.simulation.workshop import WATCH

BOOKS = """
CREATE TABLE command (id, state);
CREATE TABLE anomaly (id, state);
CREATE TABLE money_order (id, state);
CREATE TABLE attempt (id, command_id, outcome);
INSERT INTO command VALUES ('c1', 'pending');
INSERT INTO anomaly VALUES (1, 'open');
INSERT INTO money_order VALUES (1, 'proposed');
INSERT INTO attempt VALUES (1, 'c1', NULL);
"""
GIVEN_UP = "UPDATE command SET state = 'indeterminate'; UPDATE attempt SET outcome = 'unknown'"
FINISHED = "UPDATE command SET state = 'finished'"


@pytest.fixture
def books() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as server:
        server.row_factory = sqlite3.Row
        server.executescript(BOOKS + WATCH)
        yield server


def ends(table: str, column: str, *values: str) -> list[str]:
    return [f"UPDATE {table} SET {column} = '{value}'" for value in values]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (ends("money_order", "state", "issued", "done"), []),
        (ends("money_order", "state", "issued", "done", "done"), []),
        (ends("money_order", "state", "rejected", "issued"), ["order 1: rejected → issued"]),
        (ends("money_order", "state", "withdrawn", "expired"), ["order 1: withdrawn → expired"]),
        (ends("money_order", "state", "done", "proposed"), ["order 1: done → proposed"]),
        (ends("anomaly", "state", "healed", "open"), ["anomaly 1: healed → open"]),
        (ends("command", "state", "expired", "finished"), ["command c1: expired → finished"]),
        (ends("attempt", "outcome", "failed"), []),
        (ends("attempt", "outcome", "failed", "failed"), []),
        (ends("attempt", "outcome", "failed", "repaired"), ["attempt c1: failed → repaired"]),
        (
            ["UPDATE attempt SET outcome = 'wait'; UPDATE attempt SET outcome = NULL"],
            ["attempt c1: wait → None"],
        ),
        ([GIVEN_UP, FINISHED, *ends("attempt", "outcome", "repaired")], []),
        ([GIVEN_UP, *ends("attempt", "outcome", "repaired")], ["attempt c1: unknown → repaired"]),
        ([FINISHED, *ends("attempt", "outcome", "unknown", "failed")], ["attempt c1: unknown → failed"]),
        (
            [GIVEN_UP, FINISHED, *ends("attempt", "outcome", "failed", "repaired")],
            ["attempt c1: failed → repaired"],
        ),
    ],
)
def test_an_end_stays_as_it_is(books: sqlite3.Connection, written: list[str], found: list[str]) -> None:
    for statement in written:
        books.executescript(statement)
    assert [text for invariant, text in _terminal(books) if invariant == "I6"] == found
