"""The ledger's rules, on every engine that answers."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from sandbox.database import open_engine, reading, writing
from sandbox.errors import (
    InsufficientBalanceError,
    KeyReusedError,
    LedgerError,
    LegTakenError,
    UnknownAccountError,
)
from sandbox.ledger import Ledger, PostingOrder, entry_row
from sandbox.ledger_audit import audit_ledger
from tests.databases import NewDatabase

WITHDRAWAL = PostingOrder("WD1", "withdraw", "both", 300, "alice", "PROD:WD1:both", "production")


@pytest.fixture
def ledger(each_database: NewDatabase) -> Iterator[Ledger]:
    ledger = Ledger(open_engine(each_database()))
    ledger.create()
    ledger.open_account("alice", 1_000)
    yield ledger
    ledger.engine.dispose()


def entry_count(ledger: Ledger) -> int:
    with reading(ledger.engine) as connection:
        return len(connection.execute(select(ledger.tables.entry)).all())


def test_a_posting_moves_the_balance_under_a_ga_number(ledger: Ledger) -> None:
    number = ledger.post(WITHDRAWAL)
    assert number.startswith("GA")
    assert len(number) == 20
    assert ledger.balance("alice") == 700
    assert ledger.balance("BANK") == -700
    assert audit_ledger(ledger).faults == []


def test_the_same_key_returns_the_same_number_and_moves_nothing(ledger: Ledger) -> None:
    assert ledger.post(WITHDRAWAL) == ledger.post(WITHDRAWAL)
    assert ledger.balance("alice") == 700


@pytest.mark.parametrize("change", [{"amount_minor": 301}, {"trade_no": "WD2"}, {"leg": "1"}])
def test_the_same_key_with_other_content_is_refused(ledger: Ledger, change: dict[str, Any]) -> None:
    ledger.post(WITHDRAWAL)
    with pytest.raises(KeyReusedError):
        ledger.post(replace(WITHDRAWAL, **change))
    assert ledger.balance("alice") == 700


@pytest.mark.parametrize("leg", ["1", "2", "both"])
def test_a_leg_is_posted_once_whoever_posts(ledger: Ledger, leg: str) -> None:
    ledger.post(WITHDRAWAL)
    with pytest.raises(LegTakenError):
        ledger.post(replace(WITHDRAWAL, leg=leg, idem_key="PCL:WD1", posted_by="piculus"))
    assert ledger.balance("alice") == 700


def test_the_database_itself_refuses_a_second_live_leg(ledger: Ledger) -> None:
    ledger.post(WITHDRAWAL)
    row = {"VOUCHER_NO": "GA0", "LEG": "1", "TRD_NUM": "WD1", "LIVE": 1}
    with pytest.raises(IntegrityError), writing(ledger.engine) as connection:
        connection.execute(insert(ledger.tables.entry_leg).values(row))


def test_the_database_itself_refuses_a_second_entry_under_a_key(ledger: Ledger) -> None:
    ledger.post(WITHDRAWAL)
    order = replace(WITHDRAWAL, trade_no="WD2")
    with pytest.raises(IntegrityError), writing(ledger.engine) as connection:
        connection.execute(insert(ledger.tables.entry).values(entry_row(order, "GA0", ledger.clock())))
    assert entry_count(ledger) == 2


def test_the_database_itself_refuses_an_overdrawn_customer(ledger: Ledger) -> None:
    account = ledger.tables.account
    with pytest.raises(DBAPIError), writing(ledger.engine) as connection:
        connection.execute(update(account).where(account.c.KIND == "customer").values(BALANCE=-1))
    assert ledger.balance("alice") == 1_000


def test_a_customer_is_never_overdrawn(ledger: Ledger) -> None:
    with pytest.raises(InsufficientBalanceError):
        ledger.post(replace(WITHDRAWAL, amount_minor=1_001))
    assert ledger.balance("alice") == 1_000
    assert entry_count(ledger) == 1


@pytest.mark.parametrize("account_no", ["nobody", "BANK"])
def test_only_a_customers_account_is_debited(ledger: Ledger, account_no: str) -> None:
    with pytest.raises(UnknownAccountError):
        ledger.post(replace(WITHDRAWAL, account_no=account_no))


def test_a_recharge_has_no_second_leg(ledger: Ledger) -> None:
    with pytest.raises(LedgerError):
        ledger.post(replace(WITHDRAWAL, kind="recharge", leg="2"))


def test_two_steps_are_two_numbers_and_clear_the_clearing_account(ledger: Ledger) -> None:
    first = ledger.post(replace(WITHDRAWAL, leg="1", idem_key="a"))
    assert ledger.balance("CLEARING") == 300
    second = ledger.post(replace(WITHDRAWAL, leg="2", idem_key="b"))
    assert first != second
    assert ledger.balance("CLEARING") == 0
    assert ledger.balance("alice") == 700


def test_a_reversal_gives_the_money_and_the_leg_back(ledger: Ledger) -> None:
    number = ledger.post(WITHDRAWAL)
    reversal = ledger.reverse(number, "undo", "production")
    assert ledger.reverse(number, "undo", "production") == reversal
    assert ledger.balance("alice") == 1_000
    assert audit_ledger(ledger).faults == []
    assert audit_ledger(ledger).live_legs("WD1") == {}
    ledger.post(replace(WITHDRAWAL, idem_key="again"))
    assert ledger.balance("alice") == 700


def test_an_entry_is_reversed_once(ledger: Ledger) -> None:
    number = ledger.post(WITHDRAWAL)
    ledger.reverse(number, "undo", "production")
    with pytest.raises(LedgerError):
        ledger.reverse(number, "undo twice", "production")


def test_a_reversed_key_posts_nothing_more(ledger: Ledger) -> None:
    ledger.reverse(ledger.post(WITHDRAWAL), "undo", "production")
    with pytest.raises(KeyReusedError):
        ledger.post(WITHDRAWAL)


def test_of_many_posting_one_leg_at_once_one_wins(ledger: Ledger) -> None:
    numbers: list[str] = []
    refused: list[LedgerError] = []

    def post(key: str) -> None:
        try:
            numbers.append(ledger.post(replace(WITHDRAWAL, idem_key=key)))
        except LedgerError as error:
            refused.append(error)

    threads = [threading.Thread(target=post, args=(f"key {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 1
    assert [type(error) for error in refused] == [LegTakenError] * 5
    assert ledger.balance("alice") == 700
