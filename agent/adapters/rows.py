"""Reading values as they are stored, tolerantly: what makes no sense becomes None and stays beside it raw."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from agent.adapters.names import Code, TradeCodes
from agent.facts import ROW_COLUMNS, Bookkeeping, Kind, Row, Status
from agent.money import has_decimals, parse_minor
from agent.records import Trade

UNDATED: Final = datetime.min.replace(tzinfo=UTC)
"""Stands for a time that could not be read, where a time is required: before every bank day."""

MOST_ASKED: Final = 500
"""Numbers that one statement asks for."""

MOST_DIGITS: Final = 1_000
"""A whole number of more stands in evidence as a text: Python writes none of some thousands."""

Plain = int | str | None
T = TypeVar("T")


def moment(value: object) -> datetime | None:
    """A stored time (naive UTC, or text of one) as aware UTC; None where it is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # in UTC it is no longer of a year that Python has
        return None


def naive(at: datetime) -> datetime:
    """An aware time as the databases store it: naive UTC."""
    return at.astimezone(UTC).replace(tzinfo=None)


def plain(value: object) -> Plain:
    """A stored value as it can stand in evidence: an integer, a text or None, whatever the driver gave."""
    if value is None or type(value) is str or type(value) is int:
        return value  # nearly all of them
    match value:
        case str():
            return value
        case int():
            return int(value)
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            return int(value) if value.adjusted() < MOST_DIGITS else format(value, "f")
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case datetime():
            return value.isoformat(sep=" ")
        case _:
            return str(value)


def plain_amount(value: object) -> Plain:
    """A stored amount as it can stand in evidence; with a scale it stays a text, for it is in no fen.

    Whole yuan in a DECIMAL(18,2) are whole numbers too: only the scale tells them from fen.
    """
    if isinstance(value, Decimal) and has_decimals(shown := format(value, "f")):
        return shown
    return plain(value)


def whole(value: object) -> int | None:
    """A stored whole number, of whatever type of column; None where it is none, as a text of digits.

    A database does not find a row of text by a number.
    """
    found = plain(value)
    return found if isinstance(found, int) else None


def text(value: object) -> str:
    """A stored text, empty where there is none."""
    found = plain(value)
    return "" if found is None else str(found)


def number(value: object) -> str:
    """A stored number, account or code, without the blanks that a CHAR column pads it with.

    A bank asked for the padded number would not find it, and would pay it a second time; a posting found
    again under a padded one would read as another.
    """
    return text(value).rstrip(" ")


def unpadded(row: Row) -> Row:
    """A row without the padding of CHAR columns: any of its texts may be one, the statuses too.

    It is compared with the ledger's numbers and with what a repair wrote: one that did not read its own
    row back as written would be given up with the money moved.
    """
    return {name: cell.rstrip(" ") if isinstance(cell, str) else cell for name, cell in row.items()}


def _coded(value: object, codes: dict[Code, Any]) -> Any:
    found = plain(value)
    return None if found is None else codes.get(found.rstrip(" ") if isinstance(found, str) else found)


class TradeReader:
    """Turns a stored row (the columns of TradeColumns in their order, then the clock) into a Trade."""

    def __init__(self, codes: TradeCodes) -> None:
        self._kinds: dict[Code, Any] = {codes.recharge: Kind.RECHARGE, codes.withdraw: Kind.WITHDRAW}
        self._statuses: dict[Code, Any] = {
            codes.processing: Status.PROCESSING,
            codes.success: Status.SUCCESS,
            codes.failed: Status.FAILED,
        }
        self._booked: dict[Code, Any] = {codes.not_booked: False, codes.booked: True}
        self._modes: dict[Code, Any] = {
            codes.single_step: Bookkeeping.SINGLE_STEP,
            codes.two_step: Bookkeeping.TWO_STEP,
        }

    def __call__(self, stored: Sequence[Any]) -> Trade:
        """The trade. A leg without a status counts as not booked; a recharge has no second leg."""
        (trade_id, trade_no, status, _, acc, _, e_acc, _, kind, amount, currency) = stored[:11]
        (account_no, bank_account_no, channel, mode, created_at, changed_at, version, read_at) = stored[11:19]
        values = [plain(value) for value in stored[:18]]
        raw_amount = values[9] = plain_amount(amount)
        found_kind: Kind | None = _coded(kind, self._kinds)
        is_withdrawal = found_kind is Kind.WITHDRAW
        return Trade(
            trade_id=whole(trade_id) or 0,
            trade_no=number(trade_no),
            row=unpadded(dict(zip(ROW_COLUMNS, values, strict=False))),
            row_hash=_digest(values),
            terms=_digest([*values[8:13], values[14]]),  # kind, amount, currency, accounts, posting mode
            version=whole(version) or 0,
            kind=found_kind,
            bookkeeping=_coded(mode, self._modes) if is_withdrawal else None,
            status=_coded(status, self._statuses),
            is_acc=False if acc is None else _coded(acc, self._booked),
            is_e_acc=_coded(e_acc, self._booked) if e_acc is not None else (False if is_withdrawal else None),
            amount_minor=parse_minor(raw_amount),
            currency=number(currency),
            account_no=number(account_no),
            bank_account_no=number(bank_account_no),
            channel=None if channel is None else number(channel),
            created_at=moment(created_at),
            changed_at=moment(changed_at),
            read_at=moment(read_at) or UNDATED,
            raw_status=plain(status),
            raw_amount=raw_amount,
            raw_kind=plain(kind),
            raw_bookkeeping=plain(mode),
            raw_version=plain(version),
        )


def _digest(values: Sequence[Plain]) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def in_batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The values in slices of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
