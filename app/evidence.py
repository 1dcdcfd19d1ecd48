"""What the bank's and the ledger's evidence says, in the reader's language.

The agent writes stable English phrases (agent/adapters, agent/fixers); one that is not known here is shown as
it came.
"""

import re
from typing import Any, Final

from flask import Flask
from flask_babel import lazy_gettext as _

from app.presentation import money
from app.reasons import reason_words
from app.words import word

PHRASES: Final[tuple[tuple[str, Any], ...]] = (
    ("inquiry", _("向银行查询")),
    ("inquiry: (?P<told>.+)", _("向银行查询：%(told)s")),
    ("failed with code (?P<code>.+), which is on no list", _("失败码 %(code)s 不在约定的清单上")),
    ("failed with (?P<code>[^ ]+), but (?P<told>.+)", _("失败码 %(code)s，但%(told)s")),
    ("without a readable time of failing", _("失败时间无法读取")),
    ("at a time before it was asked for", _("失败时间早于请求时间")),
    ("accepted at no usable time", _("受理时间无法使用，清算文件不能证明何时失败")),
    ("not yet (?P<seconds>[^ ]+) s ago", _("失败不到 %(seconds)s 秒，可能还会变为成功")),
    ("asked for not yet (?P<seconds>[^ ]+) s ago", _("请求提交不到 %(seconds)s 秒，可能还会变为成功")),
    ("asked for at no readable time", _("请求时间无法读取")),
    ("status (?P<status>.+)", _("银行状态 %(status)s 不认识")),
    ("amount (?P<amount>-?[0-9]+)", _("金额是 %(amount)s，与交易不符")),
    ("amount (?P<value>.+)", _("金额是 %(value)s，与交易不符")),
    ("kind (?P<value>.+)", _("业务种类是 %(value)s，与交易不符")),
    ("currency (?P<value>.+)", _("币种是 %(value)s，与交易不符")),
    ("another account", _("账号与交易不符")),
    ("accepted, not finished", _("银行已受理，尚未完成")),
    ("absent from settlement files (?P<days>.+)", _("%(days)s 的清算文件中没有")),
    ("not found; absent from settlement files (?P<days>.+)", _("查无此单，%(days)s 的清算文件中也没有")),
    ("not found; the request has no readable time", _("查无此单，请求时间无法读取")),
    (
        "not found, but bank day (?P<days>.+) is not settled yet",
        _("查无此单，但 %(days)s 的清算文件还没有出"),
    ),
    (
        "not found by inquiry, but settlement file (?P<days>.+) lists it",
        _("查无此单，但 %(days)s 的清算文件中有"),
    ),
    ("not found, but (?P<told>.+)", _("查无此单，但清算文件无法核对：%(told)s")),
    ("no answer: .*[Tt]imeout", _("银行没有答复：超时")),
    ("no answer: .+", _("银行没有答复：连接中断")),
    ("the answer took too long", _("银行答复得太慢，没有等到")),
    (
        "HTTP (?P<status>[0-9]+) without (usable JSON|records|this number's record)",
        _("银行答复 HTTP %(status)s，其中没有可用的记录"),
    ),
    ("HTTP (?P<status>[0-9]+) with more than .+", _("银行答复 HTTP %(status)s，内容过长")),
    ("HTTP (?P<status>[0-9]+), status (?P<value>.+)", _("银行答复 HTTP %(status)s，状态 %(value)s 不认识")),
    ("bank days: HTTP (?P<status>[0-9]+)", _("查询清算日时银行答复 HTTP %(status)s")),
    (
        "settlement file (?P<days>.+): HTTP (?P<status>[0-9]+)",
        _("取 %(days)s 的清算文件时银行答复 HTTP %(status)s"),
    ),
    ("the bank answers for another payout", _("银行答的是另一笔付款")),
    ("production wrote no bank request", _("生产系统没有留下银行请求号")),
    ("more than one request number succeeded", _("不止一个请求号成功")),
    ("the bank did not answer for this trade", _("银行没有应答这笔交易")),
    ("request (?P<number>[^ ]+) asks for (?P<amount>-?[0-9]+)", _("请求 %(number)s 的金额是 %(amount)s")),
    ("more than one entry: (?P<numbers>.+)", _("不止一笔记账：%(numbers)s")),
    ("leg (?P<value>.+)", _("记账段是 %(value)s，与交易不符")),
    ("postings (?P<value>.+)", _("分录与交易不符：%(value)s")),
    (
        "the row carries (?P<number>.+), the ledger (?P<other>.+)",
        _("记录上是 %(number)s，账务中是 %(other)s"),
    ),
    (
        "the row carries (?P<number>.+), which the ledger does not hold for it",
        _("记录上的 %(number)s 不在账务中"),
    ),
    ("the ledger did not answer for this trade", _("账务没有应答这笔交易")),
    ("the account does not hold (?P<amount>[0-9]+) fen", _("账户余额不足 %(amount)s")),
    ("paid already", _("已经出款")),
    ("asked", _("已提交银行，尚无答复")),
    ("posted by another", _("已由别处记账")),
    ("production wrote the row", _("生产系统已写好记录")),
    ("reverses (?P<entry>[^ ]+)", _("冲回 %(entry)s")),
)
"""What the agent says, as a pattern of the whole phrase, and its words."""

NUMBERED: Final = re.compile(r"(?P<number>\S+-P?[0-9]+): (?P<told>.+)")
"""A phrase about one of a trade's request numbers."""


def evidence_words(told: str | None) -> str:
    """Return a phrase of evidence in words; parts joined by a middle dot are told one by one, '' stays ''."""
    if not told:
        return ""
    return " · ".join(_phrase(part) for part in told.split(" · "))


def _phrase(told: str) -> str:
    numbered = NUMBERED.fullmatch(told)
    if numbered:
        return f"{numbered['number']}: {_phrase(numbered['told'])}"
    for pattern, text in PHRASES:
        match = re.fullmatch(pattern, told)
        if match:
            return str(text) % {name: _value(name, value) for name, value in match.groupdict().items()}
    # A step ends in a status of the bank or in a reason of the repair.
    status = word("bank_request", told)
    return status if status != told else reason_words(told)


def _value(name: str, value: str) -> str:
    if name == "amount":
        return money(int(value))
    return _phrase(value) if name == "told" else value


def init_app(app: Flask) -> None:
    """Add the filter ``evidence`` to the templates."""
    app.jinja_env.filters["evidence"] = evidence_words
