"""The words a person reads for the stable words the code keeps: states, levels, roles, kinds."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flask_babel import lazy_gettext as _


class Look(NamedTuple):
    """How a state is shown: a colour of tables.css, an icon of the sprite, its words."""

    color: str
    icon: str
    words: Any


LOOKS: Mapping[str, Mapping[str, Look]] = {
    "anomaly": {
        "open": Look("red", "alert-circle", _("待修复")),
        "repairing": Look("blue", "loader-2", _("修复中")),
        "repaired": Look("green", "check", _("已修复")),
        "waiting": Look("amber", "clock", _("等待银行")),
        "exhausted": Look("red", "repeat", _("重试耗尽")),
        "needs_human": Look("violet", "user-exclamation", _("待人工")),
        "healed": Look("green", "sparkles", _("已自愈")),
        "ignored": Look("grey", "ban", _("已忽略")),
    },
    "resolution": {
        "success": Look("green", "circle-check", _("修复为成功")),
        "confirmed_failed": Look("amber", "circle-x", _("确认失败")),
    },
    "command": {
        "pending": Look("grey", "clock-pause", _("待发送")),
        "sent": Look("blue", "send", _("已发送")),
        "accepted": Look("blue", "inbox", _("已接收")),
        "running": Look("blue", "loader-2", _("执行中")),
        "finished": Look("green", "check", _("已完成")),
        "rejected": Look("red", "x", _("被拒绝")),
        "cancelled": Look("grey", "ban", _("已取消")),
        "expired": Look("amber", "clock-x", _("已过期")),
        "indeterminate": Look("violet", "help-circle", _("结果不明")),
        "superseded": Look("grey", "arrow-narrow-right", _("已被取代")),
    },
    "run": {
        "waiting": Look("amber", "clock", _("等待客户端")),
        "running": Look("blue", "loader-2", _("收集中")),
        "finished": Look("green", "check", _("已完成")),
        "incomplete": Look("amber", "alert-triangle", _("不完整")),
        "failed": Look("red", "x", _("失败")),
        "cancelled": Look("grey", "ban", _("已取消")),
    },
    "bulk": {
        "running": Look("blue", "loader-2", _("进行中")),
        "paused": Look("amber", "player-pause", _("已暂停")),
        "finished": Look("green", "check", _("已完成")),
        "stopped": Look("grey", "player-stop", _("已停止")),
    },
    "bulk_item": {
        "pending": Look("grey", "clock", _("未开始")),
        "repairing": Look("blue", "loader-2", _("修复中")),
        "verifying": Look("blue", "eye-check", _("核实中")),
        "done": Look("green", "check", _("已修好")),
        "waiting": Look("amber", "clock", _("等待银行")),
        "failed": Look("red", "x", _("没有修好")),
        "skipped": Look("grey", "arrow-narrow-right", _("已跳过")),
    },
    "task": {
        "pending": Look("grey", "clock", _("待开始")),
        "running": Look("blue", "loader-2", _("收集中")),
        "finished": Look("green", "check", _("已完成")),
        "incomplete": Look("amber", "alert-triangle", _("不完整")),
        "failed": Look("red", "x", _("失败")),
        "cancelled": Look("grey", "ban", _("已取消")),
    },
    "outcome": {
        "running": Look("blue", "loader-2", _("执行中")),
        "repaired": Look("green", "check", _("已修复")),
        "already_consistent": Look("green", "sparkles", _("本已一致")),
        "failed": Look("red", "x", _("失败")),
        "unknown": Look("amber", "help-circle", _("结果未知")),
        "wait": Look("amber", "clock", _("等待")),
        "refused": Look("amber", "refresh", _("数据已变，未执行")),
        "needs_human": Look("violet", "user-exclamation", _("待人工")),
        "cancelled": Look("grey", "ban", _("已取消")),
        "rejected": Look("red", "x", _("被拒绝")),
        "expired": Look("amber", "clock-x", _("已过期")),
        "superseded": Look("grey", "arrow-narrow-right", _("已被取代")),
    },
    "order": {
        "proposed": Look("violet", "users", _("待复核")),
        "issued": Look("blue", "send", _("已发出")),
        "done": Look("green", "check", _("已完成")),
        "rejected": Look("red", "ban", _("已驳回")),
        "withdrawn": Look("grey", "x", _("已撤回")),
        "expired": Look("amber", "clock-x", _("已失效")),
    },
    "step": {
        "intended": Look("blue", "loader-2", _("进行中")),
        "done": Look("green", "check", _("完成")),
        "failed": Look("red", "x", _("失败")),
        "skipped": Look("grey", "minus", _("跳过")),
    },
    "plan": {
        "normal": Look("green", "check", _("正常")),
        "disabled": Look("grey", "ban", _("失效")),
    },
    "mode": {
        "auto": Look("blue", "robot", _("自动")),
        "manual": Look("violet", "hand-click", _("手动")),
    },
    "agent": {
        "online": Look("green", "plug", _("在线")),
        "stale": Look("amber", "clock", _("无响应")),
        "offline": Look("red", "plug-connected-x", _("离线")),
        "revoked": Look("grey", "ban", _("已吊销")),
    },
    "user": {
        "enabled": Look("green", "check", _("正常")),
        "disabled": Look("grey", "ban", _("已停用")),
    },
    "group": {
        "enabled": Look("green", "check", _("正常")),
        "disabled": Look("grey", "ban", _("已停用")),
    },
    "stop": {
        "standing": Look("red", "player-stop", _("紧急停止中")),
        "here": Look("red", "player-stop", _("本地已停止")),
        "lifted": Look("grey", "player-play", _("已解除")),
    },
    "direction": {
        "in": Look("green", "arrow-down", _("收")),
        "out": Look("blue", "arrow-up", _("发")),
    },
    "ledger": {
        "NONE": Look("grey", "minus", _("未记账")),
        "POSTED": Look("green", "check", _("已记账")),
        "MISMATCH": Look("red", "alert-triangle", _("不相符")),
        "UNKNOWN": Look("amber", "help-circle", _("未知")),
    },
    "bank": {
        "SUCCESS": Look("green", "check", _("银行成功")),
        "FAIL": Look("red", "x", _("银行失败")),
        "NO_REQUEST": Look("amber", "help-circle", _("无法查询")),
        "MISMATCH": Look("red", "alert-triangle", _("不相符")),
        "UNKNOWN": Look("amber", "help-circle", _("未知")),
    },
    "bank_request": {
        "accepted": Look("blue", "clock", _("已受理")),
        "success": Look("green", "check", _("成功")),
        "failed": Look("red", "x", _("失败")),
        "not_found": Look("grey", "minus", _("查无此单")),
        "unknown": Look("amber", "help-circle", _("未知")),
    },
    "trade_status": {
        "processing": Look("amber", "clock", _("处理中")),
        "success": Look("green", "check", _("成功")),
        "failed": Look("red", "x", _("失败")),
    },
    "breaker": {
        "tripped": Look("red", "lock", _("已熔断")),
        "reset": Look("green", "lock-open", _("已复位")),
        "gone": Look("grey", "trash", _("方案已删除")),
    },
    "foretold": {
        "repair": Look("blue", "tool", _("会修复")),
        "wait": Look("amber", "clock", _("会等待")),
        "human": Look("violet", "user-exclamation", _("会转人工")),
        "consistent": Look("green", "check", _("已经一致")),
    },
    "comparison": {
        "matched": Look("green", "check", _("与预测一致")),
        "differs": Look("red", "alert-triangle", _("与预测不同")),
    },
    "decision": {
        "repair": Look("blue", "tool", _("可修复")),
        "wait": Look("amber", "clock", _("等待")),
        "human": Look("violet", "user-exclamation", _("需人工")),
        "consistent": Look("green", "check", _("一致")),
    },
    "alert_kind": {
        "needs_human": Look("violet", "user-exclamation", _("待人工")),
        "exhausted": Look("red", "repeat", _("重试耗尽")),
        "breaker": Look("amber", "alert-triangle", _("熔断")),
        "agent_offline": Look("red", "plug-connected-x", _("客户端离线")),
        "stop_switch": Look("red", "player-stop", _("紧急停止")),
        "bulk_paused": Look("amber", "player-pause", _("批量修复暂停")),
        "order_waits": Look("violet", "users", _("资金指令待复核")),
        "test": Look("grey", "send", _("测试")),
    },
    "delivery": {
        "pending": Look("grey", "clock", _("待发送")),
        "sending": Look("blue", "loader-2", _("发送中")),
        "sent": Look("green", "check", _("已送出")),
        "failed": Look("red", "x", _("发送失败")),
        "silenced": Look("grey", "bell-off", _("已静默")),
        "dropped": Look("grey", "minus", _("未发送")),
    },
    "channel": {
        "working": Look("green", "check", _("正常")),
        "unused": Look("grey", "circle-dashed", _("还没有发送")),
        "failing": Look("red", "alert-circle", _("发送失败")),
        "disabled": Look("grey", "ban", _("已停用")),
    },
}

WORDS: Mapping[str, Mapping[str, Any]] = {
    "level": {"0": _("不重要"), "1": _("一般"), "2": _("重要"), "3": _("非常重要")},
    "weekday": {
        "1": _("周一"),
        "2": _("周二"),
        "3": _("周三"),
        "4": _("周四"),
        "5": _("周五"),
        "6": _("周六"),
        "7": _("周日"),
    },
    "plan_parameter": {
        "sys_code": _("系统组别"),
        "fixer_code": _("修复代号"),
        "max_retries": _("最大重试次数"),
        "retry_cron": _("重试间隔"),
        "mode": _("执行方式"),
        "state": _("方案状态"),
        "level": _("方案等级"),
        "description": _("描述"),
        "zone": _("时区"),
        "is_shadow": _("影子运行"),
        "limit_trade_minor": _("单笔金额上限"),
        "limit_hour_minor": _("每小时金额上限"),
        "limit_hour_count": _("每小时笔数上限"),
        "limit_day_minor": _("每日金额上限"),
        "limit_day_count": _("每日笔数上限"),
        "breaker_failures": _("熔断失败次数"),
        "breaker_attempts": _("熔断观察次数"),
        "breaker_returns": _("熔断复发笔数"),
        "breaker_hour_minor": _("熔断每小时金额"),
    },
    "breaker_scope": {"plan": _("方案"), "group": _("系统组别")},
    "breaker_code": {
        "failures": _("失败太多"),
        "returns": _("修复过的交易再次异常"),
        "amount": _("每小时金额过大"),
    },
    "prediction_trigger": {"shadow": _("影子运行"), "dry_run": _("试运行")},
    "actual_by": {"piculus": _("由 Piculus 修复"), "outside": _("在别处处理")},
    "window": {
        "1": _("最近 1 小时"),
        "24": _("最近 24 小时"),
        "168": _("最近 7 天"),
        "720": _("最近 30 天"),
        "custom": _("自定义"),
    },
    "channel_kind": {
        "dingtalk": _("钉钉"),
        "wecom": _("企业微信"),
        "feishu": _("飞书"),
        "mail": _("邮件"),
        "slack": "Slack",
        "webhook": "Webhook",
    },
    "alert_scope": {"all": _("全部"), "group": _("系统组别"), "agent": _("客户端"), "here": _("客户端本地")},
    "theme": {"auto": _("跟随系统"), "light": _("浅色"), "dark": _("深色")},
    "environment": {"sandbox": _("沙箱"), "production": _("生产")},
    "role": {"viewer": _("查看者"), "operator": _("操作员"), "admin": _("管理员")},
    "kind": {"recharge": _("充值"), "withdraw": _("提现")},
    "bookkeeping": {"single_step": _("一次性记账"), "two_step": _("分段式记账")},
    "run_trigger": {
        "click": _("手动发起"),
        "command_line": _("命令行"),
        "cron": _("定时"),
        "first_start": _("首次启动"),
    },
    "attempt_trigger": {
        "tick": _("定时"),
        "click": _("手动"),
        "command_line": _("命令行"),
        "pay_again": _("再付"),
        "reverse": _("冲正"),
    },
    "order_action": {"pay_again": _("再付"), "reverse": _("冲正")},
    "step_name": {
        "post_first": _("第一段记账"),
        "post_second": _("第二段记账"),
        "post_both": _("一次性记账"),
        "pay": _("银行出款"),
        "pay_again": _("银行再次出款"),
        "reverse_first": _("冲回第一段"),
        "reverse_second": _("冲回第二段"),
        "reverse_both": _("冲回一次性记账"),
        "write_row": _("写交易记录"),
        "read_back": _("回读核对"),
    },
    "command_type": {"Collect": _("收集"), "Repair": _("修复"), "Verify": _("核实")},
    "column": {
        "TRD_ID": _("交易编号"),
        "TRD_NUM": _("交易号"),
        "TRD_STATUS": _("交易状态"),
        "ACC_TRD_NUM": _("账户记账号"),
        "ACC_TRD_STATUS": _("账户记账状态"),
        "E_ACC_TRD_NUM": _("第二段记账号"),
        "E_ACC_TRD_STATUS": _("第二段记账状态"),
        "FAILED_MSG": _("失败信息"),
    },
}

ORDER_VERBS: Mapping[str, Any] = {
    "propose": _("提交%(what)s"),
    "confirm": _("复核%(what)s"),
    "reject": _("驳回%(what)s"),
    "withdraw": _("撤回%(what)s"),
    "issue": _("发出%(what)s"),
    "done": _("%(what)s结束"),
    "expired": _("%(what)s失效"),
}
"""What becomes of an order of people; ``what`` is its action."""

UNKNOWN_LOOK = Look("grey", "help-circle", "")


def look(kind: str, state: object) -> Look:
    """Return how ``state`` of ``kind`` is shown; an unknown state shows its raw word in grey."""
    known = LOOKS[kind].get(str(state))
    return known or UNKNOWN_LOOK._replace(words=str(state))


def word(kind: str, value: object) -> str:
    """Return the words for a value of WORDS or LOOKS; None is a dash, an unknown value is itself."""
    if value is None:
        return "—"
    if kind in WORDS:
        return str(WORDS[kind].get(str(value), value))
    return str(look(kind, value).words)


def order_words(verb: str, action: object) -> str:
    """Return what became of an order of people, by a verb of ORDER_VERBS; an action that is not told is a
    money order.
    """
    what = WORDS["order_action"].get(str(action), _("资金指令"))
    return str(ORDER_VERBS[verb]) % {"what": what}


def choices(kind: str) -> list[tuple[str, str]]:
    """Return (value, words) of every value of a kind, in its order, for a select."""
    values = WORDS.get(kind) or {value: one.words for value, one in LOOKS[kind].items()}
    return [(value, str(words)) for value, words in values.items()]
