"""One production system in memory: trades, ledger, bank, one clock and one set of failure switches."""

from datetime import datetime, timedelta

import msgspec

from agent.facts import Bookkeeping, Kind, Leg, Row
from agent.ports import Ports
from agent.records import BankRequest, Trade
from tests.fakes.bank import BANK_KINDS, BankRecord, FakeBank
from tests.fakes.faults import Clock, Faults
from tests.fakes.ledger import FakeLedger
from tests.fakes.trades import FakeTrades, StoredTrade


class FakeProduction:
    """Wires the three fakes and loads trades into them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.trades = FakeTrades(self.clock, self.faults)
        self.ledger = FakeLedger(self.clock, self.faults)
        self.bank = FakeBank(self.clock, self.faults)
        self.ports = Ports(self.trades, self.ledger, self.bank)

    def add_trade(
        self,
        row: Row,
        kind: object,
        bookkeeping: object = None,
        *,
        amount: object = 10_050,
        balance: int = 0,
        at: datetime | None = None,
    ) -> None:
        """Store a row as it is, with a customer's account of its own that holds ``balance``."""
        at = at or self.clock() - timedelta(days=2)
        number = row["TRD_NUM"]
        self.ledger.balances.setdefault(f"CUST-{number}", balance)
        self.trades.put(
            StoredTrade(dict(row), kind, amount, f"CUST-{number}", f"6222-{number}", bookkeeping, at, at)
        )

    def trade(self, trade_no: str) -> Trade:
        """The row read, without counting as a port call."""
        return self.trades._read(self.trades._stored(trade_no)[0])

    def book(self, trade_no: str, leg: Leg, voucher_no: str | None = None, amount: int | None = None) -> str:
        """Production's own posting for a trade."""
        return self.ledger.put(self.trade(trade_no), leg, voucher_no=voucher_no, amount=amount)

    def request(
        self,
        trade_no: str,
        status: str | None,
        code: str | None = None,
        *,
        seq: int = 0,
        amount: int | None = None,
        request_no: str | None = None,
    ) -> str:
        """Production's bank request number ``seq``, as old as the trade and long settled.

        ``status`` None: written, but the bank never got it. ``request_no``: named by itself, not as ours are.
        """
        trade = self.trade(trade_no)
        assert trade.kind is not None
        assert trade.created_at is not None
        kind = BANK_KINDS[trade.kind]
        minor = amount if amount is not None else trade.amount_minor or 0
        number = request_no or (f"{trade_no}-{seq}" if seq == 0 else f"{trade_no}-P{seq}")
        self.trades.requests.append(
            BankRequest(
                request_no=number,
                trade_no=trade_no,
                seq=seq,
                kind=kind,
                status="created",
                amount_minor=minor,
                created_at=trade.created_at,
            )
        )
        if status is not None:
            at = trade.created_at
            completed_at = None if status == "accepted" else at
            record = BankRecord(number, kind, status, minor, trade.bank_account_no, code)
            self.bank.put(msgspec.structs.replace(record, accepted_at=at, completed_at=completed_at))
        return number

    def balance(self, trade_no: str) -> int:
        """What the customer's account of a trade holds."""
        return self.ledger.balances[self.trade(trade_no).account_no]


def blank_row(trade_id: int, trade_no: str, status: int, kind: Kind) -> Row:
    """A row with nothing booked."""
    return {
        "TRD_ID": trade_id,
        "TRD_NUM": trade_no,
        "TRD_STATUS": status,
        "ACC_TRD_NUM": None,
        "ACC_TRD_STATUS": 0,
        "E_ACC_TRD_NUM": None,
        "E_ACC_TRD_STATUS": 0 if kind is Kind.WITHDRAW else None,
        "FAILED_MSG": None,
    }


__all__ = ["Bookkeeping", "FakeProduction", "blank_row"]
