"""Quartz expressions in words: every refusal in both languages, and what an expression says."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.plans.quartz import QuartzError, describe, next_fire_times, translate_reason
from app.plans.quartz_errors import REASONS

MOMENT = datetime(2026, 2, 27, 11, 0, tzinfo=UTC)

# --- refusals ----------------------------------------------------------------------------------------

REFUSALS = [
    ("", "expression", "empty"),
    (" \t", "expression", "empty"),
    ("0 0 12 * *", "expression", "field_count"),
    ("0 0 12 * * ? 2030 x", "expression", "field_count"),
    ("0 0 0 15 * MON", "day_of_week", "both_days"),
    ("0 0 0 1-31 * 1-7", "day_of_week", "both_days"),
    ("0 0 0 ? * ?", "day_of_week", "no_day"),
    ("60 0 0 * * ?", "seconds", "value_range"),
    ("0 60 0 * * ?", "minutes", "value_range"),
    ("0 0 24 * * ?", "hours", "value_range"),
    ("0 0 0 0 * ?", "day_of_month", "value_range"),
    ("0 0 0 32W * ?", "day_of_month", "value_range"),
    ("0 0 0 0/5 * ?", "day_of_month", "value_range"),
    ("0 0 0 * 13 ?", "month", "value_range"),
    ("0 0 0 ? * 0", "day_of_week", "value_range"),
    ("0 0 0 ? * 8L", "day_of_week", "value_range"),
    ("0 0 0 ? * 9#2", "day_of_week", "value_range"),
    ("0 0 0 * * ? 1969", "year", "value_range"),
    ("0 0 0 * * ? 2100", "year", "value_range"),
    ("9" * 5000 + " 0 0 * * ?", "seconds", "value_range"),
    ("0 0 0 * JANUARY ?", "month", "unknown_name"),
    ("0 0 0 ? * MON-XXX", "day_of_week", "unknown_name"),
    ("a 0 0 * * ?", "seconds", "not_a_value"),
    ("0 0 0 * * ? -1x", "year", "range_incomplete"),
    ("0 1.5 0 * * ?", "minutes", "not_a_value"),
    ("0 0 0 1-5W * ?", "day_of_month", "letter_misplaced"),
    ("0 ０ 0 * * ?", "minutes", "not_a_value"),
    ("0 0,,5 0 * * ?", "minutes", "empty_item"),
    ("0 0 5, * * ?", "hours", "empty_item"),
    ("0 5- 0 * * ?", "minutes", "range_incomplete"),
    ("0 -5 0 * * ?", "minutes", "range_incomplete"),
    ("0 0 0 * * ? 2030-2029", "year", "range_backwards"),
    ("0 0/ 0 * * ?", "minutes", "step_missing"),
    ("0 0/x 0 * * ?", "minutes", "step_missing"),
    ("0 0/-2 0 * * ?", "minutes", "step_missing"),
    ("0 0/0 0 * * ?", "minutes", "step_range"),
    ("0 0/60 0 * * ?", "minutes", "step_range"),
    ("0 0 */24 * * ?", "hours", "step_range"),
    ("0 0 L * * ?", "hours", "letter_misplaced"),
    ("0 0 15W * * ?", "hours", "letter_misplaced"),
    ("0 0 2#1 * * ?", "hours", "letter_misplaced"),
    ("0 ? 0 * * ?", "minutes", "letter_misplaced"),
    ("* * * * ? *", "month", "letter_misplaced"),
    ("0 0 0 15L * ?", "day_of_month", "letter_misplaced"),
    ("0 0 0 ? * LW", "day_of_week", "letter_misplaced"),
    ("0 0 0 ?,5 * *", "day_of_month", "question_alone"),
    ("0 0 0 1 * ?/2", "day_of_week", "question_alone"),
    ("0 0 0 ? * MON#6", "day_of_week", "nth_range"),
    ("0 0 0 ? * MON#", "day_of_week", "nth_range"),
    ("0 0 0 L-31 * ?", "day_of_month", "offset_range"),
    ("0 0 0 ? * MONL,TUE", "day_of_week", "special_in_list"),
    ("0 0 0 ? * 2,L", "day_of_week", "special_in_list"),
    ("0 0 0 ? * 2#1,4#2", "day_of_week", "special_in_list"),
]


@pytest.mark.parametrize(("expression", "field", "reason"), REFUSALS)
def test_a_refusal_names_the_field_and_the_reason(expression: str, field: str, reason: str) -> None:
    with pytest.raises(QuartzError) as refused:
        next_fire_times(expression, MOMENT, 1)
    assert (refused.value.field, refused.value.reason) == (field, reason)


def test_every_reason_is_provoked_by_a_refusal_above() -> None:
    assert {reason for _, _, reason in REFUSALS} == set(REASONS)


@pytest.mark.parametrize(
    ("expression", "english", "chinese"),
    [
        ("0 0 24 * * ?", "Hours: 24 is not between 0 and 23", "时：24 不在 0 到 23 之间"),
        (
            "0 0 0 ? * MON#6",
            "Day of week: a number from 1 to 5 must follow # in “MON#6”",
            "星期：“MON#6”中 # 之后应为 1 到 5 的数字",
        ),
        (
            "0 0 0 ? * ?",
            "Day of week: ? cannot stand in both day of month and day of week",
            "星期：日和星期不能同时为 ?",
        ),
        (
            "* * *",
            "Expression: fields found: 3; Quartz wants six or seven, seconds first",
            "表达式：共有 3 个字段；Quartz 表达式应为六个或七个字段，以秒开头",
        ),
        (
            "0 0 0 {text} * ?",
            "Day of month: “{TEXT}” is not a value of this field",
            "日：“{TEXT}”不是该字段的值",
        ),
    ],
)
def test_a_refusal_reads_as_a_sentence_in_both_languages(expression: str, english: str, chinese: str) -> None:
    with pytest.raises(ValueError) as refused:
        describe(expression, "zh")
    assert isinstance(refused.value, QuartzError)
    assert str(refused.value) == english
    assert translate_reason(refused.value, "zh") == chinese


def test_both_day_fields_are_refused_in_the_words_of_quartz() -> None:
    with pytest.raises(
        QuartzError,
        match="Support for specifying both a day-of-week AND a day-of-month parameter is not implemented",
    ):
        next_fire_times("0 0 0 15 * MON", MOMENT, 1)


@given(st.text(alphabet="0123456789*?LW#-/, JANMOFRI.{}五", max_size=40))
@settings(max_examples=300, deadline=None)
def test_whatever_is_typed_is_either_explained_or_refused_with_a_reason(expression: str) -> None:
    try:
        words = describe(expression, "zh")
    except QuartzError as error:
        words = translate_reason(error, "zh")
    assert words


# --- words -------------------------------------------------------------------------------------------

WORDS = [
    ("0 0/2 * * * ?", "每 2 分钟", "every 2 minutes"),
    ("0/15 * * * * ?", "每 15 秒", "every 15 seconds"),
    ("* * * * * *", "每秒", "every second"),
    ("0 * * * * ?", "每分钟", "every minute"),
    ("3 * * * * ?", "每分钟，第 3 秒", "every minute, second 3"),
    ("0 0 * * * ?", "每小时", "every hour"),
    ("15 30 * * * ?", "每小时，第 30 分，第 15 秒", "every hour, minute 30, second 15"),
    ("0 0 0/2 * * ?", "每 2 小时", "every 2 hours"),
    ("0 30 0/2 * * ?", "每 2 小时，第 30 分", "every 2 hours, minute 30"),
    ("0 0 12 * * ?", "每天 12:00:00", "every day at 12:00:00"),
    ("0 0 3 ? * MON-FRI", "每周一至周五 03:00:00", "every Monday to Friday at 03:00:00"),
    ("0 0 9-17 * * ?", "每天，9 至 17 时，第 0 分", "every day, hours 9 to 17, minute 0"),
    ("0 0/5 14,18 * * ?", "每天，14、18 时，每 5 分钟", "every day, hours 14 and 18, every 5 minutes"),
    (
        "0/15 0/2 * * * ?",
        "每小时，第 0 至 59（步长 2）分，每 15 秒",
        "every hour, minutes 0 to 59 (step 2), every 15 seconds",
    ),
    ("0 0/2 * * * ? 2030", "2030 年每天，每 2 分钟", "every day in 2030, every 2 minutes"),
    ("0 0 0 * 6 ?", "每年 6 月每天 00:00:00", "every day in June at 00:00:00"),
    (
        "0 10,44 14 ? 3 WED",
        "每年 3 月每周三 14:10:00、14:44:00",
        "every Wednesday in March at 14:10:00 and 14:44:00",
    ),
    (
        "0 15 10 L-2 * ?",
        "每月最后一天之前 2 天 10:15:00",
        "on the day 2 days before the last day of every month at 10:15:00",
    ),
    (
        "0 15 10 ? * 6L 2002-2005",
        "2002 至 2005 年每月最后一个周五 10:15:00",
        "on the last Friday of every month in 2002 to 2005 at 10:15:00",
    ),
    ("0 15 10 ? * 6#3", "每月第 3 个周五 10:15:00", "on the third Friday of every month at 10:15:00"),
    (
        "0 0 12 1/5 * ?",
        "每月 1 至 31（步长 5）日 12:00:00",
        "on days 1 to 31 (step 5) of every month at 12:00:00",
    ),
    ("0 11 11 11 11 ?", "每年 11 月 11 日 11:11:00", "on day 11 of November at 11:11:00"),
    (
        "0 0 0 15W,L * ?",
        "每月最接近 15 日的工作日、最后一天 00:00:00",
        "on the weekday nearest day 15 and the last day of every month at 00:00:00",
    ),
    ("0 0 0 LW * ?", "每月最后一个工作日 00:00:00", "on the last weekday of every month at 00:00:00"),
    (
        "0 0 0 L-1W * ?",
        "每月最接近最后一天之前 1 天的工作日 00:00:00",
        "on the weekday nearest 1 day before the last day of every month at 00:00:00",
    ),
]


@pytest.mark.parametrize(("expression", "chinese", "english"), WORDS)
def test_an_expression_is_said_in_words(expression: str, chinese: str, english: str) -> None:
    assert describe(expression, "zh") == chinese
    assert describe(expression, "en") == english


@pytest.mark.parametrize("expression", [row[0] for row in WORDS])
def test_words_keep_to_their_language(expression: str) -> None:
    assert not any(letter.isascii() and letter.isalpha() for letter in describe(expression, "zh"))
    assert describe(expression, "en").isascii()
