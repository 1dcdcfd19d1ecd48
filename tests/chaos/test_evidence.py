"""What the books are held against: each check finds its slip, and nothing else."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from chaos.simulation.evidence import _behind_a_breaker
from chaos.simulation.workshop import WATCH_BREAKERS

BOOKS = """
CREATE TABLE command (id, state);
CREATE TABLE begun_repair (command_id, group_id, fixer_code, is_new);
CREATE TABLE breaker (id, scope, code, group_id, subject_name, reset_at);
CREATE TABLE attempt (id, command_id, anomaly_id);
CREATE TABLE anomaly (id, has_moved_money);
CREATE TABLE step (attempt_id, moves_money, state);
"""
TRIP = "INSERT INTO breaker VALUES (1, 'plan', 'failures', 1, 'fixer', NULL)"
TRIP_OF_GROUP = "INSERT INTO breaker VALUES (1, 'group', 'failures', 1, 'PBAP', NULL)"
TRIP_OF_AMOUNT = "INSERT INTO breaker VALUES (1, 'plan', 'amount', 1, 'fixer', NULL)"
TRIP_ELSEWHERE = "INSERT INTO breaker VALUES (1, 'plan', 'failures', 1, 'another', NULL)"
RESET = "UPDATE breaker SET reset_at = '2026-03-02 10:30:00'"
BEGIN = "INSERT INTO begun_repair VALUES ('c1', 1, 'fixer', 1)"
GO_ON = "INSERT INTO begun_repair VALUES ('c1', 1, 'fixer', 0)"
SEND = "UPDATE command SET state = 'sent'"
SEND_AGAIN = "UPDATE command SET state = 'pending'; UPDATE command SET state = 'sent'"
ACCEPT = "UPDATE command SET state = 'accepted'"
TELL_OF_MONEY = "UPDATE anomaly SET has_moved_money = 1"
PAY = "INSERT INTO step VALUES (1, 1, 'done')"


@pytest.fixture
def books() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as server:
        server.row_factory = sqlite3.Row
        server.executescript(BOOKS + WATCH_BREAKERS)
        server.executescript(
            "INSERT INTO command VALUES ('c1', 'pending'); INSERT INTO attempt VALUES (1, 'c1', 1);"
            "INSERT INTO anomaly VALUES (1, 0)"
        )
        yield server


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ([BEGIN, SEND, TRIP], []),
        ([TRIP, BEGIN], ["begun"]),
        ([TRIP_OF_GROUP, BEGIN], ["begun"]),
        ([TRIP_OF_AMOUNT, BEGIN], ["begun"]),
        ([TRIP_ELSEWHERE, BEGIN, SEND], []),
        ([TRIP, RESET, BEGIN, SEND], []),
        ([TRIP, GO_ON, SEND], []),
        ([BEGIN, TRIP, SEND], ["sent"]),
        ([BEGIN, TRIP_OF_GROUP, SEND], ["sent"]),
        ([BEGIN, TRIP_OF_AMOUNT, SEND], []),
        ([BEGIN, TRIP, RESET, SEND], []),
        ([BEGIN, SEND, TRIP, SEND_AGAIN], ["sent"]),
        ([BEGIN, SEND, PAY, TRIP, SEND_AGAIN], []),
        ([BEGIN, SEND, TELL_OF_MONEY, TRIP, SEND_AGAIN], []),
        ([BEGIN, SEND, TRIP, ACCEPT], []),
    ],
)
def test_what_is_new_and_begun_or_sent_between_a_trip_and_the_reset_is_found(
    books: sqlite3.Connection, written: list[str], found: list[str]
) -> None:
    for statement in written:
        books.executescript(statement)
    told = [text for invariant, text in _behind_a_breaker(books) if invariant == "I9"]
    assert [text.split()[2] for text in told] == found
