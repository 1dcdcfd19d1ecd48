"""Times that PostgreSQL stores and Python has none for: infinity, before Christ, after the year 9999."""

from typing import Any, Final

_TIMES: Final = ("timestamp", "timestamptz", "date")
_TEXT: Final = 0
"""The format in which an answer comes unless binary is asked for."""


def let_pass_unreadable_times(connection: Any) -> None:
    """Have a connection of psycopg return such a time as its text: one bad value, not the end of a fetch.

    Its own loaders raise, and the whole statement is lost with every other row.
    """
    adapters = connection.adapters
    for name in _TIMES:
        oid = adapters.types[name].oid
        adapters.register_loader(oid, _tolerant(adapters.get_loader(oid, _TEXT), connection.DataError))


def _tolerant(strict: Any, unreadable: type[Exception]) -> type:
    """A loader as psycopg wants it that asks its own one first."""

    class Tolerant:
        format = strict.format

        def __init__(self, oid: int, context: object = None) -> None:
            self._load = strict(oid, context).load

        def load(self, data: Any) -> object:
            try:
                return self._load(data)
            except unreadable:
                return bytes(data).decode("utf-8", "replace")

    return Tolerant
