"""Why a bulk repair stands still, in words: who paused it, whose stop holds it, or which trade went wrong."""

from collections.abc import Mapping
from typing import Any, Final

from flask import Flask

from app.audit.models import AuditEntry
from app.errors import ConflictError
from app.executions import bulk_choice
from app.executions.bulk_course import MAY_NOT, STOPPED, TAKEN, UNKNOWN
from app.executions.bulk_models import AWAITED, BY_PERSON, BulkItem, BulkRepair
from app.executions.models import OUTCOMES
from app.guards.words import beyond_words
from app.i18n import translate as _
from app.messages import words
from app.presentation import money
from app.reasons import fixer_name
from app.words import word

BY_STOP: Final = ("stopped by ", "local stop of ")
"""How the detail of what a stop has cancelled begins (app.agents.standing)."""


OF_VERIFY: Final = ("not_consistent", "not_verified")
"""What a trade came to that was repaired, and then verified."""


def halt_words(found: BulkRepair, entry: AuditEntry | None) -> str:
    """Return what a bulk repair was paused or stopped by, without the detail; '' where it was not.

    ``entry`` is the audit's line of it, None where none is kept.
    """
    if found.pause_code == BY_PERSON:
        return _by_person(found, entry)
    if found.pause_code == STOPPED and entry is not None and "stop_scope" in entry.detail:
        return _by_stop(entry)
    if found.pause_code == MAY_NOT:
        return _may_not(found.actor_name, "" if entry is None else entry.detail.get("cause", ""))
    return _of_trade(found.pause_code, found.pause_detail, found.group.sys_code)


def advice_words(found: BulkRepair) -> str:
    """Return what a click on 继续 does for a paused one."""
    if found.pause_code == MAY_NOT:
        return _("由另一个人点击“继续”，之后以这个人的名义进行。")
    if found.pause_code in AWAITED:
        return _("“继续”：等待银行的一笔会自动核实，不再占用这一批；接着修复下一笔。")
    if found.pause_code in OUTCOMES or found.pause_code in OF_VERIFY:
        return _("“继续”：没有修好的一笔由它自己的修复处理，接着修复下一笔。")
    return _("“继续”：接着修复没有开始的交易。")


def history_words(entry: AuditEntry) -> str:
    """Return why something happened to a bulk repair, beside who did it and their reason; '' for nothing."""
    code, name = entry.detail.get("code", ""), entry.detail.get("in_name_of", "")
    if entry.action == "bulk.resume":
        return _("此前以 %(who)s 的名义进行", who=name) if name else ""
    if entry.action == "bulk.beyond":
        return beyond_words(entry.detail)
    if entry.action != "bulk.pause" or code == BY_PERSON:
        return ""
    if code == STOPPED and "stop_scope" in entry.detail:
        return _by_stop(entry)
    if code == MAY_NOT:
        return _may_not(name, entry.detail.get("cause", ""))
    return _of_trade(code, entry.reason, entry.sys_code or "")


def _of_trade(code: str, detail: str, sys_code: str) -> str:
    if code == "cancelled" and detail.removeprefix("cancelled: ").startswith(BY_STOP):
        return _("紧急停止取消了这一笔")
    return _cause(code, sys_code)


def _may_not(who: str, cause: str) -> str:
    return {
        "gone": _("%(who)s 的账号已不存在", who=who),
        "disabled": _("%(who)s 已停用", who=who),
        "role": _("%(who)s 不再有修复的权限", who=who),
        "group": _("%(who)s 不再能操作这个系统组别", who=who),
    }.get(cause) or _("%(who)s 不再可以在这个系统组别修复", who=who)


def told_words(told: Mapping[str, Any]) -> str:
    """Return why a bulk repair was paused, of what an alert of it tells."""
    code = str(told.get("code") or "")
    if code == MAY_NOT:
        return _may_not(str(told.get("in_name_of") or ""), str(told.get("cause") or ""))
    return _cause(code, "")


def item_words(item: BulkItem, sys_code: str) -> str:
    """Return what a trade came to, in words; '' while it has come to nothing."""
    if item.outcome in bulk_choice.CODES:
        return _changed(item)
    return _cause(item.outcome, sys_code)


def _changed(item: BulkItem) -> str:
    if item.outcome == bulk_choice.AMOUNT_CHANGED and not bulk_choice.chosen_of(item).is_readable:
        return _("选择时读不出金额，之后读出来了；请重新选择")
    amount = money(item.amount_minor, item.currency)
    return {
        bulk_choice.FIXER_CHANGED: _(
            "选择时的修复是“%(fixer)s”，之后变了；请重新选择", fixer=fixer_name(item.fixer_code)
        ),
        bulk_choice.AMOUNT_CHANGED: _("选择时的金额是 %(amount)s，之后变了；请重新选择", amount=amount),
        bulk_choice.AMOUNT_UNREADABLE: _("选择时的金额是 %(amount)s，之后读不出；请重新选择", amount=amount),
        bulk_choice.CHOICE_UNKNOWN: _("没有留下选择时的金额和修复；请重新选择"),
    }[item.outcome]


def _by_person(found: BulkRepair, entry: AuditEntry | None) -> str:
    is_stopped = found.state == "stopped"
    if entry is None:
        return _("由人停止") if is_stopped else _("由人暂停")
    who = entry.actor_name
    return _("由 %(who)s 停止", who=who) if is_stopped else _("由 %(who)s 暂停", who=who)


def _by_stop(entry: AuditEntry) -> str:
    who, name = entry.detail.get("stop_by", ""), entry.detail.get("stop_name", "")
    return {
        "all": _("%(who)s 紧急停止了全部修复", who=who),
        "group": _("%(who)s 紧急停止了系统组别 %(name)s", who=who, name=name),
        "agent": _("%(who)s 紧急停止了客户端 %(name)s", who=who, name=name),
        "here": _("客户端 %(name)s 在它的主机上停止了", name=name),
    }[entry.detail["stop_scope"]]


def _cause(code: str, sys_code: str) -> str:
    own = {
        "": "",
        "wait": _("等待银行"),
        "not_consistent": _("修复后核实，三方不一致"),
        "not_verified": _("修复后半小时内没能核实"),
        "trade_busy": _("正有命令在执行。"),
        TAKEN: _("之后进了另一个批量修复，由那一个处理"),
        UNKNOWN: _("上一次执行的结果未知，还没有核实清楚；核实之后请重新选择"),
    }
    if code in own:
        return own[code]
    return word("outcome", code) if code in OUTCOMES else words(ConflictError(code, sys_code=sys_code))


def init_app(app: Flask) -> None:
    """Add the filter ``bulk_history`` to the templates."""
    app.jinja_env.filters["bulk_history"] = history_words
