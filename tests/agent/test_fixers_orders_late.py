"""What people have ordered and was only written down: told as ended, it is not carried out afterwards."""

import copy
from collections.abc import Callable

import pytest

from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import verify
from agent.fixers.unmoved import ORDER_HOLDS, ORDER_TOO_OLD
from agent.unpaid import ACTIONS, Action
from tests.agent.test_limits_ordered import CASE, SHAPE, state_of
from tests.agent.test_limits_ordered import written_down as written_down_to_pay
from tests.agent.test_limits_reversed import written_down as written_down_to_reverse
from tests.agent.unpaid_trades import net_postings
from tests.agent.world import Desk, numbers

DOWN: dict[Action, Callable[[Desk], CASE]] = {
    "pay_again": written_down_to_pay,
    "reverse": written_down_to_reverse,
}
ACTION = pytest.mark.parametrize("action", ACTIONS)
Undo = Callable[[], object]


def lose_the_row(desk: Desk, trade_no: str) -> Undo:
    """The row is gone; return what brings it back."""
    rows = desk.production.trades.rows
    trade_id = desk.production.trade(trade_no).trade_id
    row = rows.pop(trade_id)
    return lambda: rows.update({trade_id: row})


def double_the_row(desk: Desk, trade_no: str) -> Undo:
    """A second row has the number; return what takes it away."""
    trades = desk.production.trades
    second = copy.deepcopy(trades._stored(trade_no)[0])
    second.row["TRD_ID"] = 999_999
    trades.put(second)
    return lambda: trades.rows.pop(999_999)


GONE = pytest.mark.parametrize("lose", [lose_the_row, double_the_row])


@ACTION
@GONE
def test_an_order_whose_row_is_not_the_only_one_waits_for_it(
    action: Action, lose: Callable[[Desk, str], Undo]
) -> None:
    desk = Desk()
    case = DOWN[action](desk)
    row_hash, undo = desk.production.trade(case[0]).row_hash, lose(desk, case[0])
    desk.production.clock.advance(minutes=25)
    assert desk.attempt(*case, row_hash=row_hash).outcome == "wait"
    assert state_of(desk, case) == "open"
    undo()
    assert desk.attempt(*case).outcome == "repaired"


@ACTION
@GONE
def test_it_is_closed_where_the_row_comes_back_too_late(
    action: Action, lose: Callable[[Desk, str], Undo]
) -> None:
    desk = Desk()
    case = DOWN[action](desk)
    before, undo = net_postings(desk, case[0]), lose(desk, case[0])
    desk.production.clock.advance(seconds=ORDER_HOLDS.total_seconds() + 1)
    undo()
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("refused", ORDER_TOO_OLD, "abandoned")
    assert (numbers(desk), net_postings(desk, case[0])) == ([], before)
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"


@SHAPE
def test_a_payout_whose_number_is_in_doubt_is_closed(shape: str) -> None:
    desk = Desk()
    case = written_down_to_pay(desk, shape)
    for seq in (5, 6):
        desk.production.request(case[0], None, seq=seq, request_no=f"{case[0]}-{seq}")
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
    desk.production.bank.closed_until = desk.production.clock()
    report = desk.order(*case, "pay_again")
    assert report.outcome in ("needs_human", "refused"), report.reason
    assert state_of(desk, case) == "abandoned"
    desk.production.trades.requests[-2:] = []
    assert verify(case[0], desk.production.ports, desk.settings).outcome != "resume"
    assert numbers(desk) == []
