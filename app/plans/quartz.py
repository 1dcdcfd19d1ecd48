"""Quartz cron: when an expression fires next, and what it says in words.

The expression's fields become sets of numbers and the search walks years, months and days, never
seconds, so that a sparse expression costs milliseconds and an impossible one (30 February) ends.

Daylight saving as in Quartz: a local time that the clocks skip does not fire that day; a local time
that comes twice fires once, the second time. The fire times of an expression are thus one fixed set
of instants, whichever moment one asks from: what comes next after one moment comes next after every
later one before it, and is kept.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from app.plans.quartz_errors import FieldName, Locale, QuartzError, translate_reason
from app.plans.quartz_syntax import (
    FIRST_YEAR,
    HOURS,
    LAST_YEAR,
    MINUTES,
    MONTH_DAYS,
    MONTHS,
    SECONDS,
    WEEK_DAYS,
    YEARS,
    LastOfWeekday,
    MonthDayTerm,
    NearestWeekday,
    Schedule,
    Span,
    WeekDayTerm,
    numbers_of,
    parse,
)
from app.plans.quartz_words import describe

__all__ = [
    "FieldName",
    "Locale",
    "QuartzError",
    "describe",
    "next_fire_time",
    "next_fire_times",
    "translate_reason",
]

KEPT: Final = 2048
"""So many expressions, read, and so many of them in a zone are kept."""


def next_fire_times(
    expression: str, after: datetime, count: int, *, until: datetime | None = None
) -> list[datetime]:
    """The next `count` times strictly after `after`, in its zone; fewer when the years run out at 2099.

    None of them lies after `until`. A naive `after` is wall-clock time without daylight saving and is
    answered by naive times. Raises QuartzError (a ValueError), which says the field and the reason.
    """
    cron = _Cron.of(expression)
    if after.year > LAST_YEAR + 1:
        return []
    if after.year < FIRST_YEAR - 1:
        after = datetime(FIRST_YEAR - 1, 1, 2, tzinfo=after.tzinfo)
    times = _fire_times(cron, after)
    if until is not None:
        times = takewhile(lambda moment: moment <= until, times)
    return list(islice(times, max(count, 0)))


def next_fire_time(expression: str, zone: str, after: datetime) -> datetime | None:
    """The first time strictly after the aware `after`, in UTC; None where the expression never fires again.

    Raises QuartzError, and ZoneInfoNotFoundError for an unknown `zone`. Asked again before that time has
    come it costs a comparison.
    """
    return _Calendar.of(expression, zone).after(after)


class _Calendar:
    """An expression in a zone, and the stretch without a fire time that was asked for last."""

    def __init__(self, expression: str, zone: str) -> None:
        self._expression = expression
        self._zone = ZoneInfo(zone)
        self._gap: tuple[datetime, datetime | None] | None = None

    @staticmethod
    @lru_cache(KEPT)
    def of(expression: str, zone: str) -> "_Calendar":
        return _Calendar(expression, zone)

    def after(self, after: datetime) -> datetime | None:
        gap = self._gap  # read once: other threads ask too
        if gap is not None and gap[0] <= after and (gap[1] is None or after < gap[1]):
            return gap[1]
        times = next_fire_times(self._expression, after.astimezone(self._zone), 1)
        coming = times[0].astimezone(UTC) if times else None
        self._gap = (after.astimezone(UTC), coming)
        return coming


def _fire_times(cron: "_Cron", after: datetime) -> Iterator[datetime]:
    zone = after.tzinfo
    if zone is None:
        yield from (moment for moment in _local_times(cron, after) if moment > after)
        return
    after_utc = after.astimezone(UTC)
    for local in _local_times(cron, _earliest_local(after_utc.astimezone(zone))):
        moment_utc = local.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(fold=0)
        moment = moment_utc.astimezone(zone)
        is_skipped_by_clocks = moment.replace(tzinfo=None, fold=0) != local
        if moment_utc > after_utc and not is_skipped_by_clocks:
            yield moment


def _earliest_local(after: datetime) -> datetime:
    """Naive local time no later than any fire time that follows `after`.

    In the first pass of a repeated hour, the second pass still holds earlier clock times.
    """
    first, second = after.replace(fold=0).utcoffset(), after.replace(fold=1).utcoffset()
    repeated = first - second if first is not None and second is not None else timedelta(0)
    return after.replace(tzinfo=None, fold=0) - max(repeated, timedelta(0))


def _local_times(cron: "_Cron", start: datetime) -> Iterator[datetime]:
    """The naive times from the second that holds `start`, ascending."""
    for day in _days_from(cron.schedule, start.date()):
        earliest = start.time() if day == start.date() else time.min
        for moment in cron.clock.times_from(earliest):
            yield datetime.combine(day, moment)


@dataclass(frozen=True, slots=True)
class _Cron:
    """An expression, read."""

    schedule: Schedule
    clock: "_Clock"

    @staticmethod
    @lru_cache(KEPT)
    def of(expression: str) -> "_Cron":
        schedule = parse(expression)
        return _Cron(schedule, _Clock.of(schedule))


@dataclass(frozen=True, slots=True)
class _Clock:
    """The times of day an expression names."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @classmethod
    def of(cls, schedule: Schedule) -> "_Clock":
        return cls(
            numbers_of(schedule.hours, HOURS),
            numbers_of(schedule.minutes, MINUTES),
            numbers_of(schedule.seconds, SECONDS),
        )

    def times_from(self, earliest: time) -> Iterator[time]:
        for hour in _from(self.hours, earliest.hour):
            is_first_hour = hour == earliest.hour
            for minute in _from(self.minutes, earliest.minute if is_first_hour else 0):
                is_first_minute = is_first_hour and minute == earliest.minute
                for second in _from(self.seconds, earliest.second if is_first_minute else 0):
                    yield time(hour, minute, second)


