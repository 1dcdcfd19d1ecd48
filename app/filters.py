"""The filters of a list, as they stand in its URL: a wrong value is told at its field and does not narrow."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from app.errors import InvalidError
from app.forms import Form
from app.i18n import choose_zone
from app.words import choices

T = TypeVar("T")


def choice(form: Form, name: str, value: str, allowed: Iterable[str]) -> str:
    """Return ``value`` where it is one of ``allowed``, else '' and tell it at the field ``name``."""
    if value and value not in allowed:
        form.fail(InvalidError("choice", field=name, value=value))
        return ""
    return value


def word_of(form: Form, name: str, kind: str) -> str:
    """Return what a select of the words of ``kind`` (app.words) was set to, '' for all."""
    return choice(form, name, form.text(name), [value for value, _words in choices(kind)])


def read(form: Form, reader: Callable[[], T | None]) -> T | None:
    """Return what ``reader`` returns, None where it raises InvalidError, which is told at its field."""
    try:
        return reader()
    except InvalidError as error:
        form.fail(error)
        return None


def moment(form: Form, name: str) -> datetime | None:
    """Return a time of the reader's zone, None for none."""
    return read(form, lambda: form.moment(name, choose_zone()))
