"""A trade paid under two numbers, one of which production's table has lost: it is not told as repaired."""

import pytest

from agent.fixers.lost_lines import LINE_LOST
from tests.agent.unpaid_trades import load_unpaid
from tests.agent.world import Desk
from tests.fakes.faults import Crash


def paid_late_beside_ours(shape: str) -> tuple[Desk, str, str, str]:
    """Ours was asked for and accepted; then it loses its line, and a number given up is paid."""
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.replies.append("accepted")
    desk.production.clock.advance(hours=1)
    assert desk.order(trade_no, code, "pay_again").outcome == "wait"
    return desk, trade_no, code, lose_ours_and_pay_another(desk)


def lose_ours_and_pay_another(desk: Desk) -> str:
    """Return our number."""
    trades, bank = desk.production.trades, desk.production.bank
    ours = max(trades.requests, key=lambda each: each.seq).request_no
    trades.requests = [each for each in trades.requests if each.request_no != ours]
    given_up = max(trades.requests, key=lambda each: each.seq).request_no
    bank.settle(given_up, "success")
    desk.production.clock.advance(hours=1)
    return ours


@pytest.mark.parametrize("told", ["success", "accepted"])
@pytest.mark.parametrize("shape", ["ours", "ours two-step", "processing", "success, both on row"])
def test_one_paid_late_beside_ours_whose_line_is_lost_is_for_a_person(shape: str, told: str) -> None:
    desk, trade_no, code, ours = paid_late_beside_ours(shape)
    desk.production.bank.settle(ours, told)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert desk.production.trades.repairs[trade_no].state == "open"


@pytest.mark.parametrize(("shape", "call"), [("ours", "trades.write_row"), ("ours two-step", "ledger.post")])
def test_one_paid_late_beside_ours_that_was_paid_and_lost_its_line_is_for_a_person(
    shape: str, call: str
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.clock.advance(hours=1)
    desk.production.faults.down(call, "before", Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, "pay_again")
    desk.production.faults.heal()
    lose_ours_and_pay_another(desk)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_while_the_bank_says_nothing_of_ours_it_is_waited_for() -> None:
    desk, trade_no, code, ours = paid_late_beside_ours("ours")
    desk.production.bank.silent_of.add(ours)
    assert desk.attempt(trade_no, code).outcome == "wait"


def test_one_that_the_bank_has_never_heard_of_holds_nothing_up() -> None:
    desk, trade_no, code, ours = paid_late_beside_ours("ours")
    del desk.production.bank.records[ours]
    assert desk.attempt(trade_no, code).outcome == "repaired"
