"""The grammar of Quartz cron: an expression in, a `Schedule` of plain values out.

Where Quartz reads something silently wrong, it is refused or read as written instead: a step after
names (`MON-FRI/2`) counts, a step of zero and a letter behind a range (`1-5W`) are refused.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from app.plans.quartz_errors import FieldName, QuartzError

FIRST_YEAR, LAST_YEAR = 1970, 2099
MAX_LAST_DAY_OFFSET = 30
SHOWN_TEXT = 40

T = TypeVar("T")

MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True)
class Field:
    """One of the seven fields: its bounds, the largest step Quartz takes, and its names."""

    name: FieldName
    low: int
    high: int
    max_step: int
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return self.high - self.low + 1


SECONDS = Field("seconds", 0, 59, 59)
MINUTES = Field("minutes", 0, 59, 59)
HOURS = Field("hours", 0, 23, 23)
MONTH_DAYS = Field("day_of_month", 1, 31, 31)
MONTHS = Field("month", 1, 12, 12, {name: number for number, name in enumerate(MONTH_NAMES, 1)})
WEEK_DAYS = Field("day_of_week", 1, 7, 7, {name: number for number, name in enumerate(WEEKDAY_NAMES, 1)})
YEARS = Field("year", FIRST_YEAR, LAST_YEAR, LAST_YEAR - FIRST_YEAR)


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from `first` to `last` by `step`; `last` below `first` runs over the field's end."""

    first: int
    last: int
    step: int = 1

    def numbers(self, of: Field) -> set[int]:
        stop = self.last if self.last >= self.first else self.last + of.size
        return {(n - of.low) % of.size + of.low for n in range(self.first, stop + 1, self.step)}


@dataclass(frozen=True, slots=True)
class LastDay:
    """`offset` days before a month's last day; `is_weekday`: the Monday to Friday nearest to it."""

    offset: int
    is_weekday: bool


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """The Monday to Friday nearest to `day` within the same month."""

    day: int


@dataclass(frozen=True, slots=True)
class LastOfWeekday:
    """A month's last such weekday, 1 = Sunday."""

    weekday: int


@dataclass(frozen=True, slots=True)
class NthOfWeekday:
    """A month's nth such weekday, 1 = Sunday; a month without a fifth has none."""

    weekday: int
    nth: int


