"""Limits and breakers in words: why an anomaly waits for a click, why a plan or a group has stopped."""

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask
from flask_babel import lazy_gettext as _

from app.anomalies.models import Anomaly
from app.anomalies.states import Hold
from app.guards.models import Breaker
from app.presentation import DASH, money, yuan
from app.words import word

HOLDS: Final[Mapping[str, Any]] = {
    "limit_trade_minor": _("单笔金额上限 %(limit)s，这一笔 %(amount)s"),
    "limit_hour_minor": _("每小时金额上限 %(limit)s；当时近 60 分钟已自动执行 %(used)s，这一笔 %(amount)s"),
    "limit_day_minor": _("每日金额上限 %(limit)s；当时当日已自动执行 %(used)s，这一笔 %(amount)s"),
    "limit_hour_count": _("每小时笔数上限 %(limit)s 笔；当时近 60 分钟已自动执行 %(used)s 笔"),
    "limit_day_count": _("每日笔数上限 %(limit)s 笔；当时当日已自动执行 %(used)s 笔"),
    "amount_unknown": _("金额或币种无法读取；方案设有金额限额，因此不自动执行"),
}
"""Why an anomaly is held, with its figures."""

CAUSES: Final[Mapping[str, Any]] = {
    "failures": _(
        "一小时内最后 %(attempts)s 次自动执行中，失败、待人工或结果未知 %(failed)s 次，"
        "达到阈值 %(threshold)s 次"
    ),
    "returns": _("24 小时内有 %(count)s 笔已修复的交易再次异常，达到阈值 %(threshold)s 笔"),
    "amount": _("近 1 小时已自动执行 %(used)s，下一笔 %(amount)s 将超过阈值 %(threshold)s，因此没有执行"),
}
"""Why a breaker tripped, with its figures."""


def hold_words(anomaly: Anomaly) -> str:
    """Return why an anomaly is held, with its figures; '' where nothing holds it."""
    if anomaly.hold_code is None:
        return ""
    return _limit_words(anomaly.hold_code, anomaly.hold_detail or {})


def limit_words(hold: Hold) -> str:
    """Return which limit a trade would pass, with its figures."""
    return _limit_words(hold.code, hold.detail)


def _limit_words(code: str, detail: Mapping[str, Any]) -> str:
    text = HOLDS.get(code)
    return code if text is None else str(text) % _figures(detail, is_money=code.endswith("_minor"))


def breaker_cause(breaker: Breaker) -> str:
    """Return why a breaker tripped, with its figures."""
    return cause_words(breaker.code, breaker.figures)


def cause_words(code: str, figures: Mapping[str, Any]) -> str:
    """Return the words of what trips a breaker, with the figures it tripped on."""
    text = CAUSES.get(code)
    if text is None:
        return code
    return str(text) % _figures(figures, is_money=code == "amount")


def tripped_words(detail: Mapping[str, Any]) -> str:
    """Return what tripped a breaker, of what the audit trail keeps of it; '' where it does not say."""
    return cause_words(str(detail["code"]), detail.get("figures") or {}) if detail.get("code") else ""


def sums_words(amounts: Mapping[str, int]) -> str:
    """Return amounts by currency in one line; a dash where none can be read."""
    return " + ".join(money(minor, currency) for currency, minor in sorted(amounts.items())) or DASH


def beyond_words(detail: Mapping[str, Any]) -> str:
    """Return what a click went beyond, of what the audit trail keeps of it (Beyond.told); '' for nothing.

    Of what was written before amounts were kept it tells without them.
    """
    told = []
    if detail.get("breakers"):
        ids = ", ".join(f"#{one}" for one in detail["breakers"])
        told.append(str(_("越过熔断 %(ids)s")) % {"ids": ids} + _how_much(detail, "stopped", "stopped_minor"))
    if detail.get("over_limit"):
        told.append(str(_("超出限额")) + _how_much(detail, "over_limit", "over_minor"))
    return " · ".join(told)


def _how_much(detail: Mapping[str, Any], count: str, amounts: str) -> str:
    if count not in detail:
        return ""
    figures = {"n": f"{detail[count]:,}"}
    if amounts not in detail:
        return str(_("：%(n)s 笔")) % figures
    return str(_("：%(n)s 笔，%(amount)s")) % {**figures, "amount": sums_words(detail[amounts])}


def breaker_title(breaker: Breaker) -> str:
    """Return what has stopped, or had."""
    name = breaker.subject_name
    if breaker.reset_at is not None:
        return word("breaker_scope", breaker.scope) + " " + name
    text = _("方案 %(name)s 已熔断") if breaker.scope == "plan" else _("系统组别 %(name)s 已熔断")
    return str(text) % {"name": name}


def _figures(figures: Mapping[str, Any], *, is_money: bool) -> "_Known":
    shown: dict[str, Any] = dict(figures)
    currency = str(figures.get("currency", ""))
    for name in ("limit", "used", "amount", "threshold") if is_money else ():
        value = figures.get(name)
        shown[name] = money(value, currency) if currency else yuan(value)
    return _Known(shown)


class _Known(dict[str, Any]):
    """Figures of a text; one that was not kept shows as a dash."""

    def __missing__(self, key: str) -> str:
        return DASH


def init_app(app: Flask) -> None:
    """Add the filters to the templates."""
    app.jinja_env.filters.update(
        hold_words=hold_words,
        limit_words=limit_words,
        breaker_cause=breaker_cause,
        breaker_title=breaker_title,
        sums=sums_words,
        beyond_words=beyond_words,
        tripped_words=tripped_words,
    )
