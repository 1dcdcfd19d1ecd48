"""Broken trades of every kind: those the fixers mend, and those that must not be repaired.

``EXPECTED`` says what becomes of each: ``repair:<fixer>``, ``human``, ``wait``, ``consistent`` (only looks
broken), ``unreported`` (no collector's pattern) or ``young`` (production may still be at work).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sandbox.bank.books import BankBooks
from sandbox.bank.records import PAYER_BALANCE, RISK_CONTROL, UNLISTED_CODE
from sandbox.people import new_amount, new_customer, trade_number
from sandbox.planting import note_planted, plant
from sandbox.production import Production
from sandbox.scenes import (
    FAILED,
    NEVER_RECEIVED,
    PAID,
    PROCESSING,
    RECHARGE,
    SINGLE_STEP,
    STILL_ACCEPTED,
    SUCCEEDED,
    TWO_STEP,
    WITHDRAW,
    BankSide,
    LedgerSide,
    Scene,
)

_SPARE_MINOR = 10_000_000
_TIMED_OUT = "银行通道响应超时，交易结果未知（BANK_TIMEOUT_60S）"
_REFUSED = "银行返回失败：{code}"

_LEG_1 = (LedgerSide("1"),)
_LEGS_1_2 = (LedgerSide("1"), LedgerSide("2"))
_BOTH = (LedgerSide("both"),)
_PAYER_POOR = BankSide("failed", PAYER_BALANCE)
_RISK = BankSide("failed", RISK_CONTROL)
_UNLISTED = BankSide("failed", UNLISTED_CODE)
_OTHER_AMOUNT = BankSide("success", extra_minor=1)


@dataclass(frozen=True)
class Break:
    """One kind of break; ``booked`` is how many legs the row says are booked."""

    name: str
    kind: str
    mode: str | None
    status: int
    booked: int
    ledger: tuple[LedgerSide, ...]
    bank: BankSide | None
    expected: str
    row_says: Mapping[str, object] = field(default_factory=dict)
    is_poor: bool = False


@dataclass(frozen=True)
class PlantedTrade:
    """A broken trade as loaded."""

    trd_id: int
    trade_no: str
    kind: str
    expected: str
    amount_minor: int
    account_no: str


def _recharge(name: str, status: int, ledger: tuple[LedgerSide, ...], bank: BankSide, expected: str) -> Break:
    return Break(name, RECHARGE, None, status, 0, ledger, bank, expected)


def _withdraw(
    name: str,
    mode: str,
    status: int,
    booked: int,
    ledger: tuple[LedgerSide, ...],
    bank: BankSide,
    expected: str,
) -> Break:
    return Break(name, WITHDRAW, mode, status, booked, ledger, bank, expected)


def _nonsense(name: str, **row_says: object) -> Break:
    return replace(_recharge(name, SUCCEEDED, (), PAID, "human"), row_says=row_says)


_INTER_RECHARGE = "repair:interRechargeFixServiceImpl"
_INTER_WITHDRAW = "repair:interWithdrawFixServiceImpl"
_INTER_WITHDRAW_ACC = "repair:interWithdrawAccFixServiceImpl"
_RECHARGE_FAILED = "repair:rechargeFailedFixServiceImpl"
_RECHARGE_TIMEOUT = "repair:rechargeTimeoutFixServiceImpl"
_WITHDRAW_FAILED = "repair:withdrawFailedFixServiceImpl"
_WITHDRAW_FAILED_ACC = "repair:withdrawFailedAccFixServiceImpl"
_WITHDRAW_TIMEOUT = "repair:withdrawTimeoutFixServiceImpl"

_MENDED = (
    _recharge("recharge success, never credited", SUCCEEDED, (), PAID, _INTER_RECHARGE),
    _recharge("recharge success, credited, row behind", SUCCEEDED, _LEG_1, PAID, _INTER_RECHARGE),
    _withdraw(
        "success, not debited, not paid", SINGLE_STEP, SUCCEEDED, 0, (), NEVER_RECEIVED, _INTER_WITHDRAW
    ),
    _withdraw("success, not debited, not paid", TWO_STEP, SUCCEEDED, 0, (), NEVER_RECEIVED, _INTER_WITHDRAW),
    _withdraw("success, not debited, refused", SINGLE_STEP, SUCCEEDED, 0, (), _RISK, _INTER_WITHDRAW),
    _withdraw(
        "success, debited, not paid", TWO_STEP, SUCCEEDED, 1, _LEG_1, NEVER_RECEIVED, _INTER_WITHDRAW_ACC
    ),
    _withdraw("success, debited, refused", TWO_STEP, SUCCEEDED, 1, _LEG_1, _RISK, _INTER_WITHDRAW_ACC),
    _recharge("recharge failed, bank took the money", FAILED, (), PAID, _RECHARGE_FAILED),
    _recharge("recharge failed, credited", FAILED, _LEG_1, PAID, _RECHARGE_FAILED),
    _recharge("recharge stuck, bank took the money", PROCESSING, (), PAID, _RECHARGE_TIMEOUT),
    _recharge("recharge stuck, refused", PROCESSING, (), _PAYER_POOR, _RECHARGE_TIMEOUT),
    _recharge("recharge stuck, never received", PROCESSING, (), NEVER_RECEIVED, _RECHARGE_TIMEOUT),
    _withdraw("failed, debited, refused", SINGLE_STEP, FAILED, 0, _BOTH, _RISK, _WITHDRAW_FAILED),
    _withdraw(
        "failed, debited, never received", SINGLE_STEP, FAILED, 0, _BOTH, NEVER_RECEIVED, _WITHDRAW_FAILED
    ),
    _withdraw("failed, first leg, refused", TWO_STEP, FAILED, 1, _LEG_1, _RISK, _WITHDRAW_FAILED_ACC),
    _withdraw(
        "failed, first leg, not paid", TWO_STEP, FAILED, 1, _LEG_1, NEVER_RECEIVED, _WITHDRAW_FAILED_ACC
    ),
    _withdraw("stuck, paid", SINGLE_STEP, PROCESSING, 0, (), PAID, _WITHDRAW_TIMEOUT),
    _withdraw("stuck, paid", TWO_STEP, PROCESSING, 0, (), PAID, _WITHDRAW_TIMEOUT),
    _withdraw("stuck, paid, first leg posted", TWO_STEP, PROCESSING, 1, _LEG_1, PAID, _WITHDRAW_TIMEOUT),
    _withdraw("stuck, paid, row behind ledger", SINGLE_STEP, PROCESSING, 0, _BOTH, PAID, _WITHDRAW_TIMEOUT),
    _withdraw("stuck, never received", SINGLE_STEP, PROCESSING, 0, (), NEVER_RECEIVED, _WITHDRAW_TIMEOUT),
    _withdraw("stuck, refused", TWO_STEP, PROCESSING, 0, (), _RISK, _WITHDRAW_TIMEOUT),
)

_NOT_MENDED = (
    _recharge("amount differs at bank", SUCCEEDED, (), _OTHER_AMOUNT, "human"),
    _withdraw("amount differs at bank", SINGLE_STEP, PROCESSING, 0, (), _OTHER_AMOUNT, "human"),
    _recharge("amount differs in ledger", PROCESSING, (LedgerSide("1", extra_minor=100),), PAID, "human"),
    _withdraw("amount differs in ledger", SINGLE_STEP, FAILED, 0, (LedgerSide("both", 100),), _RISK, "human"),
    _recharge("bank accepted for ever", PROCESSING, (), STILL_ACCEPTED, "wait"),
    _withdraw("bank accepted for ever", TWO_STEP, SUCCEEDED, 1, _LEG_1, STILL_ACCEPTED, "wait"),
    _withdraw("unknown bank code", SINGLE_STEP, PROCESSING, 0, (), _UNLISTED, "wait"),
    _recharge("unknown bank code", FAILED, (), _UNLISTED, "wait"),
    _withdraw("correctly failed", SINGLE_STEP, FAILED, 0, (), _RISK, "consistent"),
    _withdraw("correctly failed, never received", TWO_STEP, FAILED, 0, (), NEVER_RECEIVED, "consistent"),
    _recharge("correctly failed recharge", FAILED, (), _PAYER_POOR, "consistent"),
    _withdraw("processing, debited, refused", TWO_STEP, PROCESSING, 1, _LEG_1, _RISK, "human"),
    _withdraw("processing, debited, never paid", SINGLE_STEP, PROCESSING, 0, _BOTH, NEVER_RECEIVED, "human"),
    _withdraw("both legs on row, unpaid", SINGLE_STEP, PROCESSING, 2, _BOTH, _RISK, "human"),
    _withdraw("success, both legs, unpaid", TWO_STEP, SUCCEEDED, 2, _LEGS_1_2, _RISK, "unreported"),
    _withdraw("success, paid, not debited", SINGLE_STEP, SUCCEEDED, 0, (), PAID, "human"),
    _recharge("recharge success without bank money", SUCCEEDED, (), _PAYER_POOR, "human"),
    _recharge("credited without bank money", PROCESSING, _LEG_1, NEVER_RECEIVED, "human"),
    replace(
        _withdraw("insufficient balance, unpaid", SINGLE_STEP, SUCCEEDED, 0, (), NEVER_RECEIVED, "human"),
        is_poor=True,
    ),
    replace(
        _withdraw("insufficient balance, paid", SINGLE_STEP, PROCESSING, 0, (), PAID, "human"), is_poor=True
    ),
    _nonsense("status out of range", TRD_STATUS=5),
    _nonsense("status missing", TRD_STATUS=None),
    _nonsense("amount negative", AMOUNT=-8_800),
    _nonsense("amount missing", AMOUNT=None),
    _nonsense("amount malformed", AMOUNT="88.00元"),
    _nonsense("trade number malformed"),
    _nonsense("trade number twice"),
    _recharge("too young", PROCESSING, (), PAID, "young"),
)

# What is mended comes twice in the rotation, so that it is about three fifths of all.
BREAKS = (*_MENDED, *_NOT_MENDED, *_MENDED)


def plant_broken(
    production: Production, books: BankBooks, count: int, seed: int, at: datetime, serial: int
) -> list[PlantedTrade]:
    """``count`` broken trades at about ``at`` (three bank days ago), their ids from ``serial`` on; a number
    told twice is two rows more.
    """
    chance = random.Random(f"{seed}:{production.sys_code}")
    planted: list[tuple[Scene, str, str]] = []
    for index in range(count):
        broken = _storable(BREAKS[index % len(BREAKS)], production)
        moment = production.clock() if broken.expected == "young" else at - timedelta(seconds=index % 50)
        scene = _scene(production.sys_code, broken, chance, serial, moment)
        serial += 1
        planted.append((scene, broken.name, broken.expected))
        if broken.name == "trade number twice":
            planted.append((_twin(scene, serial), broken.name, broken.expected))
            serial += 1
    plant(production, books, [scene for scene, _, _ in planted])
    note_planted(production, planted)
    return [
        PlantedTrade(
            scene.trd_id, scene.trade_no, kind, expected, scene.amount_minor, scene.customer.account_no
        )
        for scene, kind, expected in planted
    ]


def _scene(sys_code: str, broken: Break, chance: random.Random, trd_id: int, at: datetime) -> Scene:
    number = trade_number(sys_code, broken.kind, at, trd_id)
    if broken.name == "trade number malformed":
        number = f"{sys_code} {trd_id}/不明#"
    code = None if broken.bank is None else broken.bank.code
    failed_msg = _REFUSED.format(code=code) if code else _TIMED_OUT
    return Scene(
        trd_id,
        number,
        broken.kind,
        broken.mode,
        broken.status,
        new_amount(chance),
        new_customer(chance, trd_id),
        created_at=at,
        updated_at=at,
        acc_booked=broken.booked >= 1,
        e_acc_booked=broken.booked == 2,
        ledger=broken.ledger,
        bank=broken.bank,
        failed_msg=None if broken.status == SUCCEEDED else failed_msg,
        spare_minor=0 if broken.is_poor else _SPARE_MINOR,
        row_says=broken.row_says,
    )


def _twin(scene: Scene, trd_id: int) -> Scene:
    """A second row of the same number, with nothing of its own behind it."""
    return replace(scene, trd_id=trd_id, ledger=(), bank=None)


def _storable(broken: Break, production: Production) -> Break:
    """Where the column is a number, a malformed amount arrives as a missing one."""
    if isinstance(broken.row_says.get("AMOUNT"), str) and not production.stores_malformed_amounts:
        return replace(broken, row_says={"AMOUNT": None})
    return broken
