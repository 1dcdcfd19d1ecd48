"""What an entry of the audit trail keeps in ``detail``, line by line for a person.

What is not known here stands in the raw data only; so does what other rooms tell of it in a sentence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flask_babel import lazy_gettext as _

from app.audit.models import AuditEntry
from app.i18n import language
from app.presentation import DASH, fixer_name, local_time, money, yuan
from app.words import WORDS, word

LABELS: Final[Mapping[str, Any]] = {
    **WORDS["plan_parameter"],
    # people and groups
    "name": _("名称"),
    "trade_table": _("交易表"),
    "is_enabled": _("启用"),
    "role": _("角色"),
    "display_name": _("姓名"),
    "sees_all_groups": _("全部系统组别"),
    "groups": _("系统组别"),
    "locale": _("语言"),
    # plans, schedules and collections
    "version": _("版本"),
    "cron": _("收集时间"),
    "fixer_codes": _("修复代号"),
    "window_hours": _("回看小时数"),
    "runs_on_first_connect": _("首次连接即收集"),
    "again_of": _("重新收集自"),
    "trigger": _("触发方式"),
    # repairs and orders
    "number": _("第几次执行"),
    "anomaly_id": _("异常编号"),
    "reference": _("单号或出处"),
    "action": _("指令"),
    "amount_minor": _("金额"),
    "needs_second": _("须另一个人复核"),
    "proposed_by": _("提交人"),
    "outcome": _("结果"),
    "second_person_above_minor": _("复核限额"),
    "from": _("改变前"),
    "to": _("改变后"),
    "stage": _("阶段"),
    "trade_no": _("交易号"),
    "total": _("笔数"),
    # stops, breakers and alerts
    "scope": _("范围"),
    "set_by": _("停止人"),
    "set_for": _("停止原因"),
    "set_at": _("停止时间"),
    "kind": _("事件"),
    "kinds": _("事件"),
    "until": _("静默至"),
    "channel": _("告警渠道"),
    "attempts": _("发送次数"),
    "sent": _("已送出"),
    "grouping_seconds": _("合并秒数"),
    "quiet_from": _("免打扰从"),
    "quiet_to": _("免打扰到"),
}
CHANGES: Final = (".update", ".settings", ".limit", ".local_stop_reason")
"""How the actions end whose lists of two are what it was and what it is."""
NESTED: Final = ("changed", "values")
KINDS: Final[Mapping[str, str]] = {
    "mode": "mode",
    "level": "level",
    "role": "role",
    "action": "order_action",
    "kind": "alert_kind",
    "kinds": "alert_kind",
}
OF_OBJECT: Final[Mapping[tuple[str, str], str]] = {
    ("plan", "state"): "plan",
    ("bulk", "from"): "bulk",
    ("bulk", "to"): "bulk",
    ("bulk", "trigger"): "attempt_trigger",
    ("attempt", "trigger"): "attempt_trigger",
    ("run", "trigger"): "run_trigger",
    ("breaker", "scope"): "breaker_scope",
    ("order", "outcome"): "outcome",
    ("stop", "scope"): "alert_scope",
    ("agent", "scope"): "alert_scope",
}
"""Which words of app.words hold the values of a field; a field may mean another thing of another object."""
TIMES: Final = ("until", "set_at")


@dataclass(frozen=True)
class Line:
    """One field; ``before`` is what it was, None where nothing tells of a change."""

    label: str
    value: str
    before: str | None = None


def lines_of(entry: AuditEntry) -> list[Line]:
    """Return the fields known here, in the order they are kept."""
    is_change = entry.action.endswith(CHANGES)
    currency = str(entry.detail.get("currency") or "CNY")
    lines = []
    for name, value in _flat(entry.detail):
        kind = KINDS.get(name) or OF_OBJECT.get((entry.object_type, name), "")
        label = str(LABELS[name])
        if is_change and isinstance(value, list) and len(value) == 2:
            before, after = (_said(name, one, kind, currency) for one in value)
            lines.append(Line(label, after, before))
        else:
            lines.append(Line(label, _said(name, value, kind, currency)))
    return lines


def _flat(detail: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in detail.items():
        if name in NESTED and isinstance(value, dict):
            yield from _flat(value)
        elif name in LABELS:
            yield name, value


def _said(name: str, value: Any, kind: str, currency: str) -> str:
    if value is None or value == "" or value == []:
        return str(_("不限")) if value is None and name.startswith("limit_") else DASH
    if isinstance(value, list):
        joined = "、" if language() == "zh" else ", "
        return joined.join(_said(name, one, kind, currency) for one in value)
    if isinstance(value, bool):
        return str(_("是") if value else _("否"))
    if name.endswith("_minor") and isinstance(value, int):
        # A bound of a plan holds for each currency by itself.
        return yuan(value) if name in WORDS["plan_parameter"] else money(value, currency)
    if kind:
        return word(kind, value)
    if name in ("fixer_code", "fixer_codes"):
        return fixer_name(str(value))
    return local_time(str(value)) if name in TIMES else str(value)
