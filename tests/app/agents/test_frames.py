"""Account and card numbers never reach the database; what people follow a trade by stays readable."""

import pytest

from app.agents.frames import mask


@pytest.mark.parametrize(
    "key", ["account", "payee_account", "payer_account", "bank_account", "ACC_NO", "BANK_ACC_NO", "card_no"]
)
def test_an_account_is_masked_by_its_key(key: str) -> None:
    assert mask(f'{{"{key}":"6222021234567890123"}}') == f'{{"{key}":"6222****0123"}}'


def test_an_account_written_as_a_number_is_masked() -> None:
    assert mask('{"account": 622202123456789, "n": 1}') == '{"account": 6222****6789, "n": 1}'


def test_a_short_account_keeps_two_characters() -> None:
    assert mask('{"ACC_NO":"C00042"}') == '{"ACC_NO":"****42"}'


def test_an_account_inside_json_inside_text_is_masked() -> None:
    masked = mask(r'{"detail":"{\"account\":\"622202123456\"}"}')
    assert masked == r'{"detail":"{\"account\":\"6222****3456\"}"}'


def test_a_card_number_in_free_text_is_masked() -> None:
    assert mask('{"reason":"card 4111111111111111 refused"}') == '{"reason":"card 4111****1111 refused"}'


def test_a_number_without_a_right_check_digit_is_no_card() -> None:
    assert mask('{"reason":"at 4111111111111112"}') == '{"reason":"at 4111111111111112"}'


@pytest.mark.parametrize("key", ["trade_no", "TRD_NUM", "ACC_TRD_NUM", "request_no", "trade_id", "id", "key"])
def test_numbers_people_follow_a_trade_by_stay(key: str) -> None:
    assert mask(f'{{"{key}":"4111111111111111"}}') == f'{{"{key}":"4111111111111111"}}'


def test_a_voucher_number_stays_anywhere() -> None:
    text = '{"detail":"posted GA411111111111111111"}'
    assert mask(text) == text


def test_null_is_no_account() -> None:
    assert mask('{"account":null}') == '{"account":null}'


def test_text_that_is_no_json_is_masked_too() -> None:
    assert mask("pay 4111111111111111 now") == "pay 4111****1111 now"
