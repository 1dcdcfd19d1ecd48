"""A database that fails over before any write of a repair: told as unknown, gone on with, nothing doubled."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from agent.adapters.ledger_db import SqlLedger
from agent.adapters.trade_db import SqlTrades
from tests.contract.test_whole_system import Host
from tests.contract.test_whole_system import each_database as each_database
from tests.contract.test_whole_system import host as host
from tests.faults.commits import end_this
from tests.faults.test_commits import Patient, assert_repaired_once

WRITES = ("INSERT", "UPDATE")


class Failover:
    """The connection that comes to the write of this place, among all of a repair, is ended before it."""

    def __init__(self, place: int) -> None:
        self._left = place

    @property
    def has_come(self) -> bool:
        """Whether the repair has come to that write."""
        return self._left <= 0

    def before(self, connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        """A statement is about to be sent."""
        self._left -= statement.lstrip().startswith(WRITES)
        if self._left == 0:
            self._left = -1
            end_this(connection.engine, cursor)


@contextmanager
def failing_over(place: int, *engines: Engine) -> Iterator[Failover]:
    """Over all of these engines, in the order in which they are asked."""
    failover = Failover(place)
    with ExitStack() as stack:
        for engine in engines:
            event.listen(engine, "before_cursor_execute", failover.before)
            stack.callback(event.remove, engine, "before_cursor_execute", failover.before)
        yield failover


def repair_over(host: Host, place: int) -> bool:
    """Repair a new trade over a failover at this place; return whether it came to that."""
    trades, ledger = host.ports.trades, host.ports.ledger
    assert isinstance(trades, SqlTrades)
    assert isinstance(ledger, SqlLedger)
    patient = Patient(host, "S2", place)
    entries = len(host.world.entries(patient.case.trade_no))
    with failing_over(place, trades._engine, ledger._engine) as failover:
        first = patient.attempt()
    assert first.outcome == ("unknown" if failover.has_come else "repaired")
    assert patient.is_whole() or patient.attempt().outcome == "repaired"
    assert_repaired_once(patient, entries)
    return failover.has_come


@pytest.mark.parametrize("each_database", ["postgresql", "mariadb"], indirect=True)
def test_a_repair_whose_database_fails_over_before_any_of_its_writes_moves_money_once(host: Host) -> None:
    places = next(place for place in count(1) if not repair_over(host, place))
    assert places > 20
    assert not host.world.report().violations
