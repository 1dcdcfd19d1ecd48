"""Row patterns and nonsense as SQL, so that a collection reads only what it has to look at."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, DateTime, and_, collate, func, literal, or_
from sqlalchemy.sql.elements import ColumnClause

from agent.adapters.names import TradeCodes, TradeNames
from agent.adapters.rows import naive
from agent.adapters.tables import TradeTables
from agent.facts import Kind, Status
from agent.money import MAX_MINOR
from agent.records import CLOCKS_APART, EPOCH, Pattern, Trade

Clause = ColumnElement[bool]


class Narrow:
    """Which rows a collection looks at, in SQL (``clause``) and, exactly, in Python (``wants``)."""

    def __init__(self, names: TradeNames, tables: TradeTables, dialect: str) -> None:
        self._codes = names.codes
        self._dialect = dialect
        self._is_sqlite = dialect == "sqlite"
        self._number = number_pattern(names.codes)
        columns, cells = names.columns, tables.trade.c
        self._trade_no = cells[columns.trade_no]
        self._status = cells[columns.status]
        self._acc, self._e_acc = cells[columns.acc_status], cells[columns.e_acc_status]
        self._kind, self._amount = cells[columns.kind], cells[columns.amount]
        self._mode = cells[columns.bookkeeping]
        self._accounts = cells[columns.account_no], cells[columns.bank_account_no]
        self._created_at, self._changed_at = cells[columns.created_at], cells[columns.changed_at]

    def clause(self, patterns: Sequence[Pattern]) -> Clause:
        """Rows that match any of the patterns, and rows that make no sense."""
        return or_(*(self._matches(pattern) for pattern in patterns), *self._nonsense())

    def undated(self, now: datetime) -> tuple[Clause, ...]:
        """Rows whose time of change is missing, unreadable or not of this age: three ranges of its index.

        SQLite, which stores any value, sorts what is no time before the first or behind the last of them.
        """
        first, last = (literal(naive(at), DateTime()) for at in (EPOCH, now + CLOCKS_APART))
        return self._changed_at.is_(None), self._changed_at < first, self._changed_at > last

    def wants(self, trade: Trade, patterns: Sequence[Pattern]) -> bool:
        """Whether a row read matches a pattern or makes no sense; SQL may let through a few more."""
        return self._is_nonsense(trade) or any(pattern.fits(trade) for pattern in patterns)

    def _matches(self, pattern: Pattern) -> Clause:
        parts = [
            self._kind == _kind_code(self._codes, pattern.kind),
            self._status == status_code(self._codes, pattern.status),
        ]
        for cell, is_booked in ((self._acc, pattern.is_acc), (self._e_acc, pattern.is_e_acc)):
            if is_booked is not None:
                parts.append(self._booked(cell, is_booked))
        return and_(*parts)

    def _booked(self, cell: ColumnClause[object], is_booked: bool) -> Clause:
        if is_booked:
            return cell == self._codes.booked
        return or_(cell == self._codes.not_booked, cell.is_(None))

    def _nonsense(self) -> list[Clause]:
        codes = self._codes
        booked = (codes.not_booked, codes.booked)
        return [
            or_(self._kind.is_(None), self._kind.not_in((codes.recharge, codes.withdraw))),
            or_(self._status.is_(None), self._status.not_in((codes.processing, codes.success, codes.failed))),
            self._acc.not_in(booked),
            self._e_acc.not_in(booked),
            and_(
                self._kind == codes.withdraw,
                or_(self._mode.is_(None), self._mode.not_in((codes.single_step, codes.two_step))),
            ),
            self._bad_amount(),
            self._bad_number(),
            *(or_(cell.is_(None), cell == "") for cell in self._accounts),
            self._created_at.is_(None),
        ]

    def _bad_number(self) -> Clause:
        codes, cell = self._codes, self._trade_no
        if self._dialect == "postgresql":
            # Without a CHAR column's blanks, as it is read: with them every number would be malformed.
            # Under a locale's collation its regular expressions are several times slower.
            unpadded = collate(func.rtrim(cell), "C")
            return or_(cell.is_(None), ~unpadded.regexp_match(f"^{number_pattern(codes).pattern}$"))
        if not self._is_sqlite:
            return or_(cell.is_(None), ~cell.regexp_match(f"^{number_pattern(codes).pattern}$"))
        # GLOB, not REGEXP: that one is a Python function, slow and ended by the first value that is no text.
        return or_(
            func.typeof(cell) != "text",
            ~func.length(cell).between(codes.number_shortest, codes.number_longest),
            ~cell.op("GLOB", is_comparison=True)(f"[{codes.number_first}]*"),
            cell.op("GLOB", is_comparison=True)(f"*[^{codes.number_rest}]*"),
        )

    def _bad_amount(self) -> Clause:
        out_of_range = or_(self._amount <= 0, self._amount > MAX_MINOR)
        if self._is_sqlite:
            return or_(func.typeof(self._amount) != "integer", out_of_range)
        return or_(self._amount.is_(None), out_of_range)

    def _is_nonsense(self, trade: Trade) -> bool:
        is_unknown = None in (trade.kind, trade.status, trade.amount_minor, trade.is_acc, trade.created_at)
        is_unknown = is_unknown or not (trade.account_no and trade.bank_account_no)
        is_unbooked_withdrawal = trade.kind is Kind.WITHDRAW and None in (trade.bookkeeping, trade.is_e_acc)
        return is_unknown or is_unbooked_withdrawal or self._number.fullmatch(trade.trade_no) is None


def number_pattern(codes: TradeCodes) -> re.Pattern[str]:
    """What a well-formed trade number matches in full."""
    further = f"{{{codes.number_shortest - 1},{codes.number_longest - 1}}}"
    return re.compile(f"[{codes.number_first}][{codes.number_rest}]{further}")


def _kind_code(codes: TradeCodes, kind: Kind) -> int | str:
    return codes.recharge if kind is Kind.RECHARGE else codes.withdraw


def status_code(codes: TradeCodes, status: Status) -> int | str:
    """What production stores for a status."""
    return {Status.PROCESSING: codes.processing, Status.SUCCESS: codes.success, Status.FAILED: codes.failed}[
        status
    ]
