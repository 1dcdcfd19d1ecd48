"""Trades debited and finally unpaid, in every shape a person may order of."""

from typing import Any

from agent.facts import Kind, Leg, Row
from tests.agent.world import AMOUNT, BALANCE, Desk, load_case, wait_for_failures_to_settle
from tests.fakes.production import blank_row

TRADE_NO = "TX20260301000077"
OURS = ("ours", "ours two-step")
"""Our own repair debited it and its payout failed."""
PRODUCTIONS: dict[str, dict[str, Any]] = {
    "processing": {"status": 0, "mode": "single_step", "posted": (Leg.BOTH,), "row": 0},
    "processing two-step": {"status": 0, "mode": "two_step", "posted": (Leg.FIRST,), "row": 0},
    "processing, leg on row": {"status": 0, "mode": "two_step", "posted": (Leg.FIRST,), "row": 1},
    "processing, both on row": {"status": 0, "mode": "single_step", "posted": (Leg.BOTH,), "row": 2},
    "success, both on row": {"status": 8, "mode": "single_step", "posted": (Leg.BOTH,), "row": 2},
    "failed, both on row": {"status": 9, "mode": "two_step", "posted": (Leg.FIRST, Leg.SECOND), "row": 2},
    "settled in the ledger": {"status": 8, "mode": "two_step", "posted": (Leg.FIRST, Leg.SECOND), "row": 1},
    "failed, half posted": {"status": 9, "mode": "two_step", "posted": (Leg.FIRST,), "row": 1},
}
"""Production itself debited it: status, way of posting, the entries, and how many legs stand on the row."""
SHAPES = (*OURS, *PRODUCTIONS)


def load_unpaid(desk: Desk, shape: str) -> tuple[str, str]:
    """Load a trade of this shape; returns its number and the fixer code of its anomaly."""
    if shape in OURS:
        return _ours(desk, "two_step" if shape.endswith("two-step") else "single_step")
    return _productions(desk, **PRODUCTIONS[shape])


def _ours(desk: Desk, mode: str) -> tuple[str, str]:
    trade_no, code = load_case(desk, "S2", bookkeeping=mode)
    desk.production.bank.replies.append("failed:E1001")
    assert desk.attempt(trade_no, code).outcome == "wait"
    wait_for_failures_to_settle(desk)
    assert desk.attempt(trade_no, code).reason == "debited, payout failed"
    desk.production.bank.asked.clear()
    return trade_no, code


def _productions(desk: Desk, *, status: int, mode: str, posted: tuple[Leg, ...], row: int) -> tuple[str, str]:
    production = desk.production
    cells: Row = blank_row(77, TRADE_NO, status, Kind.WITHDRAW)
    production.add_trade(cells, "withdraw", mode, balance=BALANCE)
    vouchers = [production.book(TRADE_NO, leg) for leg in posted]
    stored = production.trades._stored(TRADE_NO)[0]
    for leg, voucher in list(zip(("ACC", "E_ACC"), (vouchers[0], vouchers[-1]), strict=True))[:row]:
        stored.row |= {f"{leg}_TRD_NUM": voucher, f"{leg}_TRD_STATUS": 1}
    production.request(TRADE_NO, "failed", "E1001")
    production.clock.advance(seconds=1)
    return TRADE_NO, "withdrawTimeoutFixServiceImpl"


def net_postings(desk: Desk, trade_no: str) -> dict[str, int]:
    """What all entries of a trade, whoever made them, have moved between accounts; zeros left out."""
    moved: dict[str, int] = {}
    for entry in desk.production.ledger.of_trade(trade_no):
        for account, amount in entry.postings:
            moved[account] = moved.get(account, 0) + amount
    return {account: amount for account, amount in moved.items() if amount}


PAID = {"BANK": AMOUNT}
"""What a paid withdrawal has moved, beside the customer's side of it."""
