"""A row or a ledger that others change between a look and the effect: at any call of a port, for each effect.

Nothing is posted, or taken back, that the row as it then stands does not tell, or beside another entry.
"""

from collections.abc import Callable
from itertools import count

import pytest

from agent.facts import Leg
from agent.fixers.reading import IN_FLIGHT, ROW_CHANGED
from tests.agent.test_fixers_places import dies
from tests.agent.test_fixers_reversed_beside import reversals
from tests.agent.test_limits_reversed import written_down
from tests.agent.unpaid_trades import SHAPES, load_unpaid
from tests.agent.world import Desk, load_case

SHAPE = pytest.mark.parametrize("shape", SHAPES)
CALL = pytest.mark.parametrize("call", ["trades.find", "ledger.legs", "bank.facts", "ledger.now"])
AT_ONCE = pytest.mark.parametrize("call", ["ledger.legs", "bank.facts", "ledger.now"])


def pay_by_hand(desk: Desk, trade_no: str) -> None:
    """People have paid the customer outside, and say so in the row."""
    desk.production.trades.change(trade_no, TRD_STATUS=8, FAILED_MSG="线下已付款")


def post_the_second_leg(desk: Desk, trade_no: str) -> None:
    """Production ends its posting, where it stood half way."""
    ledger = desk.production.ledger
    if ledger._live(trade_no, Leg.FIRST) and not ledger._live(trade_no, Leg.SECOND):
        desk.production.book(trade_no, Leg.SECOND)


def give_another_amount(desk: Desk, trade_no: str) -> None:
    """People correct the amount."""
    desk.production.trades.change(trade_no, AMOUNT=999)


CHANGES: dict[str, Callable[[Desk, str], None]] = {
    "paid by hand": pay_by_hand,
    "second leg posted": post_the_second_leg,
}
CHANGE = pytest.mark.parametrize("change", CHANGES)


class Once:
    """Has something happen before the nth call of a port; ``entries`` is how many the trade had by then."""

    def __init__(
        self, desk: Desk, trade_no: str, call: str, nth: int, change: Callable[[Desk, str], None]
    ) -> None:
        self._desk, self._trade_no, self._change = desk, trade_no, change
        self._calls_left = nth
        self.entries: int | None = None
        self.reversed_before: list[str | None] = []
        desk.production.faults.on(call, self)

    def __call__(self) -> None:
        self._calls_left -= 1
        if self._calls_left == 0:
            self.entries = len(self._desk.production.ledger.of_trade(self._trade_no))
            self.reversed_before = reversals(self._desk, self._trade_no)
            self._change(self._desk, self._trade_no)


@CHANGE
@CALL
@SHAPE
def test_no_entry_is_taken_back_once_the_row_or_the_ledger_is_another(
    shape: str, call: str, change: str
) -> None:
    for nth in count(1):
        desk = Desk()
        trade_no, code = load_unpaid(desk, shape)
        seen = desk.facts_hash(trade_no)
        once = Once(desk, trade_no, call, nth, CHANGES[change])
        desk.order(trade_no, code, "reverse", seen=seen)
        if once.entries is None:
            return
        if change == "paid by hand" or _is_half_posted(desk, trade_no):
            assert reversals(desk, trade_no) == once.reversed_before


@CHANGE
@CALL
@SHAPE
def test_nor_where_the_reversal_was_written_down_before(shape: str, call: str, change: str) -> None:
    for nth in count(1):
        desk = Desk()
        trade_no, code = written_down(desk, shape)
        once = Once(desk, trade_no, call, nth, CHANGES[change])
        desk.attempt(trade_no, code)
        if once.entries is None:
            return
        if change == "paid by hand" or _is_half_posted(desk, trade_no):
            assert reversals(desk, trade_no) == once.reversed_before


def _is_half_posted(desk: Desk, trade_no: str) -> bool:
    """Whether the change was the second leg of a trade that stood half way."""
    entries = desk.production.ledger.of_trade(trade_no)
    return any(each.leg is Leg.SECOND and each is entries[-1] for each in entries)


@AT_ONCE
@pytest.mark.parametrize("case_id", ["S1", "S2"])
def test_a_posting_gone_on_with_is_not_made_on_a_row_edited_since(case_id: str, call: str) -> None:
    for nth in count(1):
        desk = Desk()
        trade_no, code = load_case(desk, case_id)
        dies(desk, trade_no, code, "ledger.post")
        once = Once(desk, trade_no, call, nth, give_another_amount)
        report = desk.attempt(trade_no, code)
        if once.entries != 0:
            return
        assert desk.production.ledger.of_trade(trade_no) == []
        assert (report.outcome, report.reason) in [("wait", IN_FLIGHT), ("refused", ROW_CHANGED)]


@AT_ONCE
@pytest.mark.parametrize("case_id", ["S1", "S2"])
def test_nor_is_one_that_is_begun_anew(case_id: str, call: str) -> None:
    for nth in count(1):
        desk = Desk()
        trade_no, code = load_case(desk, case_id)
        once = Once(desk, trade_no, call, nth, give_another_amount)
        report = desk.attempt(trade_no, code)
        if once.entries != 0:
            return
        assert desk.production.ledger.of_trade(trade_no) == []
        assert (report.outcome, report.reason, report.money_moved) == ("refused", ROW_CHANGED, False)
