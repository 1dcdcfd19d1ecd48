"""The words of audit actions (``plan.update``) and objects; an unknown one is shown as it is kept."""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _

from app.audit.models import AuditEntry
from app.words import ORDER_VERBS, order_words, word

ACTIONS: Mapping[str, Any] = {
    "user.login": _("登录"),
    "user.logout": _("退出登录"),
    "user.login_failed": _("登录失败"),
    "user.locked": _("连续失败，锁定"),
    "user.create": _("新建用户"),
    "user.update": _("修改用户"),
    "user.disable": _("停用用户"),
    "user.enable": _("启用用户"),
    "user.reset_password": _("重置密码"),
    "user.change_password": _("修改自己的密码"),
    "user.settings": _("修改个人设置"),
    "group.create": _("新建系统组别"),
    "group.update": _("修改系统组别"),
    "agent.register": _("登记客户端"),
    "agent.rotate": _("更换客户端令牌"),
    "agent.revoke": _("吊销客户端"),
    "agent.local_stop": _("客户端本地停止"),
    "agent.local_stop_reason": _("客户端本地停止改了原因"),
    "agent.local_stop_end": _("客户端本地停止解除"),
    "stop.set": _("紧急停止"),
    "stop.lift": _("解除紧急停止"),
    "plan.create": _("新建方案"),
    "plan.update": _("修改方案"),
    "plan.delete": _("删除方案"),
    "breaker.trip": _("熔断"),
    "breaker.reset": _("复位熔断"),
    "schedule.set": _("设置定时收集"),
    "schedule.delete": _("删除定时收集"),
    "run.start": _("发起收集"),
    "run.cancel": _("取消收集"),
    "anomaly.ignore": _("忽略异常"),
    "anomaly.verify": _("要求核实"),
    "anomaly.claim_outside": _("声明已在外部处理"),
    "anomaly.dry_run": _("试运行"),
    "attempt.start": _("执行修复"),
    "attempt.start_many": _("批量执行修复"),
    "bulk.start": _("开始批量修复"),
    "bulk.pause": _("暂停批量修复"),
    "bulk.resume": _("继续批量修复"),
    "bulk.stop": _("停止批量修复"),
    "bulk.finish": _("批量修复完成"),
    "bulk.beyond": _("批量修复越过限额或熔断"),
    "attempt.retry": _("再次执行修复"),
    "attempt.cancel": _("取消执行"),
    "alert_channel.create": _("新建告警渠道"),
    "alert_channel.update": _("修改告警渠道"),
    "alert_channel.delete": _("删除告警渠道"),
    "alert_channel.test": _("测试告警渠道"),
    "alert.send_again": _("再发告警"),
    "alert_silence.begin": _("静默告警"),
    "alert_silence.end": _("结束静默"),
    "order.propose": _("提交资金指令"),
    "order.confirm": _("复核资金指令"),
    "order.reject": _("驳回资金指令"),
    "order.withdraw": _("撤回资金指令"),
    "order.issue": _("发出资金指令"),
    "order.done": _("资金指令结束"),
    "order.expired": _("资金指令失效"),
    "order.limit": _("修改复核限额"),
}

OBJECTS: Mapping[str, Any] = {
    "user": _("用户"),
    "group": _("系统组别"),
    "agent": _("客户端"),
    "stop": _("紧急停止"),
    "plan": _("方案"),
    "breaker": _("熔断"),
    "schedule": _("定时收集"),
    "run": _("收集"),
    "anomaly": _("异常"),
    "execution": _("修复执行"),
    "attempt": _("修复执行"),
    "command": _("命令"),
    "alert": _("告警"),
    "alert_channel": _("告警渠道"),
    "alert_silence": _("静默"),
    "bulk": _("批量修复"),
    "order": _("资金指令"),
}


def action_words(action: str) -> str:
    """Return an action in words."""
    return str(ACTIONS.get(action, action))


def entry_words(entry: AuditEntry) -> str:
    """Return what was done, of an order also which one: 提交再付."""
    verb = entry.action.removeprefix("order.")
    if entry.object_type == "order" and verb in ORDER_VERBS:
        return order_words(verb, entry.detail.get("action"))
    return action_words(entry.action)


def object_words(object_type: str) -> str:
    """Return a kind of object in words."""
    return str(OBJECTS.get(object_type, object_type))


def name_words(entry: AuditEntry) -> str:
    """Return what an entry is about by its name; '' where it has none."""
    if entry.object_type == "stop":
        return entry.object_name or str(_("全部修复"))
    if entry.object_type == "alert_silence":
        return word("alert_kind", entry.object_name) if entry.object_name else str(_("全部事件"))
    return entry.object_name
