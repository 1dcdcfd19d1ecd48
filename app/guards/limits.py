"""The pure part of limits: what a plan may still begin by itself, and what it must leave to a click."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from app.plans.limits import LIMITS, LimitValues

UNKNOWN: Final = "amount_unknown"


@dataclass(frozen=True)
class Asked:
    """A repair that would be begun. ``amount_minor`` None or below nothing, or no currency: unreadable."""

    id: int
    amount_minor: int | None
    currency: str

    @property
    def is_readable(self) -> bool:
        """Whether anybody can tell how much it moves."""
        return self.amount_minor is not None and self.amount_minor >= 0 and self.currency != ""


@dataclass
class Used:
    """What a plan has begun by itself: amounts by currency, counts, in the last hour and since midnight."""

    hour_minor: Counter[str] = field(default_factory=Counter)
    day_minor: Counter[str] = field(default_factory=Counter)
    hour_count: int = 0
    day_count: int = 0

    def add(self, asked: Asked) -> None:
        """Count one more; an amount that cannot be read counts as nothing."""
        if asked.is_readable:
            self.hour_minor[asked.currency] += asked.amount_minor or 0
            self.day_minor[asked.currency] += asked.amount_minor or 0
        self.hour_count += 1
        self.day_count += 1


Passed = tuple[str, dict[str, Any]]
"""The limit that would be passed, and its figures."""


def has_limit(limits: LimitValues) -> bool:
    """Return whether anything is limited at all."""
    return any(getattr(limits, name) is not None for name in LIMITS)


def has_amount_limit(limits: LimitValues) -> bool:
    """Return whether any amount is limited."""
    amounts = (limits.limit_trade_minor, limits.limit_hour_minor, limits.limit_day_minor)
    return any(amount is not None for amount in amounts)


def has_window(limits: LimitValues) -> bool:
    """Return whether what was begun before matters."""
    windows = ("limit_hour_minor", "limit_hour_count", "limit_day_minor", "limit_day_count")
    return any(getattr(limits, name) is not None for name in windows)


def judge(
    limits: LimitValues, used: Used, asked: Iterable[Asked], *, needs_amount: bool
) -> dict[int, Passed]:
    """Return which of the repairs would pass a limit, in order; those that would not are added to ``used``.

    ``needs_amount``: what cannot be read is kept back too.
    """
    found: dict[int, Passed] = {}
    for one in asked:
        passed = _first_passed(limits, used, one, needs_amount)
        if passed is None:
            used.add(one)
        else:
            found[one.id] = passed
    return found


def _first_passed(limits: LimitValues, used: Used, asked: Asked, needs_amount: bool) -> Passed | None:
    if needs_amount and not asked.is_readable:
        return UNKNOWN, {}
    amount, currency = asked.amount_minor or 0, asked.currency
    amounts = (
        ("limit_trade_minor", limits.limit_trade_minor, 0),
        ("limit_hour_minor", limits.limit_hour_minor, used.hour_minor[currency]),
        ("limit_day_minor", limits.limit_day_minor, used.day_minor[currency]),
    )
    for name, limit, before in amounts:
        if limit is not None and before + amount > limit:
            return name, {"limit": limit, "used": before, "amount": amount, "currency": currency}
    counts = (
        ("limit_hour_count", limits.limit_hour_count, used.hour_count),
        ("limit_day_count", limits.limit_day_count, used.day_count),
    )
    for name, limit, before in counts:
        if limit is not None and before + 1 > limit:
            return name, {"limit": limit, "used": before}
    return None
