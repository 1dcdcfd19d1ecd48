"""Reading a trade's facts from the three ports; telling rows that are still in flight."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.errors import PortError
from agent.facts import BankFact, BankState, Facts, Kind, LegFact, LegState, Status
from agent.fixers.attempt import AttemptEnded
from agent.fixers.order import RepairSettings
from agent.fixers.payout_number import numbers_behind
from agent.money import NOT_FEN, has_decimals
from agent.ports import Ports
from agent.records import CLOCKS_APART, BankRequest, Trade

IN_FLIGHT: Final = "in flight"
ROW_CHANGED: Final = "the row has changed since it was reported"
ROW_CHANGED_AFTER_MONEY: Final = "row changed after money moved"
TOO_OLD: Final = "older than what is repaired without a person, in days: "
"""Before the number of days."""

Legs = tuple[LegFact, LegFact | None]


def is_in_flight(trade: Trade, settings: RepairSettings) -> bool:
    """Whether production may still be at work on the trade, by production's clock."""
    if _is_younger(trade, trade.changed_at, settings.quiet_for):
        return True
    return trade.status is Status.PROCESSING and _is_younger(trade, trade.created_at, settings.stuck_after)


def is_too_old(trade: Trade, settings: RepairSettings) -> bool:
    """Whether the trade was made so long ago that only a person's word has it repaired."""
    return trade.created_at is not None and trade.read_at - trade.created_at > settings.max_age


def _is_younger(trade: Trade, at: datetime | None, than: timedelta) -> bool:
    """Whether ``at`` is less than so long ago; a time that makes no sense is not."""
    return at is not None and -CLOCKS_APART <= trade.read_at - at < than


def find_the_row(trade_no: str, ports: Ports) -> Trade:
    """Return the only row with this number. Raises AttemptEnded(needs_human), PortError."""
    found = ports.trades.find(trade_no)
    if not found:
        raise AttemptEnded("needs_human", "no row has this trade number")
    if len(found) > 1:
        raise AttemptEnded("needs_human", "more than one row has this trade number")
    return found[0]


def read_facts(trade: Trade, ports: Ports) -> Facts:
    """Read ledger and bank for a row that makes sense. Raises PortError.

    The bank is asked about the numbers that production's table may have lost, too: an inquiry of their own
    would be as long again.
    """
    requests = ports.trades.bank_requests([trade.trade_no])
    legs = ports.ledger.legs([trade])
    lines = {each.request_no: each.seq for each in requests.get(trade.trade_no, [])}
    behind = numbers_behind(trade.trade_no, trade.kind, list(lines.values()))
    others = [each.request_no for each in behind if each.request_no not in lines]
    bank = ports.bank.facts([trade], requests, {trade.trade_no: others})
    return make_facts(trade, legs, bank, requests)


def read_legs(trades: Sequence[Trade], ports: Ports) -> Mapping[str, Legs]:
    """Read the ledger for many trades; where it cannot be asked every leg is UNKNOWN."""
    try:
        return ports.ledger.legs(trades)
    except PortError as error:
        unknown = LegFact(LegState.UNKNOWN, detail=str(error))
        return {each.trade_no: (unknown, unknown) for each in trades}


def read_page(trades: Sequence[Trade], legs: Mapping[str, Legs], ports: Ports) -> dict[str, Facts]:
    """Complete many trades' facts with what the bank says; UNKNOWN where it cannot be asked."""
    requests: Mapping[str, list[BankRequest]] = {}
    try:
        requests = ports.trades.bank_requests([each.trade_no for each in trades])
        bank = ports.bank.facts(trades, requests)
    except PortError as error:
        bank = {each.trade_no: BankFact(BankState.UNKNOWN, detail=str(error)) for each in trades}
    return {each.trade_no: make_facts(each, legs, bank, requests) for each in trades}


def make_facts(
    trade: Trade,
    legs: Mapping[str, Legs],
    bank: Mapping[str, BankFact],
    requests: Mapping[str, list[BankRequest]],
) -> Facts:
    """Put together what the ports said of one trade; what a port left out is UNKNOWN."""
    if trade.kind is None or trade.status is None or trade.is_acc is None or trade.amount_minor is None:
        raise ValueError(f"the row of {trade.trade_no} makes no sense")
    unknown = LegFact(LegState.UNKNOWN, detail="the ledger did not answer for this trade")
    first, second = legs.get(trade.trade_no, (unknown, unknown))
    is_withdrawal = trade.kind is Kind.WITHDRAW
    return Facts(
        trade_no=trade.trade_no,
        kind=trade.kind,
        bookkeeping=trade.bookkeeping if is_withdrawal else None,
        status=trade.status,
        is_acc=trade.is_acc,
        is_e_acc=bool(trade.is_e_acc) if is_withdrawal else None,
        first=_beside_row(first, trade.is_acc, trade.row["ACC_TRD_NUM"]),
        second=_beside_row(second or unknown, trade.is_e_acc, trade.row["E_ACC_TRD_NUM"])
        if is_withdrawal
        else None,
        bank=_beside_requests(bank.get(trade.trade_no), trade, requests.get(trade.trade_no, [])),
        amount_minor=trade.amount_minor,
        currency=trade.currency,
        row_hash=trade.row_hash,
        read_at=trade.read_at.isoformat(),
    )


def _beside_row(leg: LegFact, is_booked: bool | None, voucher_on_row: object) -> LegFact:
    """A voucher number on the row that is not the ledger's own is a contradiction for a person."""
    if leg.state is LegState.POSTED and (is_booked or voucher_on_row) and voucher_on_row != leg.voucher_no:
        detail = f"the row carries {voucher_on_row}, the ledger {leg.voucher_no}"
        return msgspec.structs.replace(leg, state=LegState.MISMATCH, detail=detail)
    if leg.state is LegState.NONE and voucher_on_row and not is_booked:
        detail = f"the row carries {voucher_on_row}, which the ledger does not hold for it"
        return msgspec.structs.replace(leg, state=LegState.MISMATCH, detail=detail)
    return leg


def _beside_requests(bank: BankFact | None, trade: Trade, requests: Sequence[BankRequest]) -> BankFact:
    """A request line that asks for another amount than the row, or in another unit, is for a person."""
    if bank is None:
        return BankFact(BankState.UNKNOWN, detail="the bank did not answer for this trade")
    for request in requests:
        detail = ""
        if has_decimals(request.raw_amount):
            detail = f"request {request.request_no} asks for {request.raw_amount}, which {NOT_FEN}"
        elif request.amount_minor is not None and request.amount_minor != trade.amount_minor:
            detail = f"request {request.request_no} asks for {request.amount_minor}"
        if detail:
            return msgspec.structs.replace(bank, state=BankState.MISMATCH, detail=detail)
    return bank
