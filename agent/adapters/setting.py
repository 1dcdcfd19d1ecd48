"""Writing a trade row by compare-and-set over everything that was read of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Update, func, update

from agent.adapters.asked import alike_asked, given, is_padded, text_asked, type_asked
from agent.adapters.names import TradeNames
from agent.adapters.narrow import status_code
from agent.adapters.tables import TradeTables
from agent.errors import RowChangedError
from agent.facts import Leg
from agent.records import Correction

KEPT: Final = 256
"""So many statements are kept; rows of a group differ in a few ways only."""


class RowSetter:
    """Corrects trade rows. Statements are built once for rows whose values are of the same types."""

    def __init__(self, names: TradeNames, tables: TradeTables, now: ColumnElement[datetime]) -> None:
        self._names = names
        self._table = tables.trade
        self._now = now
        self._kept: dict[object, Update] = {}

    def compare_and_set(
        self, connection: Connection, before: Mapping[str, object], correction: Correction
    ) -> None:
        """Write the correction where every column is still as in ``before``. Raises RowChangedError."""
        what = (correction.acc_voucher is None, correction.e_acc_voucher is None, correction.cleared)
        key = (correction.status, what, tuple(map(type_asked, before.values())))
        statement = self._kept.get(key)
        if statement is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            statement = self._kept[key] = self._built(before, correction)
        as_read = {f"read_{i}": value for i, value in enumerate(before.values()) if value is not None}
        asked = given(
            message=correction.message,
            acc=correction.acc_voucher,
            e_acc=correction.e_acc_voucher,
            **as_read,
        )
        if connection.execute(statement, asked).rowcount != 1:
            trade_no = before[self._names.columns.trade_no]
            raise RowChangedError(f"the row of {trade_no} is no longer what was read")

    def _built(self, before: Mapping[str, object], correction: Correction) -> Update:
        cells, columns, codes = self._table.c, self._names.columns, self._names.codes
        values: dict[str, Any] = {
            columns.status: status_code(codes, correction.status),
            columns.message: text_asked("message"),
            columns.changed_at: self._now,
            columns.version: cells[columns.version] + 1,
        }
        if correction.acc_voucher is not None:
            values |= {columns.acc_voucher: text_asked("acc"), columns.acc_status: codes.booked}
        if correction.e_acc_voucher is not None:
            values |= {columns.e_acc_voucher: text_asked("e_acc"), columns.e_acc_status: codes.booked}
        if Leg.FIRST in correction.cleared:
            values |= {columns.acc_voucher: None, columns.acc_status: codes.not_booked}
        if Leg.SECOND in correction.cleared:
            values |= {columns.e_acc_voucher: None, columns.e_acc_status: codes.not_booked}
        # Null-safe over everything read: a lock that a database does not keep must not cost a row either.
        as_read = [
            _is_still(cells[name], f"read_{i}", value) for i, (name, value) in enumerate(before.items())
        ]
        return update(self._table).where(*as_read).values(values)


def _is_still(cell: ColumnElement[Any], name: str, value: object) -> ColumnElement[bool]:
    """Whether the cell is as it was read, where it may be of CHAR: it then never equals its padded text."""
    if value is None:
        return cell.is_(None)
    asked = alike_asked(name, value)
    if is_padded(value):
        return func.rtrim(cell).is_not_distinct_from(func.rtrim(asked))
    return cell.is_not_distinct_from(asked)
