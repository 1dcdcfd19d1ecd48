"""Limits and thresholds as a form has them: counts as numbers, amounts in yuan-like units, or empty."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import InvalidError
from app.forms import Form
from app.thresholds import NOT_READ, THRESHOLDS, TypedThresholds


def is_amount(name: str) -> bool:
    """Return whether a field holds an amount: it is typed in units of a hundred."""
    return name.endswith("_minor")


def typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a form shows them: amounts with their point, everything else as it is."""
    return {
        name: f"{value // 100}.{value % 100:02d}" if is_amount(name) and value is not None else value
        for name, value in values.items()
    }


def read_limits(form: Form, names: Iterable[str]) -> dict[str, int | None]:
    """Read fields that may be empty; what is no number or amount is NOT_READ, which the service refuses."""
    return {name: _read(form, name) for name in names}


def read_thresholds(form: Form) -> TypedThresholds:
    """Read the thresholds of a breaker."""
    return TypedThresholds(**read_limits(form, THRESHOLDS))


def _read(form: Form, name: str) -> int | None:
    try:
        return form.amount(name) if is_amount(name) else form.number(name)
    except InvalidError:
        return NOT_READ
