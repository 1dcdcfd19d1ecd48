"""The ten cases of the product document, as ``repair_cases.json`` (the acceptance oracle) tells them."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from sandbox.bank.records import PAYER_BALANCE, RISK_CONTROL
from sandbox.people import new_amount, new_customer
from sandbox.scenes import (
    NEVER_RECEIVED,
    PAID,
    RECHARGE,
    SINGLE_STEP,
    BankSide,
    LedgerSide,
    Scene,
)

SPARE_MINOR = 10_000_000
# Where the product document writes '...': what the channel left behind.
_FAILED_MSGS = {
    "S7a": "银行返回失败：E1003 风控拦截，提现失败",
    "S7b": "银行返回失败：E1003 风控拦截，提现失败",
    "S8": "银行通道响应超时，交易结果未知（BANK_TIMEOUT_60S）",
    "S9": "银行通道响应超时，交易结果未知（BANK_TIMEOUT_60S）",
}


@dataclass(frozen=True)
class Case:
    """One case of the oracle. ``before``, ``after`` are the row, ``after_world`` the money moved."""

    id: str
    fixer: str
    kind: str
    bookkeeping: str | None
    before: Mapping[str, Any]
    world: Mapping[str, Any]
    after: Mapping[str, Any]
    demo: Mapping[str, Any]
    after_world: Mapping[str, Any]


@dataclass(frozen=True)
class LoadedCase:
    """A case as it now stands in the sandbox; ``voucher_no`` is the number the ledger held before, if any."""

    case: Case
    trd_id: int
    trade_no: str
    amount_minor: int
    account_no: str
    bank_account_no: str
    voucher_no: str | None
    balance_before: int
    at: datetime


@cache
def all_cases() -> tuple[Case, ...]:
    """The ten, in the oracle's order."""
    oracle = json.loads(files("sandbox").joinpath("repair_cases.json").read_text(encoding="utf-8"))
    fields = Case.__dataclass_fields__
    return tuple(Case(**{name: case[name] for name in fields}) for case in oracle["cases"])


def find_case(case_id: str) -> Case:
    """Raises KeyError for an id that is none of the ten."""
    for case in all_cases():
        if case.id == case_id:
            return case
    raise KeyError(f"no case {case_id!r}")


def case_scene(
    case: Case,
    at: datetime,
    *,
    trade_no: str | None = None,
    trd_id: int | None = None,
    amount_minor: int | None = None,
    voucher_no: str | None = None,
    seed: int = 0,
) -> Scene:
    """Row, ledger and bank as the case's ``before`` and ``world`` say, under its demo numbers unless told."""
    before, is_demo = case.before, trade_no is None
    number = trade_no or str(case.demo["TRD_NUM"])
    row_id = int(case.demo["TRD_ID"]) if trd_id is None else trd_id
    chance = random.Random(f"{seed}:{number}")
    customer = new_customer(chance, row_id)
    voucher = voucher_no or (case.demo.get("voucher") if is_demo else None)
    return Scene(
        row_id,
        number,
        case.kind,
        case.bookkeeping,
        before["TRD_STATUS"],
        amount_minor or new_amount(chance),
        customer,
        created_at=at,
        updated_at=at + timedelta(seconds=2),
        acc_booked=before["ACC_TRD_STATUS"] == 1,
        e_acc_booked=before["E_ACC_TRD_STATUS"] == 1,
        ledger=_ledger_sides(case, voucher),
        bank=_bank_side(case),
        failed_msg=_FAILED_MSGS[case.id] if before["FAILED_MSG"] == "..." else before["FAILED_MSG"],
        # A case's customer can always be debited; what it has beyond that is nobody's business.
        spare_minor=max(SPARE_MINOR, amount_minor or 0),
    )


def loaded_case(case: Case, scene: Scene, voucher_no: str | None) -> LoadedCase:
    """What a test needs to know of a case after planting."""
    credits = sum(scene.amount_minor for _ in scene.ledger) if scene.kind == RECHARGE else 0
    return LoadedCase(
        case,
        scene.trd_id,
        scene.trade_no,
        scene.amount_minor,
        scene.customer.account_no,
        scene.customer.bank_account_no,
        voucher_no,
        scene.spare_minor + credits,
        scene.created_at,
    )


def _ledger_sides(case: Case, voucher_no: str | None) -> tuple[LedgerSide, ...]:
    """``world.ledger`` names the legs that are POSTED; single-step posts both as one entry."""
    posted = [leg[-1] for leg, stands in case.world["ledger"].items() if stands == "POSTED"]
    if posted == ["1", "2"] and case.bookkeeping == SINGLE_STEP:
        return (LedgerSide("both", voucher_no=voucher_no),)
    return tuple(LedgerSide(leg, voucher_no=voucher_no) for leg in posted)


def _bank_side(case: Case) -> BankSide:
    told = str(case.world["bank"])
    if told.startswith("SUCCESS"):
        return PAID
    if told.startswith("FAIL by two negatives"):
        return NEVER_RECEIVED
    if told == "FAIL by explicit code":
        return BankSide("failed", PAYER_BALANCE if case.kind == RECHARGE else RISK_CONTROL)
    raise ValueError(f"case {case.id}: no such bank: {told!r}")
