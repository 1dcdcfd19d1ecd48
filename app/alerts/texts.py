"""The words of a message, in the language of its channel: what, where, how many, how much, and a link.

No account, no name of a customer, no sentence of production: trade number, group, fixer, reason, amount. What
a person typed as a reason is told with long numbers masked.

Params by kind: trades ``trade_no, fixer_code, reason, amount_minor, currency``; agent_offline ``name,
last_seen_at``; breaker ``scope`` (plan or group), ``name``, ``cause`` and its ``figures``; stop_switch
``scope`` (all, group, agent, or here: the agent's own), ``name``, ``by`` (but here), ``at`` and ``reason``,
and of its end ``lifted_by`` (but here) and ``lifted_at``; bulk_paused ``name``, its ``code`` and
``trade_no``, and ``in_name_of`` and ``cause`` where its person may go on no longer; order_waits ``trade_no,
action, amount_minor, currency, by, reason, expires_at``, and how it ``ended``: confirmed, or its state.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from app.agents.frames import mask_number
from app.alerts.events import AGENT_OFFLINE, BREAKER, BULK_PAUSED, ORDER_WAITS, STOP_SWITCH, TRADE_KINDS
from app.alerts.outbox import Letter
from app.executions import bulk_words
from app.guards.words import cause_words
from app.i18n import translate as _
from app.presentation import fixer_name, money
from app.reasons import reason_words
from app.words import word

TRADE_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
REASON_CHARACTERS: Final = 120
_number: Final = re.compile(r"[0-9](?:[ -]?[0-9]){6,}")
"""An account, a card, a telephone: whatever somebody typed that may be one."""


class Message(NamedTuple):
    """What is sent: one line, and the lines below it."""

    title: str
    body: str


def compose(letter: Letter, public_url: str, environment: str = "") -> Message:
    """Put a letter into the words of the current language.

    ``public_url`` '' leaves the link out; ``environment`` (Settings.environment_name) tells a sandbox from
    production in the title.
    """
    name = f"Piculus {word('environment', environment)}" if environment else "Piculus"
    if letter.is_test:
        said = _("收到这条消息，说明这个告警渠道可用。没有任何交易需要处理。")
        return Message(_("%(name)s · 测试消息", name=name), said)
    lines = [_sentence(letter)]
    if not (letter.kind in TRADE_KINDS and letter.is_recovery):
        lines += _listed(letter, letter.samples, letter.event_count)
    if letter.standing_count:
        lines.append(_("仍未恢复 %(n)s 处：", n=f"{letter.standing_count:,}"))
        lines += _listed(replace(letter, is_recovery=False), letter.standing, letter.standing_count)
    if public_url:
        lines.append(public_url.rstrip("/") + _path(letter))
    return Message(f"{name} · {_title(letter)}", "\n".join(lines))


def _listed(letter: Letter, samples: Sequence[Mapping[str, Any]], count: int) -> Iterator[str]:
    yield from (f"- {_line(letter, params)}" for params in samples)
    if count > len(samples):
        yield _("…另有 %(n)s 条", n=f"{count - len(samples):,}")


def _title(letter: Letter) -> str:
    what = word("alert_kind", letter.kind)
    if letter.standing_count:
        what = _("部分恢复：%(what)s", what=what)
    elif letter.is_recovery:
        what = _("已恢复：%(what)s", what=what)
    elif letter.event_count > 1:
        what = _("%(what)s × %(n)s", what=what, n=f"{letter.event_count:,}")
    return f"{what} · {_where(letter)}"


def _where(letter: Letter) -> str:
    return letter.sys_code or _("全部系统组别")


def _sentence(letter: Letter) -> str:
    values = {"n": f"{letter.event_count:,}", "group": _where(letter)}
    texts = {
        ("needs_human", False): _("%(group)s 有 %(n)s 笔交易转为待人工，等人核查。"),
        ("needs_human", True): _("%(group)s 已没有待人工的交易。"),
        ("exhausted", False): _("%(group)s 有 %(n)s 笔交易重试耗尽，不再自动修复。"),
        ("exhausted", True): _("%(group)s 已没有重试耗尽的交易。"),
        (BREAKER, False): _("%(group)s 熔断 %(n)s 次，熔断的方案或系统组别不再自动开始新的修复，等人复位。"),
        (BREAKER, True): _("%(group)s 的熔断已复位，不再因它停下。"),
        (AGENT_OFFLINE, False): _("%(group)s 有 %(n)s 个客户端离线。"),
        (AGENT_OFFLINE, True): _("%(group)s 有 %(n)s 个客户端恢复在线。"),
        (STOP_SWITCH, False): _("紧急停止（%(group)s）：不再开始新的修复。"),
        (STOP_SWITCH, True): _("紧急停止（%(group)s）：已解除 %(n)s 处。"),
        (BULK_PAUSED, False): _("%(group)s 有 %(n)s 个批量修复自己暂停，等人继续或停止。"),
        (BULK_PAUSED, True): _("%(group)s 有 %(n)s 个批量修复已继续或停止。"),
        (ORDER_WAITS, False): _("%(group)s 有 %(n)s 笔再付或冲正等另一个人复核，到时没有人复核就失效。"),
        (ORDER_WAITS, True): _("%(group)s 有 %(n)s 笔再付或冲正不再等人复核。"),
    }
    if letter.kind == STOP_SWITCH and _is_of_agents(letter):
        texts |= {
            (STOP_SWITCH, False): _("%(group)s 有 %(n)s 个客户端已停止，它们不再开始新的修复。"),
            (STOP_SWITCH, True): _("%(group)s 有 %(n)s 个客户端的停止已解除。"),
        }
    return texts[letter.kind, letter.is_recovery] % values


def _is_of_agents(letter: Letter) -> bool:
    """Whether every stop told of is of one agent, so that the group's others go on."""
    scopes = {params.get("scope") for params in letter.samples}
    return letter.event_count == len(letter.samples) and scopes <= {"agent", "here"}


