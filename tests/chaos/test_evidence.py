"""What the books are held against: each check finds its slip, and nothing else."""

import sqlite3

import pytest

from chaos.simulation.evidence import _sent_behind_a_breaker

BOOKS = """
CREATE TABLE command (id, group_id, fixer_code, sent_at, accepted_at);
CREATE TABLE begun_repair (command_id, is_new);
CREATE TABLE breaker (id, scope, code, group_id, subject_name, tripped_at, reset_at);
CREATE TABLE attempt (id, command_id);
CREATE TABLE step (attempt_id, moves_money, state, started_at);
INSERT INTO breaker VALUES (1, 'plan', 'failures', 1, 'fixer',
    '2026-03-02 10:00:00.000000', '2026-03-02 10:30:00.000000');
INSERT INTO begun_repair VALUES ('c1', 1);
INSERT INTO attempt VALUES (1, 'c1');
"""


@pytest.mark.parametrize(
    ("sent_at", "accepted_at", "paid_at", "found"),
    [
        ("2026-03-02 09:59:00.000000", "2026-03-02 10:01:00.000000", None, 0),
        ("2026-03-02 10:00:09.000000", None, None, 0),
        ("2026-03-02 10:10:00.000000", None, None, 1),
        ("2026-03-02 10:10:00.000000", "2026-03-02 10:11:00.000000", None, 1),
        ("2026-03-02 10:10:00.000000", "2026-03-02 10:11:00.000000", "2026-03-02 10:11:00.000000", 1),
        ("2026-03-02 10:10:00.000000", "2026-03-02 10:11:00.000000", "2026-03-02 09:50:00.000000", 0),
        ("2026-03-02 10:10:00.000000", "2026-03-02 10:10:00.000000", None, 0),
        ("2026-03-02 10:31:00.000000", "2026-03-02 10:32:00.000000", None, 0),
    ],
)
def test_what_is_new_and_sent_between_a_trip_and_the_reset_is_found(
    sent_at: str, accepted_at: str | None, paid_at: str | None, found: int
) -> None:
    server = sqlite3.connect(":memory:")
    server.row_factory = sqlite3.Row
    server.executescript(BOOKS)
    server.execute("INSERT INTO command VALUES ('c1', 1, 'fixer', ?, ?)", (sent_at, accepted_at))
    server.execute("INSERT INTO step VALUES (1, 1, 'done', ?)", (paid_at,))
    assert [invariant for invariant, _ in _sent_behind_a_breaker(server)] == ["I9"] * found
    server.close()
