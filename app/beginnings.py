"""Finding texts by their beginning, on every database and in every order of letters, by an index."""

from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, literal
from sqlalchemy.orm import InstrumentedAttribute

LAST_LETTERS: Final = ("\uffff", "z" * 64)
"""Beyond whatever follows a beginning: by bytes and in Unicode's order, or in one that passes over U+FFFF."""


def begins_with(
    column: InstrumentedAttribute[Any] | ColumnElement[Any], beginning: str
) -> ColumnElement[bool]:
    """Return the condition that the text of ``column`` begins so, letter case included.

    The range serves a plain index where LIKE would not; what else an order of letters puts between its ends
    is left out by the text itself.
    """
    ends = [literal(beginning + letters) for letters in LAST_LETTERS]
    end = case((ends[0] > ends[1], ends[0]), else_=ends[1])
    return and_(column >= beginning, column < end, func.substr(column, 1, len(beginning)) == beginning)