def _from(numbers: tuple[int, ...], lowest: int) -> tuple[int, ...]:
    return numbers[bisect_left(numbers, lowest) :]


def _days_from(schedule: Schedule, start: date) -> Iterator[date]:
    months = numbers_of(schedule.months, MONTHS)
    for year in _from(numbers_of(schedule.years, YEARS), start.year):
        for month in _from(months, start.month if year == start.year else 1):
            for day in sorted(_days_in_month(schedule, year, month)):
                if (found := date(year, month, day)) >= start:
                    yield found


def _days_in_month(schedule: Schedule, year: int, month: int) -> set[int]:
    first_weekday, last_day = monthrange(year, month)
    # Python counts Monday as 0, Quartz Sunday as 1.
    page = _MonthPage(first_weekday=(first_weekday + 1) % 7 + 1, last_day=last_day)
    if schedule.month_days:
        return set().union(*(page.month_days(term) for term in schedule.month_days))
    if schedule.week_days:
        return set().union(*(page.week_days(term) for term in schedule.week_days))
    return set(range(1, last_day + 1))


@dataclass(frozen=True, slots=True)
class _MonthPage:
    """One month's days: the weekday of the first (1 = Sunday) and the number of the last."""

    first_weekday: int
    last_day: int

    def weekday(self, day: int) -> int:
        return (self.first_weekday + day - 2) % 7 + 1

    def month_days(self, term: MonthDayTerm) -> set[int]:
        if isinstance(term, Span):
            return {day for day in term.numbers(MONTH_DAYS) if day <= self.last_day}
        if isinstance(term, NearestWeekday):
            return self.nearest_weekday(term.day)
        day = self.last_day - term.offset
        return self.nearest_weekday(day) if term.is_weekday else {day} & set(range(1, self.last_day + 1))

    def nearest_weekday(self, day: int) -> set[int]:
        """The Monday to Friday nearest to `day` in this month; none where the month has no such day."""
        if not 1 <= day <= self.last_day:
            return set()
        if self.weekday(day) == 7:
            return {day - 1 if day > 1 else day + 2}
        if self.weekday(day) == 1:
            return {day + 1 if day < self.last_day else day - 2}
        return {day}

    def week_days(self, term: WeekDayTerm) -> set[int]:
        if isinstance(term, Span):
            wanted = term.numbers(WEEK_DAYS)
            return {day for day in range(1, self.last_day + 1) if self.weekday(day) in wanted}
        days = [day for day in range(1, self.last_day + 1) if self.weekday(day) == term.weekday]
        if isinstance(term, LastOfWeekday):
            return {days[-1]}
        return set(days[term.nth - 1 : term.nth])
