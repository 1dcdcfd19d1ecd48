"""When Quartz expressions fire: the documentation's tables, zones, and an oracle that walks every day."""

from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.plans.quartz import next_fire_time, next_fire_times

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")
FRIDAY = datetime(2026, 2, 27, 11, 0, tzinfo=SHANGHAI)
END_OF_2004 = datetime(2004, 12, 30, 12, 0, tzinfo=SHANGHAI)


def shown(times: list[datetime]) -> str:
    return ", ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in times)


# The times of these tables were computed by Quartz 2.5's own CronExpression.
TUTORIAL_TABLE = [
    ("0 0 12 * * ?", "2026-02-27 12:00:00, 2026-02-28 12:00:00, 2026-03-01 12:00:00"),
    ("0 15 10 ? * *", "2026-02-28 10:15:00, 2026-03-01 10:15:00, 2026-03-02 10:15:00"),
    ("0 15 10 * * ?", "2026-02-28 10:15:00, 2026-03-01 10:15:00, 2026-03-02 10:15:00"),
    ("0 15 10 * * ? *", "2026-02-28 10:15:00, 2026-03-01 10:15:00, 2026-03-02 10:15:00"),
    ("0 * 14 * * ?", "2026-02-27 14:00:00, 2026-02-27 14:01:00, 2026-02-27 14:02:00"),
    ("0 0/5 14 * * ?", "2026-02-27 14:00:00, 2026-02-27 14:05:00, 2026-02-27 14:10:00"),
    ("0 0/5 14,18 * * ?", "2026-02-27 14:00:00, 2026-02-27 14:05:00, 2026-02-27 14:10:00"),
    ("0 0-5 14 * * ?", "2026-02-27 14:00:00, 2026-02-27 14:01:00, 2026-02-27 14:02:00"),
    ("0 10,44 14 ? 3 WED", "2026-03-04 14:10:00, 2026-03-04 14:44:00, 2026-03-11 14:10:00"),
    ("0 15 10 ? * MON-FRI", "2026-03-02 10:15:00, 2026-03-03 10:15:00, 2026-03-04 10:15:00"),
    ("0 15 10 15 * ?", "2026-03-15 10:15:00, 2026-04-15 10:15:00, 2026-05-15 10:15:00"),
    ("0 15 10 L * ?", "2026-02-28 10:15:00, 2026-03-31 10:15:00, 2026-04-30 10:15:00"),
    ("0 15 10 L-2 * ?", "2026-03-29 10:15:00, 2026-04-28 10:15:00, 2026-05-29 10:15:00"),
    ("0 15 10 ? * 6L", "2026-03-27 10:15:00, 2026-04-24 10:15:00, 2026-05-29 10:15:00"),
    ("0 15 10 ? * 6#3", "2026-03-20 10:15:00, 2026-04-17 10:15:00, 2026-05-15 10:15:00"),
    ("0 0 12 1/5 * ?", "2026-03-01 12:00:00, 2026-03-06 12:00:00, 2026-03-11 12:00:00"),
    ("0 11 11 11 11 ?", "2026-11-11 11:11:00, 2027-11-11 11:11:00, 2028-11-11 11:11:00"),
]
OLD_YEARS_OF_THE_TUTORIAL = [
    ("0 15 10 * * ? 2005", "2005-01-01 10:15:00, 2005-01-02 10:15:00, 2005-01-03 10:15:00"),
    ("0 15 10 ? * 6L 2002-2005", "2004-12-31 10:15:00, 2005-01-28 10:15:00, 2005-02-25 10:15:00"),
    (
        "0/5 14,18,3-39,52 * ? JAN,MAR,SEP MON-FRI 2002-2010",
        "2005-01-03 00:03:00, 2005-01-03 00:03:05, 2005-01-03 00:03:10",
    ),
]
BEYOND_THE_TABLE = [
    ("0 0/5 * * * ?", "2026-02-27 11:05:00, 2026-02-27 11:10:00, 2026-02-27 11:15:00"),
    ("10 0/5 * * * ?", "2026-02-27 11:00:10, 2026-02-27 11:05:10, 2026-02-27 11:10:10"),
    ("0 30 10-13 ? * WED,FRI", "2026-02-27 11:30:00, 2026-02-27 12:30:00, 2026-02-27 13:30:00"),
    ("0 0/30 8-9 5,20 * ?", "2026-03-05 08:00:00, 2026-03-05 08:30:00, 2026-03-05 09:00:00"),
    ("0 0 9 LW * ?", "2026-03-31 09:00:00, 2026-04-30 09:00:00, 2026-05-29 09:00:00"),
    ("0 0 9 L-3W * ?", "2026-03-27 09:00:00, 2026-04-27 09:00:00, 2026-05-28 09:00:00"),
    ("0 0 9 15W * ?", "2026-03-16 09:00:00, 2026-04-15 09:00:00, 2026-05-15 09:00:00"),
    ("0 0 9 1W * ?", "2026-03-02 09:00:00, 2026-04-01 09:00:00, 2026-05-01 09:00:00"),
    ("0 0 9 31W * ?", "2026-03-31 09:00:00, 2026-05-29 09:00:00, 2026-07-31 09:00:00"),
    ("0 0 9 L,15 * ?", "2026-02-28 09:00:00, 2026-03-15 09:00:00, 2026-03-31 09:00:00"),
    ("0 0 9 ? * L", "2026-02-28 09:00:00, 2026-03-07 09:00:00, 2026-03-14 09:00:00"),
    ("0 0 9 ? * 1", "2026-03-01 09:00:00, 2026-03-08 09:00:00, 2026-03-15 09:00:00"),
    ("0 0 9 ? * FRI-MON", "2026-02-28 09:00:00, 2026-03-01 09:00:00, 2026-03-02 09:00:00"),
    ("0 0 9 ? * fril", "2026-03-27 09:00:00, 2026-04-24 09:00:00, 2026-05-29 09:00:00"),
    ("0 0 9 ? * MON#5", "2026-03-30 09:00:00, 2026-06-29 09:00:00, 2026-08-31 09:00:00"),
    ("0 0 22-2/2 * * ?", "2026-02-27 22:00:00, 2026-02-28 00:00:00, 2026-02-28 02:00:00"),
    ("55-5/5 0 0 1 * ?", "2026-03-01 00:00:00, 2026-03-01 00:00:05, 2026-03-01 00:00:55"),
    ("0 0 0 1 NOV-feb ?", "2026-11-01 00:00:00, 2026-12-01 00:00:00, 2027-01-01 00:00:00"),
    ("0 0 0 29 2 ? 2028/4", "2028-02-29 00:00:00, 2032-02-29 00:00:00, 2036-02-29 00:00:00"),
    ("0 0 0 25-3/3 * ?", "2026-02-28 00:00:00, 2026-03-03 00:00:00, 2026-03-25 00:00:00"),
    ("/20 * * * * ?", "2026-02-27 11:00:20, 2026-02-27 11:00:40, 2026-02-27 11:01:00"),
    ("0 0 0 */10 * ?", "2026-03-01 00:00:00, 2026-03-11 00:00:00, 2026-03-21 00:00:00"),
]


