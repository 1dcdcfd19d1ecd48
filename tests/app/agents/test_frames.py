"""Account and card numbers never reach the database; what people follow a trade by stays readable."""

import pytest

from app.agents.frames import mask


@pytest.mark.parametrize(
    "key",
    [
        "account",
        "payee_account",
        "bankAccount",
        "payeeAccountNo",
        "account_number",
        "ACC_NO",
        "BANK_ACC_NO",
        "accNo",
        "acct",
        "iban",
        "pan",
        "card_no",
        "payeeCard",
        "bankcard",
    ],
)
def test_an_account_is_masked_by_its_key(key: str) -> None:
    assert mask(f'{{"{key}":"622202123456"}}') == f'{{"{key}":"6222****3456"}}'


@pytest.mark.parametrize("key", ["discard", "ACC_TRD_STATUS", "account_state", "accountStatus", "company"])
def test_a_key_that_only_sounds_like_an_account_is_none(key: str) -> None:
    assert mask(f'{{"{key}":"posted"}}') == f'{{"{key}":"posted"}}'


@pytest.mark.parametrize("number", ["6222 0212 3456 7890 123", "6222-0212-3456-7890-123"])
def test_an_account_is_masked_whole_whatever_is_between_its_digits(number: str) -> None:
    assert mask(f'{{"account":"{number}"}}') == '{"account":"6222****0123"}'
    assert mask(f'{{"text":"to {number}, refused"}}') == '{"text":"to 6222****0123, refused"}'


def test_every_account_of_a_list_or_an_object_is_masked() -> None:
    masked = mask('{"accounts":["6222 0212 3456", 622202123456, null],"n":[7]}')
    assert masked == '{"accounts":["6222****3456", 6222****3456, null],"n":[7]}'
    assert mask('{"account":{"no":"C00042"},"n":7}') == '{"account":{"no":"****42"},"n":7}'


def test_an_account_in_a_frame_that_breaks_off_is_masked() -> None:
    assert mask('{"account":"6222 0212 3456') == '{"account":"6222****3456'


def test_an_account_written_as_a_number_is_masked() -> None:
    assert mask('{"account": 622202123456789, "n": 1}') == '{"account": 6222****6789, "n": 1}'


def test_a_short_account_keeps_two_characters() -> None:
    assert mask('{"ACC_NO":"C00042"}') == '{"ACC_NO":"****42"}'


def test_an_account_inside_json_inside_text_is_masked() -> None:
    masked = mask(r'{"detail":"{\"account\":\"622202123456\"}"}')
    assert masked == r'{"detail":"{\"account\":\"6222****3456\"}"}'


def test_a_card_number_in_free_text_is_masked() -> None:
    assert mask('{"reason":"card 4111111111111111 refused"}') == '{"reason":"card 4111****1111 refused"}'


@pytest.mark.parametrize("before", ["at ", r"\n", r"\u8d26", "账号", "#"])
def test_an_account_without_a_check_digit_is_masked_in_free_text(before: str) -> None:
    assert mask(f'{{"text":"{before}2088000000000013"}}') == f'{{"text":"{before}2088****0013"}}'


@pytest.mark.parametrize(
    "text",
    [
        "CO202611201146351063 in GA261120114635106323 as CO202611201146351063-P1",
        "9f86d081884c7d659a2feaa0c55ad015",
        "2026-03-02T12:00:00.123456+00:00, 2026-03-02 12:00:00",
        "0.1234567890123456",
        "123456789012",
        "12345678901234567890",
    ],
)
def test_what_is_no_account_stays_readable(text: str) -> None:
    assert mask(f'{{"text":"{text}"}}') == f'{{"text":"{text}"}}'


@pytest.mark.parametrize("text", ["\\" * 200_000, '"account":[' * 20_000])
def test_a_frame_made_to_be_slow_is_as_it_came(text: str) -> None:
    assert mask(text) == text


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
