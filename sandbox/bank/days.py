"""Bank days: consecutive spans of equal length from the epoch, UTC; in the sandbox a minute each."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.clock import iso

_DAY_FORMATS = ((86_400, "%Y%m%d"), (60, "%Y%m%dT%H%M"), (1, "%Y%m%dT%H%M%S"))
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class BankDay:
    """[opens_at, closes_at), naive UTC. A request counts into the day in which the bank accepted it."""

    name: str
    opens_at: datetime
    closes_at: datetime

    def public(self, now: datetime) -> dict[str, object]:
        """The JSON of GET /days; the cut-off is the close, and the file is ready from then on."""
        closed = now >= self.closes_at
        return {
            "day": self.name,
            "opens_at": iso(self.opens_at),
            "closes_at": iso(self.closes_at),
            "cut_off_at": iso(self.closes_at),
            "is_closed": closed,
            "settlement_ready": closed,
        }


class BankCalendar:
    """Raises ValueError for a length that does not divide a day."""

    def __init__(self, day_seconds: int) -> None:
        if day_seconds < 1 or 86_400 % day_seconds:
            raise ValueError(f"a bank day of {day_seconds} s does not divide 24 hours")
        self.length = timedelta(seconds=day_seconds)
        # The coarsest name that still tells two days apart.
        self._format = next(text for unit, text in _DAY_FORMATS if day_seconds % unit == 0)

    def day_of(self, moment: datetime) -> BankDay:
        index = (moment - _EPOCH) // self.length
        opens_at = _EPOCH + index * self.length
        return BankDay(opens_at.strftime(self._format), opens_at, opens_at + self.length)

    def next_day(self, day: BankDay) -> BankDay:
        return self.day_of(day.closes_at)

    def named(self, name: str) -> BankDay:
        """The day of that name. Raises ValueError when no day is called so."""
        try:
            opens_at = datetime.strptime(name, self._format)  # noqa: DTZ007 - naive UTC, as everywhere here
        except ValueError:
            raise ValueError(f"no bank day is called {name!r}") from None
        day = self.day_of(opens_at)
        if day.name != name:
            raise ValueError(f"no bank day is called {name!r}")
        return day
