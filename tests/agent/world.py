"""The ten cases in a production system in memory, and attempts at them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from agent.facts import Bookkeeping, Kind, Leg
from agent.fixers import FIXERS, Fixer
from agent.fixers.base import RepairOrder, RepairReport, RepairSettings, read_facts, repair
from agent.fixers.result import result_of
from agent.records import StepRow
from agent.unpaid import Action, digest_of
from tests.fakes.faults import Faults
from tests.fakes.production import FakeProduction

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case
    for case in json.loads(Path(__file__).with_name("repair_cases.json").read_text(encoding="utf-8"))["cases"]
}
AMOUNT = 10_050
BALANCE = 1_000_000


@dataclass
class Flag:
    """A Cancellation a test can set."""

    is_on: bool = False

    def is_set(self) -> bool:
        return self.is_on


@dataclass
class Desk:
    """One production system and the attempts made on it."""

    production: FakeProduction = field(default_factory=FakeProduction)
    cancellation: Flag = field(default_factory=Flag)
    told: list[StepRow] = field(default_factory=list)
    fence: int = 0
    rules: dict[str, Any] = field(default_factory=dict)
    """What the agent's settings say beside their defaults."""
    fixers: Mapping[str, Fixer] = field(default_factory=lambda: FIXERS)
    """Those the agent offers."""

    @property
    def settings(self) -> RepairSettings:
        return RepairSettings(**{"sys_code": "PBAP", "clock": self.production.clock, **self.rules})

    def attempt(
        self,
        trade_no: str,
        fixer_code: str,
        *,
        row_hash: str | None = None,
        fence: int | None = None,
        by_person: bool = False,
        judged: int | None = None,
    ) -> RepairReport:
        """One attempt with the next fence, on the row as it stands, judged by an amount."""
        self.fence = fence if fence is not None else self.fence + 1
        order = RepairOrder(
            trade_no=trade_no,
            fixer_code=fixer_code,
            row_hash=self.row_hash(trade_no) if row_hash is None else row_hash,
            fence=self.fence,
            agent="agent-1",
            boot_id=f"boot-{self.fence}",
            is_by_person=by_person,
            max_amount_minor=judged,
        )
        return self._carry_out(order)

    def order(
        self, trade_no: str, fixer_code: str, action: Action, *, seen: str = "", fence: int | None = None
    ) -> RepairReport:
        """One attempt at what a person has ordered on the facts as they stand, or on those of ``seen``."""
        self.fence = fence if fence is not None else self.fence + 1
        order = RepairOrder(
            trade_no=trade_no,
            fixer_code=fixer_code,
            row_hash=self.row_hash(trade_no),
            fence=self.fence,
            agent="agent-1",
            boot_id=f"boot-{self.fence}",
            action=action,
            facts_hash=seen or self.facts_hash(trade_no),
        )
        return self._carry_out(order)

    def _carry_out(self, order: RepairOrder) -> RepairReport:
        told, cancellation = self.told.append, self.cancellation
        return repair(order, self.production.ports, self.settings, told, cancellation, self.fixers)

    def facts_hash(self, trade_no: str) -> str:
        """What an order given now stands on; reading it counts as no port call."""
        production = self.production
        ports = (production.trades, production.ledger, production.bank)
        kept = [port.faults for port in ports]
        for port in ports:
            port.faults = Faults()
        try:
            return digest_of(read_facts(production.trade(trade_no), production.ports))
        finally:
            for port, faults in zip(ports, kept, strict=True):
                port.faults = faults

    def row_hash(self, trade_no: str) -> str:
        stored = self.production.trades._stored(trade_no)
        return self.production.trade(trade_no).row_hash if stored else "none"


def load_case(
    desk: Desk,
    case_id: str,
    *,
    trade_no: str | None = None,
    amount: int = AMOUNT,
    bookkeeping: str | None = None,
) -> tuple[str, str]:
    """Load one of the ten cases; returns its trade number and fixer code."""
    case = CASES[case_id]
    production = desk.production
    kind = Kind(case["kind"])
    row = dict(case["before"])
    number = trade_no or str(row["TRD_NUM"])
    row["TRD_NUM"] = number
    row["FAILED_MSG"] = "银行返回超时" if row["FAILED_MSG"] == "..." else row["FAILED_MSG"]
    mode = bookkeeping or case["bookkeeping"]
    production.add_trade(
        row, kind.value, mode, amount=amount, balance=0 if kind is Kind.RECHARGE else BALANCE
    )
    _load_ledger(production, number, case, mode)
    _load_bank(production, number, case["world"]["bank"])
    production.clock.advance(seconds=1)
    return number, case["fixer"]


def _load_ledger(production: FakeProduction, number: str, case: dict[str, Any], mode: str | None) -> None:
    ledger = case["world"]["ledger"]
    if ledger["leg1"] != "POSTED":
        return
    voucher = (
        case["demo"]["voucher"] if case["before"]["ACC_TRD_NUM"] is None else case["before"]["ACC_TRD_NUM"]
    )
    production.book(number, Leg.BOTH if mode == Bookkeeping.SINGLE_STEP else Leg.FIRST, voucher)


def _load_bank(production: FakeProduction, number: str, words: str) -> None:
    if words.startswith("SUCCESS"):
        production.request(number, "success")
    elif "explicit" in words:
        production.request(number, "failed", "E1001")
    else:
        production.request(number, None)


def wait_for_days_to_close(desk: Desk) -> None:
    """Let two bank days pass, so that settlement files prove what never arrived."""
    desk.production.clock.advance(hours=2)
    desk.production.bank.closed_until = desk.production.clock() - timedelta(hours=1)


def wait_for_failures_to_settle(desk: Desk) -> None:
    """Let so much time pass that the bank no longer changes its mind about what it has failed."""
    desk.production.clock.advance(seconds=desk.production.bank.failure_settles_s)


def numbers(desk: Desk) -> list[str]:
    """The numbers of the payouts that really left the bank."""
    return [payment.request_no for payment in desk.production.bank.payments]


def may_have_been_asked(desk: Desk, trade_no: str) -> bool:
    """Whether the newest repair of the trade was let ask the bank, by production's table."""
    standing = desk.production.trades._repair(trade_no)
    return standing is not None and any(result_of(step).status for step in standing.steps)


def nothing_was_touched(desk: Desk, trade_no: str) -> bool:
    """Whether Piculus left no trace at all."""
    trades = desk.production.trades
    posted = [entry for entry in desk.production.ledger.entries if entry.posted_by == "piculus"]
    return not (posted or trades.corrections or trades.repairs or desk.production.bank.asked)


def book(desk: Desk, trade_no: str, leg: Leg) -> None:
    """Production posts a leg itself."""
    desk.production.book(trade_no, leg)
