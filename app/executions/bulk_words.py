"""Why a bulk repair stands still, in words: who paused it, whose stop holds it, or which trade went wrong."""

from typing import Final

from app.audit.models import AuditEntry
from app.errors import ConflictError
from app.executions import bulk
from app.executions.bulk_course import MAY_NOT, STOPPED
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.models import OUTCOMES
from app.i18n import translate as _
from app.messages import words
from app.words import word

BY_STOP: Final = ("stopped by ", "local stop of ")
"""How the detail of what a stop has cancelled begins (app.agents.standing)."""


def halt_words(found: BulkRepair, entry: AuditEntry | None) -> str:
    """Return what a bulk repair was paused or stopped by, without the detail; '' where it was not.

    ``entry`` is the audit's line of it, None where none is kept.
    """
    if found.pause_code == bulk.BY_PERSON:
        return _by_person(found, entry)
    if found.pause_code == STOPPED and entry is not None and "stop_scope" in entry.detail:
        return _by_stop(entry)
    if found.pause_code == MAY_NOT:
        return _(
            "%(who)s 已停用，或不再可以在这个系统组别修复；另一个人可以以自己的名义继续", who=found.actor_name
        )
    if found.pause_code == "cancelled" and found.pause_detail.removeprefix("cancelled: ").startswith(BY_STOP):
        return _("紧急停止取消了这一笔")
    return _cause(found.pause_code, found.group.sys_code)


def item_words(item: BulkItem, sys_code: str) -> str:
    """Return what a trade came to, in words; '' while it has come to nothing."""
    return _cause(item.outcome, sys_code)


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
        "not_consistent": _("修复后核实，三方不一致"),
        "not_verified": _("修复后半小时内没能核实"),
        "trade_busy": _("正有命令在执行。"),
    }
    if code in own:
        return own[code]
    return word("outcome", code) if code in OUTCOMES else words(ConflictError(code, sys_code=sys_code))
