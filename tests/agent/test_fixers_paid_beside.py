"""The debit taken back, or the row edited, while a payout looks at the bank: nothing is paid on what was."""

from collections.abc import Callable
from itertools import count

import pytest

from agent.facts import Kind
from agent.fixers.payout import CHANGED_MEANWHILE
from tests.agent.test_fixers_places import CASES, dies, refused
from tests.agent.test_fixers_world_changed import take_the_debit_back
from tests.agent.unpaid_trades import SHAPES, load_unpaid
from tests.agent.world import Desk, numbers

World = Callable[[Desk, str], None]


def another_payee(desk: Desk, trade_no: str) -> None:
    desk.production.trades.change(trade_no, BANK_ACC_NO="6222-another")


def closed_by_hand(desk: Desk, trade_no: str) -> None:
    desk.production.trades.change(trade_no, TRD_STATUS=9, FAILED_MSG="退款")


def doubled(desk: Desk, trade_no: str) -> None:
    row = {**desk.production.trades.row(trade_no), "TRD_ID": 999}
    desk.production.add_trade(row, Kind.WITHDRAW.value, "single_step")


WORLDS: dict[str, World] = {
    "debit taken back": take_the_debit_back,
    "another payee": another_payee,
    "closed by hand": closed_by_hand,
    "number doubled": doubled,
}
WORLD = pytest.mark.parametrize("world", WORLDS)


class Looks:
    """Has the world change at the nth look at the bank behind the debit."""

    def __init__(self, desk: Desk, trade_no: str, look: int, world: World) -> None:
        self._desk, self._trade_no, self._world = desk, trade_no, world
        self._left = look
        self.asked_before: int | None = None
        desk.production.faults.on("bank.facts", self)

    def __call__(self) -> None:
        if not self._desk.production.ledger.of_trade(self._trade_no):
            return
        self._left -= 1
        if self._left == 0:
            self.asked_before = len(self._desk.production.bank.asked)
            self._world(self._desk, self._trade_no)


def nothing_is_paid(begin: Callable[[], tuple[Desk, str, Callable[[], object]]], world: str) -> None:
    """Whichever look at the bank it comes in, no payout leaves behind it."""
    for look in count(1):
        desk, trade_no, attempt = begin()
        looks = Looks(desk, trade_no, look, WORLDS[world])
        attempt()
        if looks.asked_before is None:
            assert len(numbers(desk)) == 1
            return
        assert len(desk.production.bank.asked) == looks.asked_before


@WORLD
@pytest.mark.parametrize("case_id", CASES)
def test_no_plan_pays_on_what_was(case_id: str, world: str) -> None:
    def begin() -> tuple[Desk, str, Callable[[], object]]:
        desk, trade_no, code = refused(case_id)
        return desk, trade_no, lambda: desk.attempt(trade_no, code)

    nothing_is_paid(begin, world)


@WORLD
@pytest.mark.parametrize("shape", SHAPES)
def test_no_order_pays_on_what_was(shape: str, world: str) -> None:
    def begin() -> tuple[Desk, str, Callable[[], object]]:
        desk = Desk()
        trade_no, code = load_unpaid(desk, shape)
        seen = desk.facts_hash(trade_no)
        return desk, trade_no, lambda: desk.order(trade_no, code, "pay_again", seen=seen)

    nothing_is_paid(begin, world)


@WORLD
@pytest.mark.parametrize("call", ["trades.open_bank_request", "bank.pay"])
@pytest.mark.parametrize("case_id", CASES)
def test_none_that_goes_on_pays_on_what_was(case_id: str, call: str, world: str) -> None:
    def begin() -> tuple[Desk, str, Callable[[], object]]:
        desk, trade_no, code = refused(case_id)
        dies(desk, trade_no, code, call)
        desk.production.clock.advance(hours=3)
        desk.production.bank.closed_until = desk.production.clock()
        return desk, trade_no, lambda: desk.attempt(trade_no, code)

    nothing_is_paid(begin, world)


# ---- what is told of it


def reasons_of_waits(world: World) -> set[str]:
    """Why an attempt waits, whichever look at the bank the world changes in."""
    found: set[str] = set()
    for look in count(1):
        desk, trade_no, code = refused("S7a")
        looks = Looks(desk, trade_no, look, world)
        report = desk.attempt(trade_no, code)
        if looks.asked_before is None:
            return found
        found |= {report.reason} if report.outcome == "wait" else set()
    return found


@WORLD
def test_what_changed_while_the_bank_was_looked_at_is_told_as_that(world: str) -> None:
    assert reasons_of_waits(WORLDS[world]) == {CHANGED_MEANWHILE}


def test_a_ledger_that_says_nothing_just_before_the_payout_is_told_as_that() -> None:
    def silent(desk: Desk, trade_no: str) -> None:
        desk.production.ledger.unreadable.add(trade_no)

    assert reasons_of_waits(silent) == {"ledger"}