@pytest.mark.parametrize(("expression", "times"), TUTORIAL_TABLE + BEYOND_THE_TABLE)
def test_an_expression_fires_when_quartz_fires_it(expression: str, times: str) -> None:
    assert shown(next_fire_times(expression, FRIDAY, 3)) == times


@pytest.mark.parametrize(("expression", "times"), OLD_YEARS_OF_THE_TUTORIAL)
def test_an_expression_of_past_years_fires_in_them(expression: str, times: str) -> None:
    assert shown(next_fire_times(expression, END_OF_2004, 3)) == times


@pytest.mark.parametrize(
    "expression",
    ["0 0 0 * * MON", "0 0 0 ? * MON", "0 0 0 ? * 2", "0 0 0 * * mon", " 0\t0  0 * JAN-DEC Mon * "],
)
def test_a_star_in_one_day_field_leaves_the_other_to_decide(expression: str) -> None:
    assert shown(next_fire_times(expression, FRIDAY, 2)) == "2026-03-02 00:00:00, 2026-03-09 00:00:00"


@pytest.mark.parametrize("expression", ["* * * * * *", "* * * ? * *", "* * * * * ?", "* * * * * * *"])
def test_stars_everywhere_mean_every_second(expression: str) -> None:
    assert shown(next_fire_times(expression, FRIDAY, 2)) == "2026-02-27 11:00:01, 2026-02-27 11:00:02"


