"""Anomalies as CSV for a spreadsheet: UTF-8 with a byte order mark, and no cell is a formula."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.facts import ROW_COLUMNS
from app.anomalies.models import Anomaly
from app.i18n import choose_zone
from app.i18n import translate as _
from app.plans.models import Plan
from app.presentation import fixer_name, yuan
from app.reasons import reason_words
from app.words import word

BYTE_ORDER_MARK: Final = "\ufeff"
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""
LINES_A_PART: Final = 200

Plans = Mapping[tuple[int, str], Plan]


def csv_parts(anomalies: Iterable[Anomaly], plans: Plans) -> Iterator[str]:
    """Yield the file, LINES_A_PART rows at a time, in the reader's language and zone."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    buffer.write(BYTE_ORDER_MARK)
    writer.writerow(_heads())
    cells = _Cells(plans)
    for number, anomaly in enumerate(anomalies, 1):
        writer.writerow([safe_cell(cell) for cell in cells.of(anomaly)])
        if number % LINES_A_PART == 0:
            yield _take(buffer)
    yield _take(buffer)


def safe_cell(value: object) -> str:
    """Return a value as text that no spreadsheet runs: a quote goes before what would begin a formula."""
    if value is None:
        return ""
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _take(buffer: io.StringIO) -> str:
    part = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return part


def _heads() -> list[str]:
    return [
        _("编号"),
        _("交易号"),
        _("系统组别"),
        _("类型"),
        _("状态"),
        _("结果"),
        _("判断"),
        _("原因"),
        _("修复代号"),
        _("说明"),
        _("方案"),
        _("方案等级"),
        _("金额（元）"),
        _("币种"),
        _("渠道"),
        _("失败次数"),
        _("执行次数"),
        _("首次发现"),
        _("最近发现"),
        _("结束于"),
        *ROW_COLUMNS,
    ]


class _Cells:
    """Turns anomalies into cells; each word is looked up once a file, for a file may have 100,000 rows."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._word, self._reason, self._fixer = cache(word), cache(reason_words), cache(fixer_name)
        self._zone = ZoneInfo(choose_zone())
        self._no_plan = _("无方案")

    def of(self, anomaly: Anomaly) -> list[Any]:
        plan = self._plans.get((anomaly.group_id, anomaly.fixer_code or ""))
        return [
            anomaly.id,
            anomaly.trade_no,
            anomaly.group.sys_code,
            self._word("kind", anomaly.kind) if anomaly.kind else "",
            self._word("anomaly", anomaly.state),
            self._word("resolution", anomaly.resolution) if anomaly.resolution else "",
            self._word("decision", anomaly.outcome),
            self._reason(anomaly.reason),
            anomaly.fixer_code,
            self._fixer(anomaly.fixer_code),
            self._word("mode", plan.mode) if plan else self._no_plan,
            self._word("level", plan.level) if plan else "",
            "" if anomaly.amount_minor is None else yuan(anomaly.amount_minor).replace(",", ""),
            anomaly.currency,
            anomaly.channel,
            anomaly.failed_attempts,
            anomaly.attempts,
            self._time(anomaly.first_seen_at),
            self._time(anomaly.last_seen_at),
            self._time(anomaly.closed_at),
            *(anomaly.row.get(column) for column in ROW_COLUMNS),
        ]

    def _time(self, at: datetime | None) -> str:
        return "" if at is None else at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S")
