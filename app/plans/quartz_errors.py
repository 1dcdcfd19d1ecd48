"""Why a Quartz expression is refused, in English and Chinese."""

from typing import Literal

Locale = Literal["zh", "en"]
FieldName = Literal[
    "seconds", "minutes", "hours", "day_of_month", "month", "day_of_week", "year", "expression"
]

FIELD_LABELS: dict[Locale, dict[FieldName, str]] = {
    "en": {
        "seconds": "Seconds",
        "minutes": "Minutes",
        "hours": "Hours",
        "day_of_month": "Day of month",
        "month": "Month",
        "day_of_week": "Day of week",
        "year": "Year",
        "expression": "Expression",
    },
    "zh": {
        "seconds": "秒",
        "minutes": "分",
        "hours": "时",
        "day_of_month": "日",
        "month": "月",
        "day_of_week": "星期",
        "year": "年",
        "expression": "表达式",
    },
}

REASONS: dict[str, dict[Locale, str]] = {
    "empty": {"en": "it is empty", "zh": "内容为空"},
    "field_count": {
        "en": "fields found: {count}; Quartz wants six or seven, seconds first",
        "zh": "共有 {count} 个字段；Quartz 表达式应为六个或七个字段，以秒开头",
    },
    "both_days": {
        "en": "Support for specifying both a day-of-week AND a day-of-month parameter is not implemented; "
        "write ? in one of the two",
        "zh": "不能同时指定星期和日，请将其中之一写为 ?",
    },
    "no_day": {
        "en": "? cannot stand in both day of month and day of week",
        "zh": "日和星期不能同时为 ?",
    },
    "value_range": {
        "en": "{text} is not between {low} and {high}",
        "zh": "{text} 不在 {low} 到 {high} 之间",
    },
    "unknown_name": {
        "en": "{text} is not one of the names {names}",
        "zh": "{text} 不是有效名称，可用名称为 {names}",
    },
    "not_a_value": {"en": "“{text}” is not a value of this field", "zh": "“{text}”不是该字段的值"},
    "empty_item": {
        "en": "the list “{text}” has an empty place beside a comma",
        "zh": "列表“{text}”的逗号旁缺少值",
    },
    "range_incomplete": {
        "en": "the range “{text}” lacks its beginning or its end",
        "zh": "范围“{text}”缺少起点或终点",
    },
    "range_backwards": {
        "en": "the range “{text}” ends before it begins",
        "zh": "范围“{text}”的终点早于起点",
    },
    "step_missing": {
        "en": "“{text}” needs a whole number after the /",
        "zh": "“{text}”的 / 之后应为整数",
    },
    "step_range": {
        "en": "the step {text} is not between 1 and {high}",
        "zh": "步长 {text} 不在 1 到 {high} 之间",
    },
    "letter_misplaced": {
        "en": "{letter} cannot be used as in “{text}” in this field",
        "zh": "该字段中不能像“{text}”这样使用 {letter}",
    },
    "question_alone": {
        "en": "? must stand alone, not as in “{text}”",
        "zh": "? 只能单独使用，不能写成“{text}”",
    },
    "nth_range": {
        "en": "a number from 1 to 5 must follow # in “{text}”",
        "zh": "“{text}”中 # 之后应为 1 到 5 的数字",
    },
    "offset_range": {
        "en": "the offset after L- in “{text}” is not between 0 and {high}",
        "zh": "“{text}”中 L- 之后的天数不在 0 到 {high} 之间",
    },
    "special_in_list": {
        "en": "L and # cannot stand beside other weekdays, as in “{text}”",
        "zh": "L 和 # 不能与其他星期并列，如“{text}”",
    },
}


class QuartzError(ValueError):
    """The expression is not valid Quartz cron.

    `field` names the field at fault, `reason` is a key of REASONS and `params` fill its sentence.
    `str()` is the English sentence; `translate_reason` gives either language.
    """

    def __init__(self, field: FieldName, reason: str, **params: str | int) -> None:
        self.field = field
        self.reason = reason
        self.params = params
        super().__init__(translate_reason(self, "en"))


def translate_reason(error: QuartzError, locale: Locale) -> str:
    """One sentence that names the field and says why, e.g. `Hours: 24 is not between 0 and 23`."""
    colon = "：" if locale == "zh" else ": "
    sentence = REASONS[error.reason][locale].format(**error.params)
    return f"{FIELD_LABELS[locale][error.field]}{colon}{sentence}"
