"""Healthy trades in bulk: row, ledger and bank agree on every one of them."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import insert

from sandbox.bank.books import BankBooks
from sandbox.bank.records import PAYER_BALANCE, RISK_CONTROL
from sandbox.database import writing
from sandbox.ledger import voucher_number
from sandbox.people import new_amount, new_customer, trade_number
from sandbox.planting import plant, trade_row
from sandbox.production import Production
from sandbox.scenes import (
    FAILED,
    PAID,
    RECHARGE,
    SINGLE_STEP,
    SUCCEEDED,
    TWO_STEP,
    WITHDRAW,
    BankSide,
    Customer,
    LedgerSide,
    Scene,
)

CHUNK = 20_000
TRADES_PER_CUSTOMER = 40
SHARE_RECHARGES = 0.6
SHARE_SINGLE_STEP = 0.6
SHARE_FAILED = 0.03
# The youngest healthy trade is an hour old: nothing about it is in flight any more.
_YOUNGEST = timedelta(hours=1)
_SPARE_MINOR = 500_000

_BOOKED = {
    (RECHARGE, None): (LedgerSide("1"),),
    (WITHDRAW, SINGLE_STEP): (LedgerSide("both"),),
    (WITHDRAW, TWO_STEP): (LedgerSide("1"), LedgerSide("2")),
}


def plant_healthy(
    production: Production,
    books: BankBooks,
    count: int,
    seed: int,
    days: float,
    rows_only: bool,
    first_id: int,
) -> int:
    """``rows_only`` writes trade rows alone, for measuring a collection over very many. Returns count."""
    chance = random.Random(f"{seed}:{production.sys_code}")
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        scenes = list(_scenes(production, chance, first_id + start, size, timedelta(days=days)))
        if rows_only:
            _plant_rows(production, scenes)
        else:
            plant(production, books, scenes)
    return count


def _scenes(
    production: Production, chance: random.Random, first_id: int, count: int, span: timedelta
) -> Iterator[Scene]:
    people = [new_customer(chance, first_id + i) for i in range(max(1, count // TRADES_PER_CUSTOMER))]
    now = production.clock()
    oldest = now - max(span, _YOUNGEST)
    step = (now - _YOUNGEST - oldest) / max(1, count)
    for i in range(count):
        yield _scene(production.sys_code, chance, first_id + i, oldest + step * i, chance.choice(people))


def _scene(sys_code: str, chance: random.Random, trd_id: int, at: datetime, customer: Customer) -> Scene:
    kind = RECHARGE if chance.random() < SHARE_RECHARGES else WITHDRAW
    mode = None
    if kind == WITHDRAW:
        mode = SINGLE_STEP if chance.random() < SHARE_SINGLE_STEP else TWO_STEP
    failed = chance.random() < SHARE_FAILED
    code = PAYER_BALANCE if kind == RECHARGE else RISK_CONTROL
    return Scene(
        trd_id,
        trade_number(sys_code, kind, at, trd_id),
        kind,
        mode,
        FAILED if failed else SUCCEEDED,
        new_amount(chance),
        customer,
        created_at=at,
        updated_at=at + timedelta(seconds=2),
        acc_booked=not failed,
        e_acc_booked=not failed and kind == WITHDRAW,
        ledger=() if failed else _BOOKED[kind, mode],
        bank=BankSide("failed", code) if failed else PAID,
        failed_msg=f"银行返回失败：{code}" if failed else None,
        spare_minor=_SPARE_MINOR,
    )


def _plant_rows(production: Production, scenes: list[Scene]) -> None:
    rows = []
    for scene in scenes:
        number = voucher_number(scene.trd_id, scene.created_at)
        rows.append(trade_row(scene, {(scene.trade_no, "1"): number, (scene.trade_no, "2"): number}))
    with writing(production.engine) as connection:
        connection.execute(insert(production.tables.trade), rows)
