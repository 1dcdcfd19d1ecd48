"""What the books are held against: each check finds its slip, and nothing else."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.simulation.evidence import (
    _behind_a_breaker,
    _failed_though_moved,
    _left_open,
    _left_unapplied,
    _written_twice,
)
from chaos.simulation.workshop import WATCH_BREAKERS
from sandbox.bank.records import FAILED, PAYOUT, SUCCESS, BankRecord

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


# ---- what production's tables and the bank's books say


AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
PRODUCTION = """
CREATE TABLE piculus_repair (trade_no, state);
CREATE TABLE piculus_correction (trade_no, new_row, written_at);
"""


@pytest.fixture
def production() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as tables:
        tables.row_factory = sqlite3.Row
        tables.executescript(PRODUCTION)
        yield tables


def write_row(production: sqlite3.Connection, status: int) -> None:
    """A repair has written the row of CH1."""
    written = ("CH1", json.dumps({"TRD_STATUS": status}), AT.isoformat())
    production.execute("INSERT INTO piculus_correction VALUES (?, ?, ?)", written)


def held_by_bank(status: str, completed_at: datetime, *, paid_late: bool = False) -> Any:
    """A schedule whose bank has this one payout of CH1."""
    record = BankRecord("CH1-0", PAYOUT, status, None, 1, "CNY", "6228", completed_at, completed_at)
    books = SimpleNamespace(of_trade=lambda trade_no: [record])
    return SimpleNamespace(world=SimpleNamespace(books=books), paid_late={"CH1"} if paid_late else set())


@pytest.mark.parametrize(
    ("row", "status", "minutes", "paid_late", "found"),
    [
        (9, SUCCESS, -1, False, True),
        (9, SUCCESS, 1, False, False),
        (9, SUCCESS, -1, True, False),
        (9, FAILED, -1, False, False),
        (8, SUCCESS, -1, False, False),
    ],
)
def test_a_row_written_as_failed_though_the_bank_had_moved_the_money_is_found(
    production: sqlite3.Connection, row: int, status: str, minutes: int, paid_late: bool, found: bool
) -> None:
    write_row(production, row)
    schedule = held_by_bank(status, AT + timedelta(minutes=minutes), paid_late=paid_late)
    assert [name for name, _ in _failed_though_moved(schedule, production)] == ["I9"] * found


@pytest.mark.parametrize(
    ("times", "touched", "found"), [(1, False, False), (2, False, True), (2, True, False)]
)
def test_a_row_written_twice_that_nobody_else_touched_is_found(
    production: sqlite3.Connection, times: int, touched: bool, found: bool
) -> None:
    for _ in range(times):
        write_row(production, 8)
    schedule: Any = SimpleNamespace(touched={"CH1": 1.0} if touched else {})
    assert [name for name, _ in _written_twice(schedule, production)] == ["I11"] * found


@pytest.mark.parametrize(
    ("states", "repair", "found"),
    [
        (["repaired"], "done", False),
        (["repaired"], "open", True),
        (["repaired", "needs_human"], "open", False),
        (["needs_human"], "open", False),
    ],
)
def test_a_repair_left_open_of_a_trade_called_repaired_is_found(
    production: sqlite3.Connection, states: list[str], repair: str, found: bool
) -> None:
    with closing(sqlite3.connect(":memory:")) as server:
        server.execute("CREATE TABLE anomaly (id INTEGER PRIMARY KEY, trade_no, state)")
        server.executemany("INSERT INTO anomaly (trade_no, state) VALUES ('CH1', ?)", [(s,) for s in states])
        production.execute("INSERT INTO piculus_repair VALUES ('CH1', ?)", (repair,))
        assert [name for name, _ in _left_open(server, production)] == ["I8"] * found


# ---- what a server makes of a result


TAKEN = """
CREATE TABLE received_message (message_id);
CREATE TABLE attempt (command_id, outcome);
CREATE TABLE anomaly_event (command_id, code, reason);
INSERT INTO received_message VALUES ('m1');
"""
LATE = "INSERT INTO anomaly_event VALUES ('c1', 'late_result', ?)"


@pytest.mark.parametrize(
    ("outcome", "reason", "found"),
    [
        ("failed", None, False),
        ("unknown", None, True),
        (None, None, True),
        ("unknown", "failed: the ledger refused", False),
        ("unknown", "fence 7, failed: the ledger refused", False),
        ("unknown", "fence 6, failed: the ledger refused", True),
        ("unknown", "fence 7, wait: bank", True),
    ],
)
def test_a_result_that_was_taken_and_is_told_nowhere_is_found(
    outcome: str | None, reason: str | None, found: bool
) -> None:
    result = SimpleNamespace(command_id="c1", fence=7, outcome="failed")
    schedule: Any = SimpleNamespace(agents=[SimpleNamespace(results={"m1": result, "m2": result})])
    with closing(sqlite3.connect(":memory:")) as server:
        server.row_factory = sqlite3.Row
        server.executescript(TAKEN)
        server.execute("INSERT INTO attempt VALUES ('c1', ?)", (outcome,))
        if reason is not None:
            server.execute(LATE, (reason,))
        told = list(_left_unapplied(schedule, server))
    assert [name for name, _ in told] == ["I5"] * found
