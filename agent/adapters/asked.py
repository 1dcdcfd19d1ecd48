"""Statements built once: what is asked each time is named here and given at the call.

To build a statement anew for each call costs more than to have SQLite carry it out. The types are those that
SQLAlchemy gives the values themselves, so that a database is sent the same either way.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Row,
    Select,
    String,
    bindparam,
    or_,
)
from sqlalchemy.types import NullType, TypeEngine

_PREFIX: Final = "asked_"
"""A name of its own beside the columns'."""
_SPELT_OUT: Final = 4
"""Up to so many texts have a statement of their own."""
_LONG_BITS: Final = 32
"""Whole numbers of so many bits are of another type on the wire."""


def text_asked(name: str) -> BindParameter[str]:
    """A text given at the call."""
    return bindparam(_PREFIX + name, type_=String())


def number_asked(name: str) -> BindParameter[int]:
    """A small whole number given at the call."""
    return bindparam(_PREFIX + name, type_=Integer())


def moment_asked(name: str) -> BindParameter[datetime]:
    """A naive UTC time given at the call, or None."""
    return bindparam(_PREFIX + name, type_=DateTime())


def plain_asked(name: str) -> BindParameter[Any]:
    """A value given at the call that the driver may take as it is: an integer of any size, a text, None."""
    return bindparam(_PREFIX + name, type_=NullType())


def texts_asked(name: str) -> BindParameter[Sequence[str]]:
    """Texts for an IN, given at the call."""
    kind: TypeEngine[Any] = String()
    return bindparam(_PREFIX + name, type_=kind, expanding=True)


def alike_asked(name: str, value: object) -> BindParameter[Any]:
    """A value given at the call that is of the type of this one (``type_asked``)."""
    return bindparam(_PREFIX + name, value)


def type_asked(value: object) -> object:
    """What two values share that a database is sent alike."""
    match value:
        case int():
            return type(value), value.bit_length() >= _LONG_BITS
        case datetime():
            return type(value), value.tzinfo is None
        case str():
            return type(value), is_padded(value)
        case _:
            return type(value)


def is_padded(value: object) -> bool:
    """Whether a stored text ends in blanks, as every one of a CHAR column does on PostgreSQL."""
    return isinstance(value, str) and value.endswith(" ")


def given(**values: object) -> dict[str, object]:
    """The values of a call, by the names above."""
    return {_PREFIX + name: value for name, value in values.items()}


class AmongTexts:
    """A statement about the rows whose ``cell`` is one of some texts.

    One for a few texts is built with as many places: an IN is written out anew at each call.
    """

    def __init__(
        self, cell: ColumnElement[Any], statement: Callable[[ColumnElement[bool]], Select[*tuple[Any, ...]]]
    ) -> None:
        self._cell = cell
        self._many = statement(cell.in_(texts_asked("texts")))
        self._few = [statement(self._one_of(count)) for count in range(1, _SPELT_OUT + 1)]

    def _one_of(self, count: int) -> ColumnElement[bool]:
        return or_(*(self._cell == text_asked(f"text_{place}") for place in range(count)))

    def rows(
        self, connection: Connection, texts: Sequence[str], **values: object
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows for these texts; ``values``: what else the statement asks for."""
        if not 0 < len(texts) <= _SPELT_OUT:
            return connection.execute(self._many, given(texts=texts, **values)).all()
        asked = {f"text_{place}": one for place, one in enumerate(texts)}
        return connection.execute(self._few[len(texts) - 1], given(**asked, **values)).all()