def test_a_step_after_names_counts() -> None:
    times = next_fire_times("0 0 0 ? * MON-FRI/2", FRIDAY, 3)
    assert [f"{moment:%a}" for moment in times] == ["Mon", "Wed", "Fri"]


def test_two_nearest_weekdays_of_one_list_both_fire() -> None:
    times = next_fire_times("0 0 0 1W,14W 8 ? 2027", FRIDAY, 9)  # a Sunday and a Saturday
    assert shown(times) == "2027-08-02 00:00:00, 2027-08-13 00:00:00"


def test_a_nearest_weekday_stays_in_its_month() -> None:
    last_sunday_is_the_31st = next_fire_times("0 0 0 31W 1 ? 2027", FRIDAY, 9)
    assert shown(last_sunday_is_the_31st) == "2027-01-29 00:00:00"


# --- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 0 30 2 ?",
        "0 0 0 31 2,4,6,9,11 ?",
        "0 0 0 31W 4 ?",
        "0 0 0 L-30 2 ?",
        "0 0 0 * * ? 1999",
        "0 0 0 ? 2 2#5 2027",
    ],
)
def test_an_expression_that_can_never_fire_again_has_no_times(expression: str) -> None:
    assert next_fire_times(expression, FRIDAY, 5) == []


def test_a_sparse_expression_reaches_its_one_day() -> None:
    assert shown(next_fire_times("0 0 0 29 2 ? 2096", FRIDAY, 5)) == "2096-02-29 00:00:00"


def test_the_years_run_out_at_the_end_of_2099() -> None:
    before = datetime(2099, 12, 30, 12, tzinfo=SHANGHAI)
    assert shown(next_fire_times("0 0 0 * * ?", before, 5)) == "2099-12-31 00:00:00"
    assert next_fire_times("* * * * * ?", datetime(2105, 1, 1, tzinfo=SHANGHAI), 5) == []


def test_the_years_begin_with_1970() -> None:
    earliest = datetime.min.replace(tzinfo=SHANGHAI)
    assert shown(next_fire_times("0 0 0 * * ?", earliest, 1)) == "1970-01-01 00:00:00"


@pytest.mark.parametrize("count", [0, -1])
def test_no_times_are_given_where_none_are_asked_for(count: int) -> None:
    assert next_fire_times("* * * * * ?", FRIDAY, count) == []


def test_a_fire_time_is_strictly_after_and_a_fraction_of_a_second_counts() -> None:
    on_time = datetime(2026, 2, 27, 12, 0, tzinfo=SHANGHAI)
    assert shown(next_fire_times("0 0 12 * * ?", on_time, 1)) == "2026-02-28 12:00:00"
    assert next_fire_times("0 0 12 * * ?", on_time - timedelta(microseconds=1), 1) == [on_time]


# --- zones -----------------------------------------------------------------------------------------


def test_times_are_aware_in_the_zone_asked_in() -> None:
    (moment,) = next_fire_times("0 0 3 * * ?", FRIDAY, 1)
    assert moment.tzinfo is SHANGHAI
    assert moment == datetime(2026, 2, 27, 19, tzinfo=UTC)


def test_a_naive_moment_is_answered_by_naive_times() -> None:
    assert next_fire_times("0 0 3 * * ?", FRIDAY.replace(tzinfo=None), 1) == [
        datetime(2026, 2, 28, 3)  # noqa: DTZ001
    ]


def test_a_time_that_the_clocks_skip_does_not_fire_that_day() -> None:
    before = datetime(2026, 3, 7, 12, tzinfo=NEW_YORK)  # 02:00 to 03:00 is missing on the 8th
    assert shown(next_fire_times("0 30 2 * * ?", before, 1)) == "2026-03-09 02:30:00"
    assert shown(next_fire_times("0 0/30 1-3 * * ?", datetime(2026, 3, 8, 1, tzinfo=NEW_YORK), 2)) == (
        "2026-03-08 01:30:00, 2026-03-08 03:00:00"
    )


def test_a_time_that_comes_twice_fires_the_second_time_only() -> None:
    before = datetime(2026, 10, 31, 12, tzinfo=NEW_YORK)  # 01:00 to 02:00 comes twice on 1 November
    times = next_fire_times("0 30 1 * * ?", before, 2)
    assert [moment.astimezone(UTC).isoformat() for moment in times] == [
        "2026-11-01T06:30:00+00:00",
        "2026-11-02T06:30:00+00:00",
    ]