def _line(letter: Letter, params: Mapping[str, Any]) -> str:
    if letter.kind in TRADE_KINDS:
        return _trade_line(params)
    if letter.kind == BULK_PAUSED:
        return _bulk_line(params, letter.is_recovery)
    if letter.kind == ORDER_WAITS:
        return _order_line(params, letter)
    if letter.kind == STOP_SWITCH:
        return _stop_line(params, letter)
    code = params.get("fixer_code")
    parts = [str(params.get("name") or (fixer_name(code) if code else ""))]
    if letter.kind == BREAKER and params.get("scope"):
        parts[0] = f"{word('breaker_scope', params['scope'])} {parts[0]}"
    if letter.kind == AGENT_OFFLINE and not letter.is_recovery and params.get("last_seen_at"):
        parts.append(_("最后一次应答 %(at)s", at=_clock(params["last_seen_at"], letter.zone)))
    if params.get("cause") and not letter.is_recovery:
        parts.append(cause_words(str(params["cause"]), params.get("figures") or {}))
    return " · ".join(part for part in parts if part)


def _stop_line(params: Mapping[str, Any], letter: Letter) -> str:
    parts = [word("alert_scope", params.get("scope", "all")), str(params.get("name") or "")]
    who, at = ("lifted_by", "lifted_at") if letter.is_recovery else ("by", "at")
    parts.append(str(params.get(who) or ""))
    if params.get(at):
        clock = _clock(params[at], letter.zone)
        parts.append(_("解除于 %(at)s", at=clock) if letter.is_recovery else _("停止于 %(at)s", at=clock))
    if not letter.is_recovery:
        parts.append(_without_numbers(reason_words(str(params.get("reason") or "")))[:REASON_CHARACTERS])
    return " · ".join(part for part in parts if part)


def _bulk_line(params: Mapping[str, Any], is_recovery: bool) -> str:
    parts = [str(params.get("name") or "")]
    if not is_recovery:
        parts.append(bulk_words.told_words(params))
        parts.append(_number_of(params) if params.get("trade_no") else "")
    return " · ".join(part for part in parts if part)


def _order_line(params: Mapping[str, Any], letter: Letter) -> str:
    amount = money(params["amount_minor"], str(params["currency"]))
    parts = [_number_of(params), word("order_action", params["action"]), amount]
    if letter.is_recovery:
        ended = params.get("ended")
        parts.append(_("已复核") if ended == "confirmed" else word("order", ended))
    else:
        parts.append(_("%(who)s 提交", who=params["by"]))
        parts.append(_("复核截止 %(at)s", at=_clock(params["expires_at"], letter.zone)))
        parts.append(_without_numbers(str(params["reason"]))[:REASON_CHARACTERS])
    return " · ".join(parts)


def _number_of(params: Mapping[str, Any]) -> str:
    number = str(params.get("trade_no") or "")
    # A row that makes no sense may carry anything where its number should be.
    return number if TRADE_NUMBER.fullmatch(number) else _("（交易号不合规）")


def _trade_line(params: Mapping[str, Any]) -> str:
    # What follows the word of a reason are values of production.
    reason = reason_words(str(params.get("reason") or "").partition(": ")[0])
    parts = [_number_of(params), fixer_name(params.get("fixer_code")), reason[:REASON_CHARACTERS]]
    amount = params.get("amount_minor")
    if amount is not None:
        parts.append(money(amount, str(params.get("currency") or "")))
    return " · ".join(part for part in parts if part)


def _clock(moment: str, zone: str) -> str:
    return datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def _without_numbers(text: str) -> str:
    return _number.sub(lambda found: mask_number(found[0]), text)


def _path(letter: Letter) -> str:
    group = {} if letter.sys_code is None else {"group": letter.sys_code}
    pages = {
        "needs_human": ("/exceptions", {"tab": "human", **group}),
        "exhausted": ("/exceptions", {"state": "exhausted", **group}),
        BREAKER: ("/breakers", group),
        AGENT_OFFLINE: ("/agents", group),
        STOP_SWITCH: ("/stops", {}),
        BULK_PAUSED: ("/exceptions/bulk", {"state": "paused", **group}),
        ORDER_WAITS: ("/exceptions/orders", group if letter.is_recovery else {"state": "proposed", **group}),
    }
    page, query = pages[letter.kind]
    return f"{page}?{urlencode(query)}" if query else page
