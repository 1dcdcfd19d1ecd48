"""Production's own table of bank requests, inside a transaction that the caller holds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from agent.adapters.asked import given, number_asked, plain_asked, text_asked, texts_asked
from agent.adapters.names import TradeNames
from agent.adapters.rows import UNDATED, moment, number, plain, text
from agent.adapters.tables import TradeTables
from agent.errors import PortError
from agent.money import parse_minor
from agent.ports import BankRequest


class Requests:
    """Reads and writes request lines. ``now`` is the database's clock in SQL."""

    def __init__(self, tables: TradeTables, names: TradeNames, now: ColumnElement[datetime]) -> None:
        self._paid = names.request_paid
        request, named = tables.request.c, names.request_columns
        of_request = request[named.request_no] == text_asked("request_no")
        of_trade = request[named.trade_no] == text_asked("trade_no")
        self._select = (
            select(tables.request)
            .where(request[named.trade_no].in_(texts_asked("trade_nos")))
            .order_by(request[named.trade_no], request[named.seq])
        )
        self._select_whose = select(request[named.trade_no]).where(of_request)
        self._insert = insert(tables.request).values(
            {
                named.request_no: text_asked("request_no"),
                named.trade_no: text_asked("trade_no"),
                named.seq: number_asked("seq"),
                named.kind: text_asked("kind"),
                named.status: text_asked("status"),
                named.amount: plain_asked("amount"),
                named.created_at: now,
                named.changed_at: now,
            }
        )
        self._note = update(tables.request).where(of_request, of_trade)
        self._note = self._note.values({named.status: text_asked("status"), named.changed_at: now})

    def of_trades(self, connection: Connection, trade_nos: Sequence[str]) -> list[BankRequest]:
        """Every request of some trades, by trade and seq."""
        rows = connection.execute(self._select, given(trade_nos=trade_nos)).all()
        return [_request_of(row, self._paid) for row in rows]

    def open(self, connection: Connection, request: BankRequest) -> bool:
        """Write a request's line, made now, where none stands; return whether it did.

        Raises PortError where the number is another trade's.
        """
        standing = connection.execute(self._select_whose, given(request_no=request.request_no)).first()
        if standing is not None:
            if number(standing[0]) != request.trade_no:
                raise PortError(f"bank request {request.request_no} belongs to another trade")
            return False
        opened = given(
            request_no=request.request_no,
            trade_no=request.trade_no,
            seq=request.seq,
            kind=request.kind,
            status=request.status,
            amount=request.amount_minor,
        )
        connection.execute(self._insert, opened)
        return True

    def note(self, connection: Connection, trade_no: str, request_no: str, status: str) -> None:
        """Keep beside a request of the trade what the bank last said."""
        connection.execute(self._note, given(request_no=request_no, trade_no=trade_no, status=status))


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
