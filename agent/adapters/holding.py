"""Locking a repair's row for the start that holds it, inside a transaction that the caller has begun."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, TableClause, Update, select, update

from agent.adapters.asked import given, number_asked, text_asked
from agent.adapters.rows import moment
from agent.errors import FencedError, PortError
from agent.records import RepairRow

OPEN = "open"


class Holding:
    """Locks a repair by an UPDATE that compares the fence.

    ``now`` is the database's clock in SQL; ``is_told``: whether an UPDATE can return it from behind its lock.
    """

    def __init__(self, repair: TableClause, now: ColumnElement[datetime], *, is_told: bool) -> None:
        cells = repair.c
        owned = update(repair).where(
            cells.trade_no == text_asked("trade_no"),
            cells.round == number_asked("round"),
            cells.fence == number_asked("fence"),
            cells.boot_id == text_asked("boot_id"),
        )
        held = owned.values(changed_at=now)
        ended = held.values(state=text_asked("ended"))
        is_open = cells.state == OPEN
        self._is_told = is_told
        self._hold = held.where(is_open)
        self._hold_at = self._telling(self._hold, now)
        self._end = {False: self._telling(ended, now), True: self._telling(ended.where(is_open), now)}
        self._select_now = select(now)

    def _telling(self, held: Update, now: ColumnElement[datetime]) -> Update:
        return held.returning(now) if self._is_told else held

    def hold(self, connection: Connection, claim: RepairRow) -> None:
        """Lock the open repair. Raises FencedError when it is another attempt's by now."""
        self._lock(connection, self._hold, claim)

    def hold_at(self, connection: Connection, claim: RepairRow) -> datetime:
        """Lock the open repair and return production's clock, read behind the lock. Raises FencedError."""
        return self._lock_at(connection, self._hold_at, claim)

    def end(self, connection: Connection, claim: RepairRow, state: str, *, is_open: bool) -> datetime:
        """Lock the repair, set its state and return production's clock, read behind the lock.

        ``is_open``: it must be open still. Raises FencedError.
        """
        return self._lock_at(connection, self._end[is_open], claim, ended=state)

    def now(self, connection: Connection) -> datetime:
        """Production's clock, asked once what the transaction waits for is locked."""
        return _read(connection.execute(self._select_now).scalar())

    def _lock_at(self, connection: Connection, held: Update, claim: RepairRow, **values: object) -> datetime:
        if not self._is_told:
            self._lock(connection, held, claim, **values)
            return self.now(connection)
        told = connection.execute(held, _owner(claim, values)).first()
        if told is None:
            raise _fenced(claim)
        return _read(told[0])

    @staticmethod
    def _lock(connection: Connection, held: Update, claim: RepairRow, **values: object) -> None:
        if connection.execute(held, _owner(claim, values)).rowcount != 1:
            raise _fenced(claim)


def _owner(claim: RepairRow, values: dict[str, Any]) -> dict[str, object]:
    whose = {
        "trade_no": claim.trade_no,
        "round": claim.round,
        "fence": claim.fence,
        "boot_id": claim.boot_id,
    }
    return given(**whose, **values)


def _fenced(claim: RepairRow) -> FencedError:
    return FencedError(f"the repair of {claim.trade_no} belongs to a newer attempt")


def _read(stored: object) -> datetime:
    at = moment(stored)
    if at is None:
        raise PortError("the database's clock cannot be read")
    return at