def test_asked_in_the_first_pass_of_a_repeated_hour_the_whole_second_pass_is_ahead() -> None:
    first_pass = datetime(2026, 11, 1, 1, 40, tzinfo=NEW_YORK)
    times = next_fire_times("0 0/30 * * * ?", first_pass, 3)
    assert [f"{moment:%H:%M %z}" for moment in times] == ["01:00 -0500", "01:30 -0500", "02:00 -0500"]


@given(
    expression=st.sampled_from(
        ["0 0/2 * * * ?", "0 30 1,2 * * ?", "0 15/30 0-3 ? * SUN", "*/20 59 0-2 * 3,10,11 ?", "0 0 2 L * ?"]
    ),
    zone=st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"]),
    after=st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
    fold=st.sampled_from([0, 1]),
)
@settings(max_examples=60, deadline=None)
def test_asking_one_by_one_gives_the_same_instants_as_asking_at_once(
    expression: str, zone: str, after: datetime, fold: int
) -> None:
    start = after.replace(tzinfo=ZoneInfo(zone), fold=fold)
    at_once = [moment.astimezone(UTC) for moment in next_fire_times(expression, start, 4)]
    one_by_one = [start.astimezone(UTC)]
    for _ in range(4):
        local = one_by_one[-1].astimezone(ZoneInfo(zone))
        one_by_one.append(next_fire_times(expression, local, 1)[0].astimezone(UTC))
    assert at_once == one_by_one[1:]
    assert one_by_one == sorted(set(one_by_one))


