"""What stands written beside a run, a task, a command, a frame or an event, in the reader's language.

Server and agents write stable English; what is not known here, a person's own words among it, is shown as it
came.
"""

import re
from typing import Any, Final

from flask import Flask
from flask_babel import lazy_gettext as _

from app.i18n import language
from app.nonsense import nonsense_words
from app.presentation import money, size
from app.reasons import reason_words
from app.words import word

TEXTS: Final[tuple[tuple[str, Any], ...]] = (
    (
        r"trailer: stated (?P<chunks>\d+) chunks, (?P<rows>\d+) rows, (?P<fen>-?\d+) fen; "
        r"received (?P<own_chunks>\d+) chunks, (?P<own_rows>\d+) rows, (?P<own_fen>-?\d+) fen",
        _(
            "汇总与收到的明细不符：汇总写 %(chunks)s 块 %(rows)s 行 %(fen)s，"
            "收到 %(own_chunks)s 块 %(own_rows)s 行 %(own_fen)s"
        ),
    ),
    (
        r"bank: payout failed: (?P<code>.+)",
        _("银行报出款失败（%(code)s），失败还可能变为成功，等待银行确定"),
    ),
    ("the deadline passed", _("已过期限")),
    ("the run was cancelled", _("收集已取消")),
    (r"stopped by (?P<who>[^:]+): (?P<why>.*)", _("%(who)s 紧急停止：%(why)s")),
    ("plan_disabled", _("方案已失效")),
    ("breaker_tripped", _("已熔断，尚未发出的自动修复已撤回")),
    ("plan_not_by_itself", _("方案不再自动执行，尚未发出的自动修复已撤回")),
    ("limits_narrowed", _("限额或熔断金额收紧，尚未发出的自动修复已撤回，重新判断")),
    ("breaker_tripped_sent", _("已熔断；这条命令曾发给客户端，可能已在执行，先核实")),
    ("plan_not_by_itself_sent", _("方案不再自动执行；这条命令曾发给客户端，可能已在执行，先核实")),
    ("limits_narrowed_sent", _("限额或熔断金额收紧；这条命令曾发给客户端，可能已在执行，先核实")),
    ("group_disabled", _("系统组别已停用")),
    ("the agent is offline", _("客户端不在线")),
    ("the agent came back with another journal", _("客户端带着另一本日志回来")),
    ("not known to the server", _("服务器没有这条命令")),
    ("no such command here", _("客户端没有这条命令")),
    (
        "this id stands for another command here, or for a newer fence of it",
        _("客户端以这个编号记着另一条命令，或它更新的执行序号"),
    ),
    ("a session has one Welcome, its first frame", _("Welcome 只在会话开头发一次")),
    (r"the window cannot be read: (?P<rest>.+)", _("时间范围无法读取：%(rest)s")),
    (
        r"internal error: the fixer (?P<code>\S+) broke off over more than (?P<count>\d+) trades: "
        r"(?P<rest>.+)",
        _("修复代号 %(code)s 的程序在超过 %(count)s 笔交易上出错，收集因此停下：%(rest)s"),
    ),
    (r"internal error: (?P<rest>.+)", _("客户端内部错误：%(rest)s")),
    # the demo
    ("demo", _("演示")),
    ("its token file is lost", _("令牌文件丢失")),
    # a frame
    ("Hello is said once, first", _("Hello 只在会话开头发一次")),
    ("Hello comes first", _("须先发 Hello")),
    ("the server could not handle this message", _("服务器处理这条消息时出错")),
    (r"1009 more than (?P<bytes>\d+) bytes", _("消息超过 %(bytes)s")),
    ("1003 text frames only", _("不是文本消息")),
    (r"1002 (?P<rest>.*)", _("不符合 WebSocket 协议 %(rest)s")),
    (r"1007 (?P<rest>.*)", _("不是 UTF-8 文本 %(rest)s")),
    (r"state: .*\(command_id (?P<command>.+)\)", _("与命令 %(command)s 的状态不符")),
    (r"task: .*\(command_id (?P<command>.+)\)", _("没有命令 %(command)s 的收集任务")),
    (r"shard: .+", _("分片不属于这次收集")),
    # an event
    (
        r"fence (?P<fence>\d+), (?P<outcome>[a-z_]+): (?P<rest>.*)",
        _("执行序号 %(fence)s，%(outcome)s %(rest)s"),
    ),
)
"""What is written, as a pattern of the whole, and its words."""

HEADS: Final = {
    "state": _("与当前状态不符"),
    "stopped": _("客户端本地已停止"),
    "unknown_command": _("未知的命令"),
    "window": _("时间范围不正确"),
    "conflict": _("编号冲突"),
    "journal": _("日志不能写入"),
    "error": _("服务器出错"),
    "malformed": _("格式非法"),
    "too_big": _("消息过大"),
}
"""Codes of a rejection before its sentence."""


def told_words(text: str | None) -> str:
    """Return what is written in words. ``word: detail`` tells each; '' stays ''."""
    if not text:
        return ""
    for pattern, words in TEXTS:
        match = re.fullmatch(pattern, text)
        if match:
            values = {name: _value(name, value) for name, value in match.groupdict().items()}
            return (str(words) % values).strip()
    head, colon, detail = text.partition(": ")
    if not colon or nonsense_words(text):
        return reason_words(text)
    known = _head(head)
    if known == head:
        return reason_words(text)
    detail = told_words(detail)
    return f"{known}（{detail}）" if language() == "zh" else f"{known} ({detail})"


def _head(head: str) -> str:
    if head in HEADS:
        return str(HEADS[head])
    known = reason_words(head)
    return known if known != head else word("outcome", head)


def _value(name: str, value: str) -> str:
    if name.endswith("fen"):
        return money(int(value))
    if name == "bytes":
        return size(int(value))
    if name == "outcome":
        return word("outcome", value)
    return told_words(value) if name == "rest" else value


def init_app(app: Flask) -> None:
    """Add the filter ``told`` to the templates."""
    app.jinja_env.filters["told"] = told_words
