"""The bank's books: a write that fails leaves them as they were, and open for the next."""

import sqlite3

import pytest

from sandbox.bank.books import Submission, Verdict
from sandbox.bank.records import SUCCESS
from sandbox.world import World


def payout(request_no: str) -> Submission:
    return Submission(request_no, "payout", 500, "CNY", "6222021234567890123")


def test_a_write_the_disk_refuses_does_not_stop_the_next(world: World) -> None:
    world.books.submit(payout("WD1-0"), Verdict(SUCCESS))
    refuse = "BEFORE UPDATE ON bank_record BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    world.books._connection.execute(f"CREATE TRIGGER refuse {refuse}")
    with pytest.raises(sqlite3.DatabaseError, match="disk full"):
        world.books.mark_announced(["WD1-0"])
    world.books._connection.execute("DROP TRIGGER refuse")
    world.books.mark_announced(["WD1-0"])
    assert world.books.unannounced(10) == []
