"""The report finds what was planted wrong, each rule by its name."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from sandbox.bank.books import Submission, Verdict
from sandbox.database import writing
from sandbox.ledger import PostingOrder
from sandbox.ledger_audit import audit_ledger, live_legs_now
from sandbox.world import World

CARD = "6222021234567890123"


def run(engine: Engine, statement: str, **values: object) -> None:
    with writing(engine) as connection:
        connection.execute(text(statement), values)


def rules(world: World) -> set[str]:
    return {violation.rule for violation in world.report().violations}


def unbalance_a_posting(world: World) -> None:
    run(world.production().ledger.engine, "UPDATE gl_posting SET AMOUNT = AMOUNT + 1 WHERE ID = 1")


def change_a_balance(world: World) -> None:
    run(
        world.production().ledger.engine,
        "UPDATE gl_account SET BALANCE = BALANCE + 1 WHERE KIND = 'customer'",
    )


def free_a_leg(world: World) -> None:
    run(world.production().ledger.engine, "UPDATE gl_entry_leg SET LIVE = NULL")


def invent_a_voucher(world: World) -> None:
    run(
        world.production().engine,
        "UPDATE TPBAP_TRD_ACC_TRADE SET ACC_TRD_NUM = 'GA000000000000000001' WHERE TRD_ID = 680",
    )


def change_an_amount(world: World) -> None:
    run(world.production().engine, "UPDATE TPBAP_TRD_ACC_TRADE SET AMOUNT = AMOUNT + 1 WHERE TRD_ID = 680")


def pay_twice(world: World) -> None:
    for suffix in ("0", "P1"):
        number = f"WD160731140732100270-{suffix}"
        world.books.submit(Submission(number, "payout", 5, "CNY", CARD), Verdict("success"))
    run(
        world.production().engine,
        "INSERT INTO TPBAP_BANK_REQUEST SELECT TRD_NUM || '-P1', TRD_NUM, 1, KIND, STATUS, AMOUNT, "
        "CREATED_AT, UPDATED_AT FROM TPBAP_BANK_REQUEST WHERE TRD_NUM = 'WD160731140732100270'",
    )


def pay_without_debit(world: World) -> None:
    number = "WD160731140732100269-0"
    world.books.submit(Submission(number, "payout", 5, "CNY", CARD), Verdict("success"))


def pay_without_writing_it_down(world: World) -> None:
    world.books.submit(Submission("WD7-P1", "payout", 5, "CNY", CARD), Verdict("success"))


def reverse_one_sided(world: World) -> None:
    number = world.entries("WD160731140732100270")[0]["VOUCHER_NO"]
    world.production().ledger.reverse(number, "undo", "test")
    run(world.production().ledger.engine, "UPDATE gl_entry SET REVERSES = NULL WHERE KIND = 'reversal'")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (unbalance_a_posting, "entry_not_balanced"),
        (unbalance_a_posting, "balance_not_sum_of_postings"),
        (change_a_balance, "balance_not_sum_of_postings"),
        (change_a_balance, "ledger_not_balanced"),
        (free_a_leg, "legs_not_held"),
        (invent_a_voucher, "voucher_not_in_ledger"),
        (change_an_amount, "voucher_amount"),
        (pay_twice, "paid_twice"),
        (pay_without_debit, "paid_not_debited"),
        (pay_without_writing_it_down, "unwritten_request"),
        (reverse_one_sided, "reversal_one_sided"),
    ],
)
def test_a_violation_is_named(world: World, spoil: Callable[[World], None], rule: str) -> None:
    world.load_cases()
    assert rules(world) == set()
    spoil(world)
    assert rule in rules(world)


def test_broken_trades_disagree_but_violate_nothing(world: World) -> None:
    world.load_cases()
    report = world.report()
    assert report.is_sound
    assert len(report.disagreements) == 10
    assert report.agreeing == {"PBAP": 0, "PBMS": 0}


def test_a_trade_put_right_agrees(world: World) -> None:
    case = world.load_case("S8")
    production = world.production()
    order = PostingOrder(
        case.trade_no, "withdraw", "both", case.amount_minor, case.account_no, "PCL:S8", "piculus"
    )
    number = production.ledger.post(order)
    run(
        production.engine,
        "UPDATE TPBAP_TRD_ACC_TRADE SET TRD_STATUS = 8, ACC_TRD_NUM = :no, ACC_TRD_STATUS = 1, "
        "E_ACC_TRD_NUM = :no, E_ACC_TRD_STATUS = 1 WHERE TRD_NUM = :trade",
        no=number,
        trade=case.trade_no,
    )
    report = world.report()
    assert report.disagreements == []
    assert report.is_sound


def test_one_trades_legs_read_afresh_are_those_of_the_audit(world: World) -> None:
    ledger = world.production().ledger
    for case in world.load_cases():
        legs = audit_ledger(ledger).live_legs(case.trade_no)
        assert live_legs_now(ledger, case.trade_no) == legs


def test_a_report_is_text_and_json(world: World) -> None:
    world.load_cases()
    pay_without_debit(world)
    report = world.report()
    assert "paid_not_debited" in report.as_text()
    assert report.as_json()["is_sound"] is False
