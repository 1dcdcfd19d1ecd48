"""A bank that changes its mind: a payout it has failed turns into success, and the customer is paid once."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.adapters.bank_http import HttpBank
from agent.adapters.names import BankNames
from agent.fixers.base import verify
from sandbox.bank.records import BankRecord
from sandbox.bank.server import RunningBank, running_bank
from tests.agent.world import Desk, load_case

SETTLES_S = 60
LATE_S = 20
TWO_BANK_DAYS_S = 120
WITHDRAWALS_PAID = ("S2", "S3", "S7a", "S7b")


@dataclass
class Branch:
    """A production in memory beside the sandbox's bank over HTTP, on one clock."""

    desk: Desk
    bank: RunningBank
    connected: list[HttpBank] = field(default_factory=list)

    def load(self, case_id: str) -> tuple[str, str]:
        """One of the ten cases, the bank's side of it in the bank's own books."""
        trade_no, code = load_case(self.desk, case_id)
        for held in self.desk.production.bank.records.values():
            assert held.completed_at is not None
            at = held.completed_at.replace(tzinfo=None)
            loaded = (held.request_no, held.kind, held.status, held.code, held.amount, "CNY", held.account)
            self.bank.books.load([BankRecord(*loaded, accepted_at=at, completed_at=at)])
        return trade_no, code

    def connect(self, *, deduplicates: bool) -> None:
        """Speak to the bank as to one that de-duplicates, or does not."""
        names = BankNames(failure_settles_s=SETTLES_S, deduplicates=deduplicates)
        http = HttpBank(self.bank.url, "token", names)
        self.desk.production.ports = msgspec.structs.replace(self.desk.production.ports, bank=http)
        self.connected.append(http)

    def fail_late_original(self, trade_no: str, **to_come: Any) -> None:
        """Production's own request reaches the bank now, days late; the bank fails it and tells no time."""
        [held] = self.bank.books.of_trade(trade_no)
        self.bank.books.clear()
        late = replace(held, accepted_at=self.bank.books.clock(), completed_at=None)
        self.bank.books.load([replace(late, **to_come)])

    def paid(self, trade_no: str) -> list[str]:
        """The numbers under which the bank has paid."""
        return [each.request_no for each in self.bank.books.of_trade(trade_no) if each.status == "success"]


@pytest.fixture
def branch(tmp_path: Path) -> Iterator[Branch]:
    desk = Desk()
    clock = desk.production.clock
    with running_bank(tmp_path / "bank.db", "token", clock=lambda: clock().replace(tzinfo=None)) as running:
        branch = Branch(desk, running)
        branch.connect(deduplicates=True)
        yield branch
        for http in branch.connected:
            http.close()


@pytest.mark.parametrize("case_id", WITHDRAWALS_PAID)
def test_a_payout_that_succeeds_late_is_never_paid_twice(branch: Branch, case_id: str) -> None:
    desk = branch.desk
    trade_no, code = branch.load(case_id)
    branch.bank.faults.set({"kind": "late_success", "next_calls": 1, "seconds": LATE_S})
    assert desk.attempt(trade_no, code).outcome == "wait"
    for _ in range(LATE_S):
        assert verify(trade_no, desk.production.ports, desk.settings).outcome == "wait"
        assert desk.attempt(trade_no, code).outcome == "wait"
        assert branch.paid(trade_no) == []
        desk.production.clock.advance(seconds=1)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    desk.production.clock.advance(seconds=SETTLES_S)
    assert len(branch.paid(trade_no)) == 1


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_a_payout_that_has_failed_for_good_is_paid_under_the_next_number(
    branch: Branch, case_id: str
) -> None:
    desk = branch.desk
    trade_no, code = branch.load(case_id)
    branch.bank.faults.set({"kind": "reject", "next_calls": 1, "code": "E1001"})
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(seconds=SETTLES_S)
    assert desk.attempt(trade_no, code).outcome == "failed"
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert branch.paid(trade_no) == [f"{trade_no}-P2"]


def test_a_payout_that_has_failed_for_good_after_our_debit_is_for_a_person(branch: Branch) -> None:
    desk = branch.desk
    trade_no, code = branch.load("S2")
    branch.bank.faults.set({"kind": "reject", "next_calls": 1, "code": "E1001"})
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(seconds=SETTLES_S)
    assert desk.attempt(trade_no, code).reason == "debited, payout failed"
    assert branch.paid(trade_no) == []


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_productions_own_request_that_succeeds_late_is_never_paid_beside(
    branch: Branch, case_id: str
) -> None:
    desk = branch.desk
    trade_no, code = branch.load(case_id)
    [held] = branch.bank.books.of_trade(trade_no)
    branch.bank.books.clear()
    now = branch.bank.books.clock()
    due_at = now + timedelta(seconds=LATE_S)
    branch.bank.books.load([replace(held, completed_at=now, due_at=due_at, due_status="success")])
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(seconds=LATE_S)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "failed but bank paid")
    assert branch.paid(trade_no) == [f"{trade_no}-0"]


@pytest.mark.parametrize("deduplicates", [True, False], ids=["de-duplicates", "does not"])
@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_a_late_original_that_fails_without_a_time_is_never_paid_beside(
    branch: Branch, case_id: str, deduplicates: bool
) -> None:
    """The files of when its line was written prove nothing: the bank did not have it yet."""
    desk = branch.desk
    branch.connect(deduplicates=deduplicates)
    trade_no, code = branch.load(case_id)
    due_at = branch.bank.books.clock() + timedelta(seconds=LATE_S)
    branch.fail_late_original(trade_no, due_at=due_at, due_status="success")
    for _ in range(LATE_S):
        assert desk.attempt(trade_no, code).outcome == "wait"
        desk.production.clock.advance(seconds=1)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "failed but bank paid")
    assert branch.paid(trade_no) == [f"{trade_no}-0"]


@pytest.mark.parametrize("deduplicates", [True, False], ids=["de-duplicates", "does not"])
@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_a_late_original_that_has_failed_for_good_is_paid_under_the_next_number(
    branch: Branch, case_id: str, deduplicates: bool
) -> None:
    desk = branch.desk
    branch.connect(deduplicates=deduplicates)
    trade_no, code = branch.load(case_id)
    branch.fail_late_original(trade_no)
    assert desk.attempt(trade_no, code).outcome == "wait"
    desk.production.clock.advance(seconds=TWO_BANK_DAYS_S + SETTLES_S)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert branch.paid(trade_no) == [f"{trade_no}-P1"]
