"""What the agent says of bank and ledger is told in the reader's language."""

import pytest
from flask import Flask

from agent.adapters.verdicts import over_all
from app.evidence import evidence_words


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("inquiry", "向银行查询"),
        ("inquiry: amount 39687", "向银行查询：金额是 ¥396.87，与交易不符"),
        ("inquiry: failed with code E9, which is on no list", "向银行查询：失败码 E9 不在约定的清单上"),
        (
            "inquiry: failed with E1001, but not yet 60 s ago",
            "向银行查询：失败码 E1001，但失败不到 60 秒，可能还会变为成功",
        ),
        (
            "inquiry: failed with E1001, but asked for not yet 60 s ago",
            "向银行查询：失败码 E1001，但请求提交不到 60 秒，可能还会变为成功",
        ),
        (
            "inquiry: failed with E1001, but asked for at no readable time",
            "向银行查询：失败码 E1001，但请求时间无法读取",
        ),
        (
            "inquiry: failed with E1001, but without a readable time of failing · accepted at no usable time",
            "向银行查询：失败码 E1001，但失败时间无法读取 · 受理时间无法使用，清算文件不能证明何时失败",
        ),
        ("inquiry: HTTP 503 without records", "向银行查询：银行答复 HTTP 503，其中没有可用的记录"),
        ("inquiry: HTTP 200 without usable JSON", "向银行查询：银行答复 HTTP 200，其中没有可用的记录"),
        ("inquiry: no answer: ReadTimeout", "向银行查询：银行没有答复：超时"),
        ("inquiry: no answer: ConnectError", "向银行查询：银行没有答复：连接中断"),
        ("HTTP 202, status 'parked'", "银行答复 HTTP 202，状态 'parked' 不认识"),
        ("HTTP 500 without this number's record", "银行答复 HTTP 500，其中没有可用的记录"),
        ("HTTP 200 with more than 65536 bytes", "银行答复 HTTP 200，内容过长"),
        (
            "inquiry: not found, but bank days: HTTP 502",
            "向银行查询：查无此单，但清算文件无法核对：查询清算日时银行答复 HTTP 502",
        ),
        ("settlement file 20261130: HTTP 500", "取 20261130 的清算文件时银行答复 HTTP 500"),
        ("WD1-P1 · asked", "WD1-P1 · 已提交银行，尚无答复"),
        ("WD1-0: accepted, not finished", "WD1-0: 银行已受理，尚未完成"),
        ("WD1-P1 · success", "WD1-P1 · 成功"),
        ("the account does not hold 3300 fen", "账户余额不足 ¥33.00"),
        ("another entry holds the leg", "这一段已有另一笔记账"),
        ("GA261120121240163157", "GA261120121240163157"),
        (
            "GA261120121240163157 · reverses GA261120121240163001",
            "GA261120121240163157 · 冲回 GA261120121240163001",
        ),
        ("something 100% new", "something 100% new"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_phrase_is_told_in_words_and_an_unknown_one_kept(app: Flask, told: str | None, words: str) -> None:
    with app.test_request_context():
        assert evidence_words(told) == words


def test_what_the_bank_adapter_says_has_words(app: Flask) -> None:
    with app.test_request_context():
        assert evidence_words(over_all([]).detail) == "生产系统没有留下银行请求号"
