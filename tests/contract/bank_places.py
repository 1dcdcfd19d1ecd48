"""Where a bank's contract is tested: the fake, or the sandbox's bank behind the HTTP adapter."""

from datetime import datetime, timedelta
from typing import Protocol

from agent.adapters.bank_http import HttpBank
from agent.adapters.names import BankNames
from agent.ports import BankPort
from sandbox.bank.records import BankRecord
from sandbox.bank.server import RunningBank
from tests.contract.trades import READ_AT
from tests.fakes.bank import BankRecord as FakeRecord
from tests.fakes.bank import FakeBank
from tests.fakes.faults import Clock, Faults

NOW = READ_AT
SETTLED = NOW - timedelta(hours=2)
"""A time whose bank day, and the next, are closed; those of NOW are open."""
IMPATIENT = BankNames(timeout_s=0.2)
"""For a bank that hangs; any other is given the time it takes."""


class BankPlace(Protocol):
    """A bank whose books a test can fill."""

    bank: BankPort

    def put(
        self,
        request_no: str,
        status: str,
        *,
        kind: str = "payout",
        amount: int = 10_050,
        account: str,
        code: str | None = None,
        currency: str = "CNY",
        completed_at: datetime | None = SETTLED,
        accepted_at: datetime = SETTLED,
    ) -> None: ...

    def paid(self, request_no: str) -> list[int]: ...


class FakeBankPlace:
    """The bank in memory."""

    def __init__(self) -> None:
        self.fake = FakeBank(Clock(NOW), Faults())
        self.bank: BankPort = self.fake

    def put(
        self,
        request_no: str,
        status: str,
        *,
        kind: str = "payout",
        amount: int = 10_050,
        account: str,
        code: str | None = None,
        currency: str = "CNY",
        completed_at: datetime | None = SETTLED,
        accepted_at: datetime = SETTLED,
    ) -> None:
        """A record as it stands."""
        completed = None if status == "accepted" else completed_at
        said = (request_no, kind, status, amount, account, code, currency, completed)
        self.fake.put(FakeRecord(*said, accepted_at=accepted_at))

    def paid(self, request_no: str) -> list[int]:
        """Fen of every payout under the number."""
        return [each.amount for each in self.fake.payments if each.request_no == request_no]


class HttpBankPlace:
    """The sandbox's bank behind the adapter."""

    def __init__(self, running: RunningBank) -> None:
        self.running = running
        self.http = HttpBank(running.url, running.token)
        self.bank: BankPort = self.http

    def put(
        self,
        request_no: str,
        status: str,
        *,
        kind: str = "payout",
        amount: int = 10_050,
        account: str,
        code: str | None = None,
        currency: str = "CNY",
        completed_at: datetime | None = SETTLED,
        accepted_at: datetime = SETTLED,
    ) -> None:
        """A record as it stands."""
        at = accepted_at.replace(tzinfo=None)
        finished = None if status == "accepted" or completed_at is None else completed_at.replace(tzinfo=None)
        record = BankRecord(request_no, kind, status, code, amount, currency, account, at, finished)
        self.running.books.load([record])

    def paid(self, request_no: str) -> list[int]:
        """Fen of every payout under the number."""
        record = self.running.books.find([request_no]).get(request_no)
        return [record.amount_minor] if record is not None and record.status == "success" else []
