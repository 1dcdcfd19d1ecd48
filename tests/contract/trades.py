"""Trades as values, for the ports that are handed one."""

from datetime import UTC, datetime
from itertools import count

from agent.facts import Bookkeeping, Kind, Leg, Row, Status
from agent.money import Money
from agent.records import BankRequest, Posting, Trade

_numbers = count(1)
AT = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
READ_AT = datetime(2026, 3, 2, 4, 0, 30, tzinfo=UTC)


def new_trade(
    kind: Kind = Kind.WITHDRAW,
    *,
    amount: int = 10_050,
    currency: str = "CNY",
    bank_account_no: str = "",
    account_no: str = "",
    created_at: datetime = AT,
    read_at: datetime = READ_AT,
) -> Trade:
    """A trade that nobody has seen before, with accounts of its own."""
    number = next(_numbers)
    trade_no = f"{'CO' if kind is Kind.RECHARGE else 'WD'}{number:018d}"
    row: Row = {"TRD_ID": number, "TRD_NUM": trade_no}
    return Trade(
        trade_id=number,
        trade_no=trade_no,
        row=row,
        row_hash="",
        terms="",
        version=1,
        kind=kind,
        bookkeeping=Bookkeeping.SINGLE_STEP if kind is Kind.WITHDRAW else None,
        status=Status.SUCCESS,
        is_acc=False,
        is_e_acc=False if kind is Kind.WITHDRAW else None,
        amount_minor=amount,
        currency=currency,
        account_no=account_no or f"LEDGER-{number}",
        bank_account_no=bank_account_no or f"6222{number:012d}99",
        channel="ICBC",
        created_at=created_at,
        changed_at=created_at,
        read_at=read_at,
        raw_version=1,
    )


def posting_of(
    trade: Trade, leg: Leg, *, key: str = "", amount: int | None = None, account_no: str = ""
) -> Posting:
    """What a fixer would post for a leg of the trade, intended now."""
    assert trade.kind is not None
    assert trade.amount_minor is not None
    return Posting(
        key=key or f"PCL:PBAP:{trade.trade_no}:{leg.value}",
        trade_no=trade.trade_no,
        kind=trade.kind,
        leg=leg,
        account_no=account_no or trade.account_no,
        amount=Money(trade.amount_minor if amount is None else amount, trade.currency),
        intended_at=datetime.now(UTC),
    )


def request_of(trade: Trade, seq: int = 0, *, created_at: datetime | None = None) -> BankRequest:
    """Production's bank request number ``seq`` of the trade."""
    return BankRequest(
        request_no=f"{trade.trade_no}-{seq}" if seq == 0 else f"{trade.trade_no}-P{seq}",
        trade_no=trade.trade_no,
        seq=seq,
        kind="receipt" if trade.kind is Kind.RECHARGE else "payout",
        status="created",
        amount_minor=trade.amount_minor,
        created_at=created_at or trade.created_at or AT,
    )
