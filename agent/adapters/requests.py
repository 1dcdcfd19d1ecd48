"""Production's own table of bank requests, inside a transaction that the caller holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from agent.adapters.asked import given, texts_asked
from agent.adapters.names import TradeNames
from agent.adapters.rows import UNDATED, moment, number, plain, text
from agent.adapters.tables import TradeTables
from agent.errors import PortError
from agent.money import parse_minor
from agent.ports import BankRequest


class Requests:
    """Reads and writes request lines. ``now`` is the database's clock in SQL."""

    def __init__(self, tables: TradeTables, names: TradeNames, now: ColumnElement[datetime]) -> None:
        self._table = tables.request
        self._columns = names.request_columns
        self._paid = names.request_paid
        self._now = now
        request, named = self._table.c, self._columns
        self._select = (
            select(self._table)
            .where(request[named.trade_no].in_(texts_asked("trade_nos")))
            .order_by(request[named.trade_no], request[named.seq])
        )

    def of_trades(self, connection: Connection, trade_nos: Sequence[str]) -> list[BankRequest]:
        """Every request of some trades, by trade and seq."""
        rows = connection.execute(self._select, given(trade_nos=trade_nos)).all()
        return [_request_of(row, self._paid) for row in rows]

    def open(self, connection: Connection, request: BankRequest) -> bool:
        """Write a request's line, made now, where none stands; return whether it did.

        Raises PortError where the number is another trade's.
        """
        table, columns = self._table, self._columns
        standing = connection.execute(
            select(table.c[columns.trade_no]).where(table.c[columns.request_no] == request.request_no)
        ).first()
        if standing is not None:
            if number(standing[0]) != request.trade_no:
                raise PortError(f"bank request {request.request_no} belongs to another trade")
            return False
        connection.execute(
            insert(table).values(
                {
                    columns.request_no: request.request_no,
                    columns.trade_no: request.trade_no,
                    columns.seq: request.seq,
                    columns.kind: request.kind,
                    columns.status: request.status,
                    columns.amount: request.amount_minor,
                    columns.created_at: self._now,
                    columns.changed_at: self._now,
                }
            )
        )
        return True

    def note(self, connection: Connection, trade_no: str, request_no: str, status: str) -> None:
        """Keep beside a request of the trade what the bank last said."""
        table, columns = self._table, self._columns
        noted = update(table).where(
            table.c[columns.request_no] == request_no, table.c[columns.trade_no] == trade_no
        )
        connection.execute(noted.values({columns.status: status, columns.changed_at: self._now}))


def _request_of(row: Row[*tuple[Any, ...]], paid: Sequence[str]) -> BankRequest:
    """A line in the order of RequestColumns."""
    request_no, trade_no, seq, kind, status, amount, created_at = row[:7]
    return BankRequest(
        request_no=number(request_no),
        trade_no=number(trade_no),
        seq=seq if isinstance(seq, int) else 0,
        kind=text(kind),
        status=text(status),
        amount_minor=parse_minor(plain(amount)),
        created_at=moment(created_at) or UNDATED,
        is_said_paid=text(status).strip() in paid,
    )
