"""A Quartz expression in Chinese or English words.

Every part of the expression is said. Short lists of clock times are written out (`03:00:00`); an even
rhythm is said as one (`every 2 minutes`); whatever else is named number by number, range by range.
"""

import re
from collections.abc import Callable
from itertools import product

from app.plans.quartz_errors import FieldName, Locale
from app.plans.quartz_syntax import (
    HOURS,
    MINUTES,
    MONTH_DAYS,
    MONTHS,
    SECONDS,
    WEEK_DAYS,
    YEARS,
    Field,
    LastOfWeekday,
    MonthDayTerm,
    NearestWeekday,
    Schedule,
    Span,
    WeekDayTerm,
    numbers_of,
    parse,
)

MAX_CLOCK_TIMES = 6
WEEKDAYS_EN = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS_EN = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
ORDINALS_EN = ("first", "second", "third", "fourth", "fifth")


def describe(expression: str, locale: Locale) -> str:
    """When the expression fires, in words; e.g. `0 0/2 * * * ?` is 每 2 分钟, every 2 minutes.

    Raises QuartzError.
    """
    schedule = parse(expression)
    days = _days_zh(schedule) if locale == "zh" else _days_en(schedule)
    if times := _clock_times(schedule):
        return _spaced_zh(days + "、".join(times)) if locale == "zh" else f"{days} at {_listed_en(times)}"
    phrases = _rhythm(schedule, locale)
    if _is_dated(schedule) or _is_listed(schedule.hours, HOURS):
        phrases = [days, *phrases]
    return _spaced_zh("，".join(phrases)) if locale == "zh" else ", ".join(phrases)


def _clock_times(schedule: Schedule) -> list[str]:
    """The times of day, where they are few enough to be written out."""
    hours, minutes, seconds = (
        numbers_of(schedule.hours, HOURS),
        numbers_of(schedule.minutes, MINUTES),
        numbers_of(schedule.seconds, SECONDS),
    )
    if len(hours) * len(minutes) * len(seconds) > MAX_CLOCK_TIMES:
        return []
    return [f"{h:02}:{m:02}:{s:02}" for h, m, s in product(hours, minutes, seconds)]


# --- times of day ----------------------------------------------------------------------------------

# For each unit: every one; every {n}; at these numbers.
_UNITS: dict[Locale, dict[FieldName, tuple[str, str, str]]] = {
    "zh": {
        "hours": ("每小时", "每{n}小时", "{numbers}时"),
        "minutes": ("每分钟", "每{n}分钟", "第{numbers}分"),
        "seconds": ("每秒", "每{n}秒", "第{numbers}秒"),
    },
    "en": {
        "hours": ("every hour", "every {n} hours", "hour{s} {numbers}"),
        "minutes": ("every minute", "every {n} minutes", "minute{s} {numbers}"),
        "seconds": ("every second", "every {n} seconds", "second{s} {numbers}"),
    },
}


def _rhythm(schedule: Schedule, locale: Locale) -> list[str]:
    """The time of day as phrases, largest unit first.

    A step is said as a rhythm only above single values of the smaller units: `0/15 0/2` in seconds and
    minutes is not every 2 minutes but every 15 seconds of the minutes 0 to 59 (step 2).
    """
    hours, minutes, seconds = schedule.hours, schedule.minutes, schedule.seconds
    is_one_second, is_one_minute = _is_single(seconds, SECONDS), _is_single(minutes, MINUTES)
    lists_minutes = _is_listed(minutes, MINUTES) or not (_is_every(minutes, MINUTES) or is_one_second)
    lists_seconds = _is_listed(seconds, SECONDS)
    is_on_the_hour = is_one_minute and is_one_second and {*minutes, *seconds} == {Span(0, 0)}
    phrases = []
    if not _is_every(hours, HOURS):
        lists_hours = _is_listed(hours, HOURS) or not (is_one_minute and is_one_second)
        phrases.append(_unit(hours, HOURS, locale, is_listed=lists_hours))
        is_on_the_hour = is_on_the_hour and not lists_hours
    elif lists_minutes:
        phrases.append(_unit(hours, HOURS, locale, is_listed=False))
    if lists_minutes and not is_on_the_hour:
        phrases.append(_unit(minutes, MINUTES, locale, is_listed=True))
    elif not lists_minutes and (lists_seconds or not _is_every(minutes, MINUTES)):
        phrases.append(_unit(minutes, MINUTES, locale, is_listed=False))
    if numbers_of(seconds, SECONDS) != (0,):
        phrases.append(_unit(seconds, SECONDS, locale, is_listed=lists_seconds))
    return phrases


def _unit(spans: tuple[Span, ...], of: Field, locale: Locale, *, is_listed: bool) -> str:
    every, every_n, at_numbers = _UNITS[locale][of.name]
    if is_listed:
        plural = "" if _is_single(spans, of) else "s"
        return at_numbers.format(numbers=_numbers(spans, of, locale), s=plural)
    return every if _is_every(spans, of) else every_n.format(n=_even_step(spans, of))


def _is_listed(spans: tuple[Span, ...], of: Field) -> bool:
    return not (_is_every(spans, of) or _even_step(spans, of))


def _is_every(spans: tuple[Span, ...], of: Field) -> bool:
    return len(numbers_of(spans, of)) == of.size


def _is_single(spans: tuple[Span, ...], of: Field) -> bool:
    return len(numbers_of(spans, of)) == 1


