"""What of a row makes no sense, in the reader's language: the detail after ``malformed: `` and its like."""

import re
from collections.abc import Mapping
from typing import Any, Final

from flask_babel import lazy_gettext as _

from app.i18n import language

HEADS: Final[Mapping[str, Any]] = {
    "out_of_range": _("越界"),
    "meaningless": _("无意义"),
    "malformed": _("格式非法"),
}
"""How a row makes no sense, where it is also told what of it."""

COLUMNS: Final[Mapping[str, Any]] = {
    "TRD_NUM": _("交易号"),
    "TRD_KIND": _("业务种类"),
    "AMOUNT": _("金额"),
    "ACC_NO": _("客户账号"),
    "BANK_ACC_NO": _("银行账号"),
    "POSTING_MODE": _("记账方式"),
    "CREATED_AT": _("创建时间"),
    "UPDATED_AT": _("修改时间"),
}
"""Columns that the pages do not show by their name; any other is told by it."""

DETAILS: Final[tuple[tuple[str, Any], ...]] = (
    (
        "TRD_NUM on (?P<count>[0-9]+[+]?) rows, TRD_ID (?P<ids>.+)",
        _("同一交易号有 %(count)s 行（TRD_ID %(ids)s）"),
    ),
    ("(?P<column>[A-Z_]+_STATUS) missing", _("%(column)s 为空")),
    ("(?P<column>[A-Z_]+) missing", _("%(column)s为空")),
    ("(?P<column>[A-Z_]+) unreadable", _("%(column)s无法读取")),
    (
        "(?P<column>[A-Z_]+) with decimals = (?P<value>.+)",
        _("%(column)s = %(value)s（带小数，应为以分计的整数）"),
    ),
    ("(?P<column>[A-Z_]+) = (?P<value>.+)", _("%(column)s = %(value)s")),
)


def nonsense_words(reason: str) -> str | None:
    """Return ``malformed: AMOUNT missing`` and its like in words, None for any other reason.

    A detail in another form is shown as it came: an agent in another language words it as it likes.
    """
    head, colon, detail = reason.partition(": ")
    if not colon or head not in HEADS:
        return None
    return f"{HEADS[head]}{'：' if language() == 'zh' else ': '}{_detail(detail)}"


def _detail(told: str) -> str:
    for pattern, text in DETAILS:
        match = re.fullmatch(pattern, told)
        if match:
            return str(text) % {name: _value(name, value) for name, value in match.groupdict().items()}
    return told


def _value(name: str, value: str) -> str:
    if name == "column":
        return str(COLUMNS.get(value, value))
    return value.replace(", ", "、") if name == "ids" and language() == "zh" else value
