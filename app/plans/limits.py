"""What a plan repairs by itself at most: beyond a limit, a person clicks (app.guards.verdicts)."""

from typing import Final, Protocol

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.errors import ConflictError, InvalidError
from app.thresholds import amount_errors, count_errors

MOST_REPAIRS: Final = 1_000_000
LIMITS: Final = (
    "limit_trade_minor",
    "limit_hour_minor",
    "limit_hour_count",
    "limit_day_minor",
    "limit_day_count",
)
PAIRS: Final = (
    ("limit_trade_minor", "limit_hour_minor"),
    ("limit_trade_minor", "limit_day_minor"),
    ("limit_hour_minor", "limit_day_minor"),
    ("limit_hour_count", "limit_day_count"),
)
"""Limits of which the second, where it is lower, leaves the first without effect."""


class LimitColumns:
    """Limits of a plan; None: no limit. Amounts in minor units, for each currency by itself."""

    limit_trade_minor: Mapped[int | None] = mapped_column(BigInteger())
    limit_hour_minor: Mapped[int | None] = mapped_column(BigInteger())
    limit_hour_count: Mapped[int | None]
    limit_day_minor: Mapped[int | None] = mapped_column(BigInteger())
    limit_day_count: Mapped[int | None]


class LimitValues(Protocol):
    """What has limits: a plan, or what was typed for one."""

    @property
    def limit_trade_minor(self) -> int | None: ...
    @property
    def limit_hour_minor(self) -> int | None: ...
    @property
    def limit_hour_count(self) -> int | None: ...
    @property
    def limit_day_minor(self) -> int | None: ...
    @property
    def limit_day_count(self) -> int | None: ...


def limit_errors(values: LimitValues) -> list[InvalidError | ConflictError]:
    """Return what is wrong with limits that were typed."""
    return [
        *amount_errors(values.limit_trade_minor, "limit_trade_minor"),
        *amount_errors(values.limit_hour_minor, "limit_hour_minor"),
        *count_errors(values.limit_hour_count, "limit_hour_count", low=1, high=MOST_REPAIRS),
        *amount_errors(values.limit_day_minor, "limit_day_minor"),
        *count_errors(values.limit_day_count, "limit_day_count", low=1, high=MOST_REPAIRS),
    ]


def without_effect(values: LimitValues) -> list[tuple[str, str]]:
    """Return the limits that a lower one leaves without effect, each with that one."""
    asked = [(one, other, getattr(values, one), getattr(values, other)) for one, other in PAIRS]
    return [
        (one, other) for one, other, high, low in asked if high is not None and low is not None and high > low
    ]