MonthDayTerm = Span | LastDay | NearestWeekday
WeekDayTerm = Span | LastOfWeekday | NthOfWeekday


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed expression. Empty `month_days` or `week_days` set no condition (`*` or `?`)."""

    seconds: tuple[Span, ...]
    minutes: tuple[Span, ...]
    hours: tuple[Span, ...]
    month_days: tuple[MonthDayTerm, ...]
    months: tuple[Span, ...]
    week_days: tuple[WeekDayTerm, ...]
    years: tuple[Span, ...]


def parse(expression: str) -> Schedule:
    """Read six or seven fields, seconds first. Raises QuartzError."""
    texts = expression.upper().split()
    if not texts:
        raise QuartzError("expression", "empty")
    if len(texts) not in (6, 7):
        raise QuartzError("expression", "field_count", count=len(texts))
    seconds, minutes, hours, month_days, months, week_days = texts[:6]
    schedule = Schedule(
        seconds=_parse_list(seconds, SECONDS, _parse_span),
        minutes=_parse_list(minutes, MINUTES, _parse_span),
        hours=_parse_list(hours, HOURS, _parse_span),
        month_days=_parse_days(month_days, MONTH_DAYS, _parse_month_day),
        months=_parse_list(months, MONTHS, _parse_span),
        week_days=_parse_days(week_days, WEEK_DAYS, _parse_week_day),
        years=_parse_list(texts[6] if len(texts) == 7 else "*", YEARS, _parse_span),
    )
    _check_days_together(schedule, month_days, week_days)
    return schedule


def numbers_of(spans: tuple[Span, ...], of: Field) -> tuple[int, ...]:
    """Every number the spans name, ascending, each once."""
    return tuple(sorted(set().union(*(span.numbers(of) for span in spans))))


def _check_days_together(schedule: Schedule, month_days: str, week_days: str) -> None:
    if month_days == week_days == "?":
        raise QuartzError("day_of_week", "no_day")
    if schedule.month_days and schedule.week_days:
        raise QuartzError("day_of_week", "both_days")
    if len(schedule.week_days) > 1 and _names_special_weekday(schedule, week_days):
        raise QuartzError("day_of_week", "special_in_list", text=_shown(week_days))


def _names_special_weekday(schedule: Schedule, week_days: str) -> bool:
    return "L" in week_days.split(",") or not all(isinstance(term, Span) for term in schedule.week_days)


def _parse_list(text: str, of: Field, parse_item: Callable[[str, Field], T]) -> tuple[T, ...]:
    items = text.split(",")
    if "" in items:
        raise QuartzError(of.name, "empty_item", text=_shown(text))
    return tuple(parse_item(item, of) for item in items)


def _parse_days(text: str, of: Field, parse_item: Callable[[str, Field], T]) -> tuple[T, ...]:
    if text in ("*", "?"):
        return ()
    if "?" in text:
        raise QuartzError(of.name, "question_alone", text=_shown(text))
    return _parse_list(text, of, parse_item)


def _parse_month_day(item: str, of: Field) -> MonthDayTerm:
    if match := re.fullmatch(r"L(?:-([0-9]+))?(W?)", item):
        offset_text = match[1] or "0"
        if len(offset_text) > 4 or int(offset_text) > MAX_LAST_DAY_OFFSET:
            raise QuartzError(of.name, "offset_range", text=_shown(item), high=MAX_LAST_DAY_OFFSET)
        return LastDay(int(offset_text), is_weekday=bool(match[2]))
    if match := re.fullmatch(r"([0-9]+)W", item):
        return NearestWeekday(_parse_value(match[1], of, item))
    return _parse_span(item, of)


def _parse_week_day(item: str, of: Field) -> WeekDayTerm:
    if item == "L":
        return Span(of.high, of.high)
    if "#" in item:
        weekday, _, nth = item.partition("#")
        if nth not in ("1", "2", "3", "4", "5"):
            raise QuartzError(of.name, "nth_range", text=_shown(item))
        return NthOfWeekday(_parse_value(weekday, of, item), int(nth))
    if match := re.fullmatch(r"([0-9]+|[A-Z]{3})L", item):
        return LastOfWeekday(_parse_value(match[1], of, item))
    return _parse_span(item, of)


def _parse_span(item: str, of: Field) -> Span:
    body, slash, step_text = item.partition("/")
    step = _parse_step(step_text, of, item) if slash else 1
    if body in ("*", ""):
        return Span(of.low, of.high, step)
    first_text, dash, last_text = body.partition("-")
    if dash and not (first_text and last_text):
        raise QuartzError(of.name, "range_incomplete", text=_shown(item))
    first = _parse_value(first_text, of, item)
    if not dash:
        return Span(first, of.high if slash else first, step)
    last = _parse_value(last_text, of, item)
    if of is YEARS and last < first:
        raise QuartzError(of.name, "range_backwards", text=_shown(item))
    return Span(first, last, step)


def _parse_step(text: str, of: Field, item: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise QuartzError(of.name, "step_missing", text=_shown(item))
    if len(text) > 4 or not 1 <= int(text) <= of.max_step:
        raise QuartzError(of.name, "step_range", text=_shown(text), high=of.max_step)
    return int(text)


def _parse_value(text: str, of: Field, item: str) -> int:
    if re.fullmatch(r"[0-9]+", text):
        if len(text) > 4 or not of.low <= int(text) <= of.high:
            raise QuartzError(of.name, "value_range", text=_shown(text), low=of.low, high=of.high)
        return int(text)
    if text in of.names:
        return of.names[text]
    raise _refusal(text, of, item)


def _refusal(text: str, of: Field, item: str) -> QuartzError:
    """The most telling reason for a text that is neither a number nor a name of the field."""
    if of.names and len(text) > 2 and text.isalpha():
        return QuartzError(of.name, "unknown_name", text=_shown(text), names=", ".join(of.names))
    for letter in "?#LW":
        if re.fullmatch(rf"L?[0-9]*W?[{letter}][0-9]*", text):
            return QuartzError(of.name, "letter_misplaced", text=_shown(item), letter=letter)
    return QuartzError(of.name, "not_a_value", text=_shown(text or item))


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_TEXT else text[:SHOWN_TEXT] + "…"
