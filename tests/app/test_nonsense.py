"""What of a row makes no sense, in both languages, from the words the agent sends."""

import pytest
from flask import Flask
from flask_babel import force_locale

from app.reasons import reason_words
from app.told import told_words


@pytest.mark.parametrize(
    ("reason", "chinese", "english"),
    [
        ("malformed", "格式非法", "Malformed"),
        (
            "malformed: TRD_NUM on 2 rows, TRD_ID 21048, 21049",
            "格式非法：同一交易号有 2 行（TRD_ID 21048、21049）",
            "Malformed: 2 rows have this trade number (TRD_ID 21048, 21049)",
        ),
        (
            "malformed: TRD_NUM on 100+ rows, TRD_ID 1, 2 …",
            "格式非法：同一交易号有 100+ 行（TRD_ID 1、2 …）",
            "Malformed: 100+ rows have this trade number (TRD_ID 1, 2 …)",
        ),
        ("out_of_range: TRD_STATUS = 5", "越界：TRD_STATUS = 5", "Out of range: TRD_STATUS = 5"),
        ("meaningless: AMOUNT missing", "无意义：金额为空", "Meaningless: Amount is empty"),
        ("malformed: AMOUNT = 88.00元", "格式非法：金额 = 88.00元", "Malformed: Amount = 88.00元"),
        (
            "malformed: AMOUNT with decimals = 1000.00",
            "格式非法：金额 = 1000.00（带小数，应为以分计的整数）",
            "Malformed: Amount = 1000.00 (with decimals; it should be whole fen)",
        ),
        (
            "malformed: CREATED_AT unreadable",
            "格式非法：创建时间无法读取",
            "Malformed: Creation time cannot be read",
        ),
        ("out_of_range: TRD_STATUS missing", "越界：TRD_STATUS 为空", "Out of range: TRD_STATUS is empty"),
        ("malformed: cell 3", "格式非法：cell 3", "Malformed: cell 3"),
    ],
)
def test_what_makes_no_sense_is_told(app: Flask, reason: str, chinese: str, english: str) -> None:
    with app.test_request_context():
        with force_locale("zh"):
            assert reason_words(reason) == told_words(reason) == chinese
        with force_locale("en"):
            assert reason_words(reason) == told_words(reason) == english
