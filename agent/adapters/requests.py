"""Production's own table of bank requests, inside a transaction that the caller holds."""

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from agent.adapters.asked import AmongTexts, given, number_asked, plain_asked, text_asked
from agent.adapters.names import TradeNames
from agent.adapters.rows import UNDATED, moment, number, plain_amount, text, whole
from agent.adapters.tables import TradeTables
from agent.errors import NumberTakenError, PortError, RequestsChangedError
from agent.money import parse_minor
from agent.records import BankRequest
from agent.unpaid import PAYOUT_STEPS

FAILED: Final = "failed"
ANY: Final = ""
"""Stands for every number of a trade, where it cannot be read which one was asked for."""


class Asked(msgspec.Struct, frozen=True):
    """What a payout's step says of what the bank was asked (StepRow.result)."""

    request_no: str | None = None
    status: str = ""


class Requests:
    """Reads and writes request lines. ``now`` is the database's clock in SQL."""

    def __init__(self, tables: TradeTables, names: TradeNames, now: ColumnElement[datetime]) -> None:
        self._paid = names.request_paid
        request, named = tables.request.c, names.request_columns
        of_request = request[named.request_no] == text_asked("request_no")
        of_trade = request[named.trade_no] == text_asked("trade_no")
        self._select_standing = select(request[named.request_no], request[named.trade_no]).where(
            or_(of_request, of_trade)
        )
        self._of_trades = AmongTexts(
            request[named.trade_no],
            lambda is_mine: (
                select(tables.request).where(is_mine).order_by(request[named.trade_no], request[named.seq])
            ),
        )
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
        status = request[named.status]
        is_open = or_(status.is_(None), status.not_in(self._paid))
        self._note = update(tables.request).where(of_request, of_trade, is_open)
        self._note = self._note.values({named.status: text_asked("status"), named.changed_at: now})
        step = tables.step.c
        is_payout = or_(*(step.name == name for name in PAYOUT_STEPS))
        self._asked = AmongTexts(
            step.trade_no,
            lambda is_mine: select(step.trade_no, step.started_at, step.result).where(
                is_mine, is_payout, step.state != FAILED
            ),
        )
        self._results = select(step.result).where(step.trade_no == text_asked("trade_no"), is_payout)

    def of_trades(self, connection: Connection, trade_nos: Sequence[str]) -> list[BankRequest]:
        """Every request of some trades, by trade and seq."""
        requests = [_request_of(row, self._paid) for row in self._of_trades.rows(connection, trade_nos)]
        if not requests:
            return []
        asked = _asked_at(self._asked.rows(connection, trade_nos))
        return [_asked(request, asked) for request in requests]

    def written_down(self, connection: Connection, trade_no: str) -> Set[str]:
        """The numbers that payout steps of a trade name, whatever became of them.

        Raises PortError where one cannot be read.
        """
        results = connection.execute(self._results, given(trade_no=trade_no)).scalars()
        try:
            named = {msgspec.json.decode(text(each), type=Asked).request_no for each in results}
        except msgspec.MsgspecError as error:
            raise PortError(f"a payout of {trade_no} was written down under no readable number") from error
        return {each for each in named if each}

    def open(self, connection: Connection, request: BankRequest, seen: Set[str]) -> bool:
        """Write a request's line, made now, where none stands; return whether it did.

        ``seen``: the numbers of the trade that were looked at. Raises NumberTakenError where the number is
        another trade's, RequestsChangedError where the trade has others than those, or fewer.
        """
        if self._stands(connection, request, seen):
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

    def _stands(self, connection: Connection, request: BankRequest, seen: Set[str]) -> bool:
        asked = given(request_no=request.request_no, trade_no=request.trade_no)
        found = {number(row[0]): number(row[1]) for row in connection.execute(self._select_standing, asked)}
        whose = found.pop(request.request_no, None)
        if whose not in (None, request.trade_no):
            raise NumberTakenError
        others = {each for each, trade_no in found.items() if trade_no == request.trade_no}
        if others != seen - {request.request_no}:
            raise RequestsChangedError
        return whose is not None

    def require_as_seen(self, connection: Connection, trade_no: str, seen: Set[str]) -> None:
        """Raises RequestsChangedError unless the trade has exactly these numbers."""
        lines = self._of_trades.rows(connection, [trade_no])
        if {number(line[0]) for line in lines if number(line[1]) == trade_no} != seen:
            raise RequestsChangedError

    def note(self, connection: Connection, trade_no: str, request_no: str, status: str) -> None:
        """Keep beside a request of the trade what the bank last said; an arrival notice that production has
        stored since stays.
        """
        connection.execute(self._note, given(request_no=request_no, trade_no=trade_no, status=status))


def _asked_at(steps: Sequence[Row[*tuple[Any, ...]]]) -> dict[tuple[str, str], datetime]:
    """When the bank was last asked, by trade and request number; UNDATED where that cannot be read."""
    asked: dict[tuple[str, str], datetime] = {}
    for step in steps:
        trade_no, started_at, result = step[:3]
        try:
            said = msgspec.json.decode(text(result), type=Asked)
        except msgspec.MsgspecError:
            asked[number(trade_no), ANY] = UNDATED
            continue
        if said.status and said.request_no:
            place = (number(trade_no), said.request_no)
            at = moment(started_at) or UNDATED
            asked[place] = UNDATED if UNDATED in (at, asked.get(place)) else max(at, asked.get(place, at))
    return asked


def _asked(request: BankRequest, asked: Mapping[tuple[str, str], datetime]) -> BankRequest:
    """The request with when it was last asked for; where that cannot be read, it has no time at all."""
    numbers = (request.request_no, ANY)
    found = [asked[request.trade_no, each] for each in numbers if (request.trade_no, each) in asked]
    if not found:
        return request
    if UNDATED in found:
        return msgspec.structs.replace(request, created_at=UNDATED)
    return msgspec.structs.replace(request, asked_at=found[0])


def _request_of(row: Row[*tuple[Any, ...]], paid: Sequence[str]) -> BankRequest:
    """A line in the order of RequestColumns."""
    request_no, trade_no, seq, kind, status, amount, created_at, changed_at = row[:8]
    raw_amount = plain_amount(amount)
    amount_minor = parse_minor(raw_amount)
    return BankRequest(
        request_no=number(request_no),
        trade_no=number(trade_no),
        seq=whole(seq) or 0,
        kind=number(kind),
        status=number(status),
        amount_minor=amount_minor,
        created_at=moment(created_at) or UNDATED,
        is_said_paid=text(status).strip() in paid,
        changed_at=moment(changed_at),
        raw_amount=raw_amount if amount_minor is None else None,
    )
