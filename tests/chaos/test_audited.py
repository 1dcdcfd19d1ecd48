"""The audit is held against what was ordered: what is left out, told twice or made up is found."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from chaos.simulation.audited import gaps, unclicked

BOOKS = """
CREATE TABLE audit_entry (id INTEGER PRIMARY KEY, action, object_type, object_id TEXT);
CREATE TABLE money_order (id, action, state, confirmed_by_id, issued_at, attempt_id);
CREATE TABLE stop (id, scope, lifted_at);
CREATE TABLE breaker (id, reset_at);
CREATE TABLE collection_run (id);
CREATE TABLE anomaly_event (code, command_id);
CREATE TABLE attempt (id INTEGER, "trigger", command_id);
"""
NOW = "'2026-03-02 10:30:00'"
PROPOSED = "INSERT INTO money_order VALUES (1, 'reverse', 'proposed', NULL, NULL, NULL)"
REJECTED = "INSERT INTO money_order VALUES (1, 'reverse', 'rejected', NULL, NULL, NULL)"
WITHDRAWN = "INSERT INTO money_order VALUES (1, 'reverse', 'withdrawn', NULL, NULL, NULL)"
EXPIRED = "INSERT INTO money_order VALUES (1, 'reverse', 'expired', NULL, NULL, NULL)"
DONE = f"INSERT INTO money_order VALUES (1, 'reverse', 'done', 2, {NOW}, 5)"
STOP = "INSERT INTO stop VALUES (1, 'all', NULL)"
LIFTED = f"INSERT INTO stop VALUES (1, 'all', {NOW})"
LOCAL = f"INSERT INTO stop VALUES (1, 'here', {NOW})"
TRIPPED = "INSERT INTO breaker VALUES (1, NULL)"
RESET = f"INSERT INTO breaker VALUES (1, {NOW})"
RUN = "INSERT INTO collection_run VALUES (1)"
CANCEL = """
INSERT INTO attempt VALUES (1, 'tick', 'c1');
INSERT INTO anomaly_event VALUES ('cancel_requested', 'c1');
"""
TO_THE_END = ["order.propose", "order.confirm", "order.issue", "order.done"]


@pytest.fixture
def books() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as server:
        server.executescript(BOOKS)
        yield server


def tell(books: sqlite3.Connection, *actions: str) -> None:
    books.executemany(
        "INSERT INTO audit_entry (action, object_type, object_id) VALUES (?, ?, '1')",
        [(action, action.partition(".")[0]) for action in actions],
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (PROPOSED, ["order.propose"]),
        (REJECTED, ["order.propose", "order.reject"]),
        (WITHDRAWN, ["order.propose", "order.withdraw"]),
        (EXPIRED, ["order.propose", "order.expired"]),
        (DONE, TO_THE_END),
        (STOP, ["stop.set"]),
        (LIFTED, ["stop.set", "stop.lift"]),
        (RESET, ["breaker.reset"]),
        (RUN, ["run.start"]),
        (CANCEL, ["attempt.cancel"]),
    ],
)
def test_what_people_ordered_is_told_once(books: sqlite3.Connection, written: str, told: list[str]) -> None:
    books.executescript(written)
    assert {text.split()[0] for _, text in gaps(books)} == set(told)
    tell(books, *told)
    assert list(gaps(books)) == []
    for twice in told:
        tell(books, twice)
    assert [(name, text.split()[0]) for name, text in gaps(books)] == [("I12", one) for one in told]


@pytest.mark.parametrize("written", [LOCAL, TRIPPED])
def test_what_nobody_ordered_is_told_by_nobody(books: sqlite3.Connection, written: str) -> None:
    books.executescript(written)
    assert list(gaps(books)) == []


@pytest.mark.parametrize("made_up", ["order.confirm", "stop.lift", "breaker.reset", "attempt.cancel"])
def test_what_is_told_was_ordered(books: sqlite3.Connection, made_up: str) -> None:
    tell(books, made_up)
    assert list(gaps(books)) == [("I12", f"{made_up} of 1 is told 1 times, not 0")]


@pytest.mark.parametrize(
    ("trigger", "told", "found"),
    [
        ("tick", [], False),
        ("tick", ["attempt.retry"], True),
        ("tick", ["attempt.cancel"], False),
        ("click", [], True),
        ("click", ["attempt.cancel"], True),
        ("click", ["attempt.retry"], False),
        ("click", ["attempt.start"], False),
        ("click", ["attempt.retry", "attempt.retry"], True),
        ("reverse", [], True),
    ],
)
def test_a_further_attempt_is_one_audited_click(
    books: sqlite3.Connection, trigger: str, told: list[str], found: bool
) -> None:
    books.execute("INSERT INTO attempt VALUES (1, ?, 'c1')", (trigger,))
    tell(books, *told)
    assert [name for name, _ in unclicked(books)] == ["I7"] * found


@pytest.mark.parametrize(("action", "found"), [("reverse", False), ("pay_again", True)])
def test_an_ordered_attempt_is_one_order_of_that_kind(
    books: sqlite3.Connection, action: str, found: bool
) -> None:
    books.execute("INSERT INTO attempt VALUES (1, 'reverse', 'c1')")
    books.execute("INSERT INTO money_order VALUES (1, ?, 'done', 2, ?, 1)", (action, NOW))
    assert bool(list(unclicked(books))) is found
