"""What a person typed, and what is wrong with it: kept together so that nothing typed is lost."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from werkzeug.datastructures import MultiDict

from app.errors import InvalidError, PiculusError
from app.messages import words

WHOLE = ""
"""The key of an error that belongs to the form as a whole."""


NUMBER_DIGITS = 18
"""A number of so many digits fits into every database's largest integer."""


AMOUNT: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,2})?")

UNSEEN: Final = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10, 13})
"""Control characters but for tab and line ends: they come along with what is pasted, and nobody sees them."""


class Form:
    """The values of a form, as text, and the errors by field name."""

    def __init__(self, values: MultiDict[str, str] | Mapping[str, object] | None = None) -> None:
        """``values``: ``request.form``, or what to begin with (a list gives several, True a ticked box)."""
        self.errors: dict[str, str] = {}
        self._values: MultiDict[str, str] = MultiDict()
        if isinstance(values, MultiDict):
            self._values = values
            return
        for name, value in (values or {}).items():
            items = value if isinstance(value, list | tuple) else [value]
            self._values.setlist(
                name, [_text(item) for item in items if item is not None and item is not False]
            )

    def text(self, name: str, default: str = "") -> str:
        """Return what was typed in a field, without the blanks around it and without control characters."""
        return self._values.get(name, default).translate(UNSEEN).strip()

    def raw(self, name: str) -> str:
        """Return what was typed, blanks included (passwords)."""
        return self._values.get(name, "")

    def many(self, name: str) -> list[str]:
        """Return every value of a field that may have several, without control characters."""
        return [value.translate(UNSEEN) for value in self._values.getlist(name)]

    def is_ticked(self, name: str) -> bool:
        """Return whether a check box was ticked."""
        return bool(self._values.get(name))

    def number(self, name: str) -> int | None:
        """Return the whole number typed, None for an empty field; ``#12`` is 12.

        Raises InvalidError('number_format') at the field, also for one that no database keeps.
        """
        text = self.text(name)
        return read_number(text.removeprefix("#"), name) if text else None

    def amount(self, name: str) -> int | None:
        """Return the amount typed, in hundredths of what is typed (yuan as fen); None for an empty field.

        Raises InvalidError('amount_format') at the field.
        """
        text = self.text(name).replace(",", "").removeprefix("¥")
        if not text:
            return None
        if not AMOUNT.fullmatch(text):
            raise InvalidError("amount_format", field=name)
        whole, _point, rest = text.partition(".")
        return int(whole) * 100 + int(rest.ljust(2, "0"))

    def moment(self, name: str, zone: str) -> datetime | None:
        """Return the time typed in a datetime-local field as aware UTC, None for an empty field.

        A time without an offset is of ``zone``. Raises InvalidError('time_format') at the field.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            typed = datetime.fromisoformat(text)
            aware = typed if typed.tzinfo else typed.replace(tzinfo=ZoneInfo(zone))
            return aware.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise InvalidError("time_format", field=name) from error

    def fail(self, error: PiculusError) -> None:
        """Put an error, or each of its ``errors``, at its field; the first error of a field stays."""
        for one in getattr(error, "errors", None) or [error]:
            self.errors.setdefault(one.field or WHOLE, words(one))


def read_number(text: str, field: str | None = None) -> int:
    """Return a whole number from 0 on. Raises InvalidError('number_format') for anything else."""
    if not is_number(text):
        raise InvalidError("number_format", field=field)
    return int(text)


def is_number(text: str) -> bool:
    """Return whether a text is a whole number from 0 on that every database keeps."""
    return text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS


def _text(value: object) -> str:
    return "on" if value is True else str(value)
