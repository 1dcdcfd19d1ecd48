"""A bank request that production opens while a 冲正 looks at the bank: what it pays is not given back."""

from itertools import count

import pytest

from tests.agent.test_limits_reversed import written_down
from tests.agent.unpaid_trades import SHAPES, load_unpaid, net_postings
from tests.agent.world import Desk

SHAPE = pytest.mark.parametrize("shape", SHAPES)
STATUS = pytest.mark.parametrize("status", ["success", "accepted"])


def reversals(desk: Desk, trade_no: str) -> list[str | None]:
    return [each.reverses for each in desk.production.ledger.of_trade(trade_no) if each.reverses]


class Production:
    """Opens the next number at the nth look at the bank, and has the bank take it at once."""

    def __init__(self, desk: Desk, trade_no: str, look: int, status: str) -> None:
        self._desk, self._trade_no, self._status = desk, trade_no, status
        self._looks_left = look
        self.reversed_before: list[str | None] | None = None
        desk.production.faults.on("bank.facts", self)

    def __call__(self) -> None:
        self._looks_left -= 1
        if self._looks_left == 0:
            self.reversed_before = reversals(self._desk, self._trade_no)
            seq = max(each.seq for each in self._desk.production.trades.requests) + 1
            number, code = f"{self._trade_no}-{seq}", "E1001" if self._status == "failed" else None
            self._desk.production.request(self._trade_no, self._status, code, seq=seq, request_no=number)


@STATUS
@SHAPE
def test_no_entry_is_taken_back_beside_a_number_opened_at_any_look(shape: str, status: str) -> None:
    for look in count(1):
        desk = Desk()
        trade_no, code = load_unpaid(desk, shape)
        seen = desk.facts_hash(trade_no)
        production = Production(desk, trade_no, look, status)
        desk.order(trade_no, code, "reverse", seen=seen)
        if production.reversed_before is None:
            return
        assert reversals(desk, trade_no) == production.reversed_before


@STATUS
@SHAPE
def test_nor_where_the_reversal_was_written_down_before(shape: str, status: str) -> None:
    for look in count(1):
        desk = Desk()
        trade_no, code = written_down(desk, shape)
        production = Production(desk, trade_no, look, status)
        desk.attempt(trade_no, code)
        if production.reversed_before is None:
            return
        assert reversals(desk, trade_no) == production.reversed_before


@SHAPE
def test_the_order_may_be_given_again_once_that_number_has_failed(shape: str) -> None:
    outcomes = set()
    for look in count(1):
        desk = Desk()
        trade_no, code = load_unpaid(desk, shape)
        seen = desk.facts_hash(trade_no)
        production = Production(desk, trade_no, look, "failed")
        report = desk.order(trade_no, code, "reverse", seen=seen)
        desk.production.faults.heal()
        if production.reversed_before is None:
            break
        outcomes.add((report.outcome, report.reason))
        assert report.outcome == "repaired" or desk.order(trade_no, code, "reverse").outcome == "repaired"
        assert net_postings(desk, trade_no) == {}
    assert ("wait", "bank") in outcomes
