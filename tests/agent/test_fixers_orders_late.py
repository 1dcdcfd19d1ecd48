"""What people have ordered and was only written down: told as ended, it is not carried out afterwards."""

import copy
from collections.abc import Callable

import msgspec
import pytest

from agent.errors import PortError
from agent.facts import Kind, Leg
from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import verify
from agent.fixers.order import Limits
from agent.fixers.unmoved import ORDER_HOLDS, ORDER_TOO_OLD
from agent.records import Reversal
from agent.unpaid import ACTIONS, Action
from tests.agent.test_fixers_offered import dies
from tests.agent.test_limits_ordered import CASE, SHAPE, state_of
from tests.agent.test_limits_ordered import written_down as written_down_to_pay
from tests.agent.test_limits_reversed import written_down as written_down_to_reverse
from tests.agent.unpaid_trades import BALANCE, TRADE_NO, load_unpaid, net_postings
from tests.agent.world import Desk, numbers, wait_for_days_to_close
from tests.fakes.faults import Crash
from tests.fakes.production import blank_row

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


def test_nor_is_one_under_productions_own_number_left_open_in_doubt() -> None:
    desk = Desk()
    production = desk.production
    row = blank_row(77, TRADE_NO, 0, Kind.WITHDRAW)
    production.add_trade(row, "withdraw", "single_step", balance=BALANCE)
    production.book(TRADE_NO, Leg.BOTH)
    production.request(TRADE_NO, None)
    production.clock.advance(seconds=1)
    wait_for_days_to_close(desk)
    case = (TRADE_NO, "withdrawTimeoutFixServiceImpl")
    dies(desk, *case, "pay_again", "trades.open_bank_request")
    production.request(TRADE_NO, None, seq=5, request_no=f"{TRADE_NO}-5")
    production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
    production.bank.closed_until = production.clock()
    report = desk.attempt(*case)
    assert (report.outcome, report.reason) == ("needs_human", "more than one bank request may be alive")
    assert (state_of(desk, case), numbers(desk)) == ("abandoned", [])


# ---- how long an order holds


@pytest.mark.parametrize("call", ["bank.facts", "trades.find"])
@ACTION
def test_one_ordered_again_that_cannot_be_looked_at_yet_is_tried_as_long_as_it_was_ordered(
    action: Action, call: str
) -> None:
    desk = Desk()
    case = DOWN[action](desk)
    desk.production.clock.advance(hours=11)
    seen = desk.facts_hash(case[0])
    desk.production.faults.down("ledger.now" if action == "reverse" else "trades.open_bank_request")
    desk.order(*case, action, seen=seen)
    desk.production.faults.heal()
    desk.production.clock.advance(hours=11)
    desk.production.faults.down(call)
    desk.attempt(*case)
    desk.production.faults.heal()
    assert desk.attempt(*case).outcome == "repaired"


def test_a_reversal_that_the_ledger_cannot_take_is_not_tried_for_ever() -> None:
    desk = Desk()
    case = written_down_to_reverse(desk)
    before = net_postings(desk, case[0])
    desk.production.faults.down("ledger.reverse_entry", "before", PortError("down"))
    for _ in range(24):
        desk.production.clock.advance(minutes=30)
        assert desk.attempt(*case).outcome == "unknown"
    desk.production.faults.heal()
    desk.production.clock.advance(minutes=30)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("refused", ORDER_TOO_OLD, "abandoned")
    assert net_postings(desk, case[0]) == before


# ---- one of two entries reversed by another


def written_down_behind_anothers() -> tuple[Desk, CASE]:
    """Of two entries production has taken the second back itself; the agent died before the first."""
    desk = Desk()
    case = load_unpaid(desk, "failed, both on row")
    ledger, asked = desk.production.ledger, list[Reversal]()
    reverse = ledger.reverse_entry

    def meanwhile(reversal: Reversal) -> str:
        asked.append(reversal)
        if len(asked) > 1:
            raise Crash
        reverse(msgspec.structs.replace(reversal, key=f"production:{reversal.key}"))
        return reverse(reversal)

    ledger.reverse_entry = meanwhile  # type: ignore[method-assign]
    with pytest.raises(Crash):
        desk.order(*case, "reverse")
    ledger.reverse_entry = reverse  # type: ignore[method-assign]
    return desk, case


def test_what_another_has_reversed_does_not_make_the_rest_of_it_begun() -> None:
    desk, case = written_down_behind_anothers()
    before, row_hash = net_postings(desk, case[0]), desk.production.trade(case[0]).row_hash
    undo = lose_the_row(desk, case[0])
    desk.production.clock.advance(minutes=25)
    assert desk.attempt(*case, row_hash=row_hash).outcome == "wait"
    undo()
    desk.production.clock.advance(hours=13)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, state_of(desk, case)) == ("refused", ORDER_TOO_OLD, "abandoned")
    assert net_postings(desk, case[0]) == before


def test_the_rest_of_it_keeps_to_the_limits() -> None:
    desk, case = written_down_behind_anothers()
    before = net_postings(desk, case[0])
    desk.production.clock.advance(hours=1)
    desk.rules = {"limits": Limits(max_trades_per_hour=0)}
    desk.attempt(*case)
    assert net_postings(desk, case[0]) == before