def _even_step(spans: tuple[Span, ...], of: Field) -> int:
    """n where the field comes round every n without a shorter last round, as 0/15 does; else 0."""
    numbers = numbers_of(spans, of)
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    is_even = step > 1 and of.size % step == 0 and numbers == tuple(range(0, of.size, step))
    return step if is_even else 0


# --- days --------------------------------------------------------------------------------------------


def _is_dated(schedule: Schedule) -> bool:
    has_day_rule = bool(schedule.month_days or schedule.week_days)
    return has_day_rule or not (_is_every(schedule.months, MONTHS) and _is_every(schedule.years, YEARS))


def _days_zh(schedule: Schedule) -> str:
    if not _is_dated(schedule):
        return "每天"
    months = "" if _is_every(schedule.months, MONTHS) else f"{_numbers(schedule.months, MONTHS, 'zh')}月"
    years = "" if _is_every(schedule.years, YEARS) else f"{_numbers(schedule.years, YEARS, 'zh')}年"
    period = (years or "每年") + months if months else years
    if schedule.month_days:
        days = "、".join(_month_day_zh(term) for term in schedule.month_days)
        return f"{period}{'' if months else '每月'}{days}"
    if not schedule.week_days:
        return f"{period}每天"
    days = "、".join(_week_day_zh(term) for term in schedule.week_days)
    if isinstance(schedule.week_days[0], Span):
        return f"{period}每{days}"
    return f"{period}{'' if months else '每月'}{days}"


def _month_day_zh(term: MonthDayTerm) -> str:
    if isinstance(term, Span):
        return f"{_span(term, MONTH_DAYS, 'zh', str)}日"
    if isinstance(term, NearestWeekday):
        return f"最接近{term.day}日的工作日"
    if term.offset:
        day = f"最后一天之前{term.offset}天"
        return f"最接近{day}的工作日" if term.is_weekday else day
    return "最后一个工作日" if term.is_weekday else "最后一天"


def _week_day_zh(term: WeekDayTerm) -> str:
    if isinstance(term, Span):
        return _span(term, WEEK_DAYS, "zh", _weekday_zh)
    if isinstance(term, LastOfWeekday):
        return f"最后一个{_weekday_zh(term.weekday)}"
    return f"第{term.nth}个{_weekday_zh(term.weekday)}"


def _weekday_zh(number: int) -> str:
    return "周" + "日一二三四五六"[number - 1]


def _days_en(schedule: Schedule) -> str:
    if not _is_dated(schedule):
        return "every day"
    months = "" if _is_every(schedule.months, MONTHS) else _numbers(schedule.months, MONTHS, "en", _month_en)
    years = "" if _is_every(schedule.years, YEARS) else f" in {_numbers(schedule.years, YEARS, 'en')}"
    in_period = (f" in {months}" if months else "") + years
    of_period = f" of {months or 'every month'}{years}"
    if schedule.month_days:
        return f"on {_listed_en([_month_day_en(term) for term in schedule.month_days])}{of_period}"
    if not schedule.week_days:
        return f"every day{in_period}"
    names = _listed_en([_week_day_en(term) for term in schedule.week_days])
    if isinstance(schedule.week_days[0], Span):
        return f"every {names}{in_period}"
    return f"on {names}{of_period}"


def _month_en(number: int) -> str:
    return MONTHS_EN[number - 1]


def _weekday_en(number: int) -> str:
    return WEEKDAYS_EN[number - 1]


def _month_day_en(term: MonthDayTerm) -> str:
    if isinstance(term, Span):
        return f"day{'' if term.first == term.last else 's'} {_span(term, MONTH_DAYS, 'en', str)}"
    if isinstance(term, NearestWeekday):
        return f"the weekday nearest day {term.day}"
    if term.offset:
        day = f"{term.offset} day{'' if term.offset == 1 else 's'} before the last day"
        return f"the weekday nearest {day}" if term.is_weekday else f"the day {day}"
    return "the last weekday" if term.is_weekday else "the last day"


def _week_day_en(term: WeekDayTerm) -> str:
    if isinstance(term, Span):
        return _span(term, WEEK_DAYS, "en", _weekday_en)
    if isinstance(term, LastOfWeekday):
        return f"the last {_weekday_en(term.weekday)}"
    return f"the {ORDINALS_EN[term.nth - 1]} {_weekday_en(term.weekday)}"


# --- numbers -----------------------------------------------------------------------------------------


def _numbers(spans: tuple[Span, ...], of: Field, locale: Locale, name: Callable[[int], str] = str) -> str:
    texts = [_span(span, of, locale, name) for span in spans]
    return "、".join(texts) if locale == "zh" else _listed_en(texts)


def _span(span: Span, of: Field, locale: Locale, name: Callable[[int], str]) -> str:
    if len(span.numbers(of)) == 1:
        return name(span.first)
    to, step = ("至", f"（步长{span.step}）") if locale == "zh" else (" to ", f" (step {span.step})")
    return f"{name(span.first)}{to}{name(span.last)}{step if span.step > 1 else ''}"


def _listed_en(texts: list[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _spaced_zh(text: str) -> str:
    """A space between Chinese characters and digits, both ways."""
    return re.sub(r"(?<=[\u4e00-\u9fff])(?=[0-9])|(?<=[0-9])(?=[\u4e00-\u9fff])", " ", text)
