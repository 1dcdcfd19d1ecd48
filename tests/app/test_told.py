"""What the server writes down beside a run, a task, a command or a frame is told in the reader's language."""

import pytest
from flask import Flask
from flask_babel import force_locale

from app.told import told_words

TRAILER = "trailer: stated 1 chunks, 5 rows, 100 fen; received 1 chunks, 4 rows, 123456 fen"


@pytest.mark.parametrize(
    ("written", "chinese", "english"),
    [
        (
            TRAILER,
            "汇总与收到的明细不符：汇总写 1 块 5 行 ¥1.00，收到 1 块 4 行 ¥1,234.56",
            "The totals do not match what arrived: stated 1 chunks, 5 rows, ¥1.00; "
            "received 1 chunks, 4 rows, ¥1,234.56",
        ),
        ("rejected: state: Hello comes first", "客户端拒绝了命令（与当前状态不符（须先发 Hello））", None),
        ("superseded: the agent is offline", "已被取代（客户端不在线）", None),
        ("expired: its deadline passed", "命令已过期（已过期限）", None),
        ("plan_disabled", "方案已失效", None),
        (
            "cancelled: breaker_tripped",
            "已取消（已熔断，尚未发出的自动修复已撤回）",
            "Cancelled (Breaker tripped; automatic repairs not sent yet are withdrawn)",
        ),
        ("fence 3, repaired: ", "执行序号 3，已修复", "fence 3, Repaired"),
        ("failed: bank: 51", "失败（银行尚未给出确定结果，等待银行（51））", None),
        (
            "indeterminate: limits_narrowed_sent",
            "结果不明（限额或熔断金额收紧；这条命令曾发给客户端，可能已在执行，先核实）",
            None,
        ),
        ("1009 more than 1048576 bytes", "消息超过 1.0 MB", None),
        (
            "state: The frame does not fit the state of its command. (command_id c1)",
            "与命令 c1 的状态不符",
            None,
        ),
        (
            "internal error: the fixer own broke off over more than 20 trades: KeyError: 'x'",
            "修复代号 own 的程序在超过 20 笔交易上出错，收集因此停下：KeyError: 'x'",
            "The fixer own broke off over more than 20 trades, so the collection stopped: KeyError: 'x'",
        ),
        ("客户来电：催办", "客户来电：催办", "客户来电：催办"),
        ("disk: full", "disk: full", "disk: full"),
        ("", "", ""),
    ],
)
def test_what_is_written_is_told_in_words(
    app: Flask, written: str, chinese: str, english: str | None
) -> None:
    with app.test_request_context():
        with force_locale("zh"):
            assert told_words(written) == chinese
        with force_locale("en"):
            assert english is None or told_words(written) == english