@given(
    expression=st.sampled_from(
        ["0 0/2 * * * ?", "0 30 1,2 * * ?", "*/20 59 0-2 * 3,4,9,10,11 ?", "0 0 2 L * ?", "0 15 2 * 3 ? 2026"]
    ),
    change=st.sampled_from(
        [
            ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
            ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
            ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
            ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
            ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
        ]
    ),
    minutes=st.lists(st.floats(-240, 240).map(lambda number: round(number, 6)), min_size=1, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_no_firing_is_later_than_asked_for_whatever_was_asked_before(
    expression: str, change: tuple[str, datetime], minutes: list[float]
) -> None:
    zone, changes_at = change
    for moment in (changes_at + timedelta(minutes=number) for number in minutes):
        afresh = next_fire_times(expression, moment.astimezone(ZoneInfo(zone)), 1)
        assert next_fire_time(expression, zone, moment) == (afresh[0].astimezone(UTC) if afresh else None)


def test_at_a_fire_time_the_one_after_it_is_next() -> None:
    first = next_fire_time("0 0/2 * * * ?", "Asia/Shanghai", FRIDAY)
    assert first == FRIDAY + timedelta(minutes=2)
    assert next_fire_time("0 0/2 * * * ?", "Asia/Shanghai", first - timedelta(microseconds=1)) == first
    assert next_fire_time("0 0/2 * * * ?", "Asia/Shanghai", first) == FRIDAY + timedelta(minutes=4)


def test_no_time_lies_after_the_last_moment_asked_for() -> None:
    until = FRIDAY + timedelta(minutes=4)
    assert next_fire_times("0 0/2 * * * ?", FRIDAY, 9, until=until) == [FRIDAY + timedelta(minutes=2), until]


# --- the oracle: every day of a year is asked by itself ------------------------------------------------

DayRule = Callable[[date], bool]
NAMES = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
DAY = timedelta(days=1)


def weekday_of(day: date) -> int:
    return day.isoweekday() % 7 + 1


def last_of(day: date) -> date:
    return day.replace(day=monthrange(day.year, day.month)[1])


def is_in_range(number: int, first: int, last: int) -> bool:
    return first <= number <= last if first <= last else number >= first or number <= last


def is_nearest_weekday_to(day: date, target: date) -> bool:
    same_month = [target + DAY * n for n in range(-2, 3) if (target + DAY * n).month == target.month]
    return day == min((d for d in same_month if d.isoweekday() < 6), key=lambda d: abs(d - target))


def nearest_rule(number: int) -> DayRule:
    return lambda day: number <= last_of(day).day and is_nearest_weekday_to(day, day.replace(day=number))


@st.composite
def month_day_rules(draw: st.DrawFn) -> tuple[str, DayRule]:
    a, b, n = draw(st.integers(1, 31)), draw(st.integers(1, 31)), draw(st.integers(0, 30))
    step = draw(st.integers(1, 31))
    choices: list[tuple[str, DayRule]] = [
        (f"{a}", lambda day: day.day == a),
        (f"{a}-{b}", lambda day: is_in_range(day.day, a, b)),
        (f"{a}/{step}", lambda day: day.day >= a and (day.day - a) % step == 0),
        (f"*/{step}", lambda day: (day.day - 1) % step == 0),
        ("L", lambda day: day == last_of(day)),
        (f"L-{n}", lambda day: day == last_of(day) - n * DAY),
        ("LW", lambda day: is_nearest_weekday_to(day, last_of(day))),
        (f"{a}W", nearest_rule(a)),
    ]
    return draw(st.sampled_from(choices))


@st.composite
def week_day_rules(draw: st.DrawFn) -> tuple[str, DayRule]:
    a, b, nth = draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 5))
    choices: list[tuple[str, DayRule]] = [
        (f"{a}", lambda day: weekday_of(day) == a),
        (f"{a},{NAMES[b - 1]}", lambda day: weekday_of(day) in (a, b)),
        (f"{NAMES[a - 1]}-{NAMES[b - 1]}", lambda day: is_in_range(weekday_of(day), a, b)),
        (f"{a}/{nth}", lambda day: weekday_of(day) >= a and (weekday_of(day) - a) % nth == 0),
        ("L", lambda day: weekday_of(day) == 7),
        (f"{a}L", lambda day: weekday_of(day) == a and (day + 7 * DAY).month != day.month),
        (f"{NAMES[a - 1]}#{nth}", lambda day: weekday_of(day) == a and (day.day - 1) // 7 + 1 == nth),
    ]
    return draw(st.sampled_from(choices))


def every_day_that_matches(year: int, *rules: DayRule) -> list[date]:
    days = [date(year, 1, 1) + DAY * n for n in range(366)]
    return [day for day in days if day.year == year and all(rule(day) for rule in rules)]


def days_fired(expression: str, year: int) -> list[date]:
    times = next_fire_times(expression, datetime(year - 1, 12, 31, 12, tzinfo=UTC), 400)
    return [moment.date() for moment in times]


@given(rules=st.lists(month_day_rules(), min_size=1, max_size=3), year=st.integers(1970, 2099))
@settings(max_examples=100, deadline=None)
def test_month_days_are_those_an_oracle_finds(rules: list[tuple[str, DayRule]], year: int) -> None:
    expression = f"0 0 0 {','.join(text for text, _ in rules)} * ? {year}"
    assert days_fired(expression, year) == every_day_that_matches(
        year, lambda day: any(rule(day) for _, rule in rules)
    )


@given(rule=week_day_rules(), year=st.integers(1970, 2099), first=st.integers(1, 12), last=st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_week_days_in_a_range_of_months_are_those_an_oracle_finds(
    rule: tuple[str, DayRule], year: int, first: int, last: int
) -> None:
    expression = f"0 0 0 ? {first}-{last} {rule[0]} {year}"
    assert days_fired(expression, year) == every_day_that_matches(
        year, rule[1], lambda day: is_in_range(day.month, first, last)
    )


@given(
    hours=st.tuples(st.integers(0, 23), st.integers(0, 23)),
    minute=st.integers(0, 59),
    step=st.integers(1, 59),
    second=st.integers(0, 59),
    after=st.datetimes(datetime(2026, 3, 2), datetime(2026, 3, 3), timezones=st.just(UTC)),  # noqa: DTZ001
)
@settings(max_examples=60, deadline=None)
def test_times_of_day_are_those_an_oracle_finds(
    hours: tuple[int, int], minute: int, step: int, second: int, after: datetime
) -> None:
    expression = f"{second} {minute}/{step} {hours[0]}-{hours[1]} * * ?"
    midnight = after.replace(hour=0, minute=0, second=second, microsecond=0)
    found = [
        moment
        for moment in (midnight + timedelta(minutes=n) for n in range(5 * 24 * 60))
        if is_in_range(moment.hour, *hours) and moment.minute >= minute
        if (moment.minute - minute) % step == 0 and moment > after
    ]
    assert next_fire_times(expression, after, 3) == found[:3]
