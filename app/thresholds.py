"""When a circuit breaker (熔断) trips: the thresholds of a plan, and of a group over all its plans.

They stand here because a group's settings and a plan's are in rooms of their own and mean the same.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.errors import ConflictError, InvalidError

NOT_READ: Final = -1
"""What stands for a number or an amount that was typed and is none: out of every range."""
MOST: Final = 1000
"""The most attempts a breaker looks back on, and the highest count it waits for."""
LARGEST_MINOR: Final = 10**17
"""The largest amount that can be typed."""


class ThresholdColumns:
    """The columns of thresholds. None: the default of plans or groups; 0 failures or returns: never trips."""

    breaker_failures: Mapped[int | None]
    breaker_attempts: Mapped[int | None]
    breaker_returns: Mapped[int | None]
    breaker_hour_minor: Mapped[int | None] = mapped_column(BigInteger())


class ThresholdValues(Protocol):
    """What has thresholds: a plan, a group, or what was typed for one."""

    @property
    def breaker_failures(self) -> int | None: ...
    @property
    def breaker_attempts(self) -> int | None: ...
    @property
    def breaker_returns(self) -> int | None: ...
    @property
    def breaker_hour_minor(self) -> int | None: ...


THRESHOLDS: Final = ("breaker_failures", "breaker_attempts", "breaker_returns", "breaker_hour_minor")


@dataclass(frozen=True)
class Thresholds:
    """A breaker trips at ``failures`` of the last ``attempts`` within an hour, at ``returns`` repaired trades
    reported broken again within a day, or where an hour's repairs would pass ``hour_minor`` of a currency.

    0 failures or returns, and None for the amount: not for that.
    """

    failures: int
    attempts: int
    returns: int
    hour_minor: int | None


PLAN_DEFAULTS: Final = Thresholds(failures=10, attempts=20, returns=3, hour_minor=None)
GROUP_DEFAULTS: Final = Thresholds(failures=30, attempts=60, returns=10, hour_minor=None)


@dataclass(frozen=True)
class TypedThresholds:
    """The thresholds of a form; None: left empty."""

    breaker_failures: int | None = None
    breaker_attempts: int | None = None
    breaker_returns: int | None = None
    breaker_hour_minor: int | None = None


def thresholds_of(values: ThresholdValues, defaults: Thresholds) -> Thresholds:
    """Return the thresholds in force. No window of attempts is narrower than its failures."""
    failures = defaults.failures if values.breaker_failures is None else values.breaker_failures
    attempts = defaults.attempts if values.breaker_attempts is None else values.breaker_attempts
    return Thresholds(
        failures=failures,
        attempts=max(failures, attempts),
        returns=defaults.returns if values.breaker_returns is None else values.breaker_returns,
        hour_minor=values.breaker_hour_minor,
    )


def threshold_errors(values: ThresholdValues, defaults: Thresholds) -> list[InvalidError | ConflictError]:
    """Return what is wrong with thresholds that were typed."""
    errors: list[InvalidError | ConflictError] = [
        *count_errors(values.breaker_failures, "breaker_failures", low=0, high=MOST),
        *count_errors(values.breaker_returns, "breaker_returns", low=0, high=MOST),
        *amount_errors(values.breaker_hour_minor, "breaker_hour_minor"),
    ]
    failures = defaults.failures if values.breaker_failures is None else values.breaker_failures
    low = min(max(failures, 1), MOST)
    return errors + count_errors(values.breaker_attempts, "breaker_attempts", low=low, high=MOST)


def is_tightened(old: int | None, new: int | None) -> bool:
    """Return whether a bound leaves less room than before; None: there is none."""
    return new is not None and (old is None or new < old)


def count_errors(value: int | None, field: str, *, low: int, high: int) -> list[InvalidError | ConflictError]:
    """A count may be left empty, else it is from ``low`` to ``high``."""
    if value is None or low <= value <= high:
        return []
    return [InvalidError("range", field=field, low=low, high=high)]


def amount_errors(value: int | None, field: str) -> list[InvalidError | ConflictError]:
    """An amount may be left empty, else it is more than nothing."""
    return [] if value is None or 0 < value < LARGEST_MINOR else [InvalidError("limit_amount", field=field)]
