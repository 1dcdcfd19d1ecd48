"""A fixer taken off an agent's list binds whatever begins: plans, clicks, orders; after a restart too."""

import pytest

from agent.fixers import FIXERS
from agent.fixers.attempt import MAY_STILL_COME
from agent.fixers.base import RepairReport, verify
from agent.fixers.lost_lines import LINE_LOST
from agent.money import Money
from agent.unpaid import ACTIONS, Action
from tests.agent.unpaid_trades import SHAPES, load_unpaid, net_postings
from tests.agent.world import AMOUNT, Desk, load_case, numbers, wait_for_failures_to_settle
from tests.fakes.faults import Crash, Moment

WRITTEN_DOWN = [("pay_again", "trades.open_bank_request"), ("reverse", "ledger.reverse_entry")]
MOVED = [
    ("pay_again", "bank.pay", "before"),
    ("pay_again", "bank.pay", "after"),
    ("reverse", "ledger.reverse_entry", "after"),
]


def take_off(desk: Desk, code: str) -> None:
    """A person takes the fixer off the agent's list and starts it anew."""
    desk.fixers = {each: fixer for each, fixer in FIXERS.items() if each != code}


def is_refused(report: RepairReport, code: str) -> bool:
    return (report.outcome, report.reason) == ("refused", f"this agent does not offer {code}")


def moved(desk: Desk, trade_no: str) -> object:
    return numbers(desk), list(desk.production.bank.asked), net_postings(desk, trade_no)


def dies(desk: Desk, trade_no: str, code: str, action: Action, call: str, moment: Moment = "before") -> None:
    """An order whose agent dies at this call."""
    desk.production.faults.down(call, moment, Crash())
    with pytest.raises(Crash):
        desk.order(trade_no, code, action)
    desk.production.faults.heal()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_of_a_trade_whose_fixer_is_not_offered_is_refused(shape: str, action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    before = (moved(desk, trade_no), desk.production.trades.repairs.copy())
    take_off(desk, code)
    assert is_refused(desk.order(trade_no, code, action), code)
    assert (moved(desk, trade_no), desk.production.trades.repairs) == before
    desk.fixers = FIXERS
    assert desk.order(trade_no, code, action).outcome == "repaired"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_whose_agent_died_behind_its_claim_is_refused_once_its_fixer_is_gone(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, action, "trades.claim_repair", "after")
    before = moved(desk, trade_no)
    take_off(desk, code)
    assert is_refused(desk.order(trade_no, code, action, fence=desk.fence), code)
    assert moved(desk, trade_no) == before


AGAIN = pytest.mark.parametrize("again", ["the order", "its plan"])


def sent_again(desk: Desk, trade_no: str, code: str, action: Action, again: str) -> RepairReport:
    """The order itself, or an attempt of the plan that would finish what it left half done."""
    return desk.order(trade_no, code, action) if again == "the order" else desk.attempt(trade_no, code)


def nothing_can_come(desk: Desk) -> None:
    desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())


@AGAIN
@pytest.mark.parametrize(("action", "call"), WRITTEN_DOWN)
def test_an_order_only_written_down_waits_for_an_agent_that_offers_its_fixer(
    action: Action, call: str, again: str
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, action, call)
    before = moved(desk, trade_no)
    take_off(desk, code)
    desk.production.clock.advance(minutes=19)
    report = sent_again(desk, trade_no, code, action, again)
    assert report.outcome == "wait"
    assert moved(desk, trade_no) == before
    desk.fixers = FIXERS
    assert desk.attempt(trade_no, code).outcome == "repaired"


@AGAIN
@pytest.mark.parametrize("deduplicates", [True, False])
@pytest.mark.parametrize("shape", ["ours", "processing", "processing two-step"])
@pytest.mark.parametrize(("action", "call"), WRITTEN_DOWN)
def test_an_order_told_as_refused_is_never_carried_out(
    action: Action, call: str, shape: str, deduplicates: bool, again: str
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, shape)
    desk.production.bank.deduplicates = deduplicates
    dies(desk, trade_no, code, action, call)
    before = moved(desk, trade_no)
    take_off(desk, code)
    nothing_can_come(desk)
    report = sent_again(desk, trade_no, code, action, again)
    assert is_refused(report, code)
    assert (report.money_moved, desk.production.trades.repairs[trade_no].state) == (False, "abandoned")
    desk.fixers = FIXERS
    desk.production.clock.advance(hours=20)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "human"
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert moved(desk, trade_no) == before


@pytest.mark.parametrize("next_action", ACTIONS)
@pytest.mark.parametrize(("action", "call"), WRITTEN_DOWN)
def test_another_order_may_be_given_once_one_was_told_as_refused(
    action: Action, call: str, next_action: Action
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, action, call)
    take_off(desk, code)
    nothing_can_come(desk)
    assert is_refused(desk.order(trade_no, code, action), code)
    desk.fixers = FIXERS
    assert desk.order(trade_no, code, next_action).outcome == "repaired"
    assert numbers(desk) == ([f"{trade_no}-P1"] if next_action == "pay_again" else [])
    assert bool(net_postings(desk, trade_no)) == (next_action == "pay_again")


def test_an_order_the_bank_knows_is_not_told_as_refused_though_production_lost_it() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "pay_again", "trades.open_bank_request")
    account = desk.production.trade(trade_no).bank_account_no
    desk.production.bank.pay(f"{trade_no}-P1", Money(AMOUNT), account)
    take_off(desk, code)
    nothing_can_come(desk)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.reason) == ("needs_human", LINE_LOST)
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_an_order_waits_while_the_bank_has_another_request_in_hand() -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "pay_again", "trades.open_bank_request")
    desk.production.request(trade_no, "accepted", None, seq=2, request_no=f"{trade_no}-2")
    take_off(desk, code)
    nothing_can_come(desk)
    report = desk.order(trade_no, code, "pay_again")
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert desk.production.trades.repairs[trade_no].state == "open"


def test_a_reversal_that_arrived_is_finished_whatever_is_offered() -> None:
    """Its agent was thought dead, and its posting came after another had found the entry standing."""
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    dies(desk, trade_no, code, "reverse", "ledger.reverse_entry")
    take_off(desk, code)
    assert desk.order(trade_no, code, "reverse").outcome == "wait"
    desk.fixers = FIXERS
    desk.production.faults.down("ledger.reverse_entry", "after", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    take_off(desk, code)
    nothing_can_come(desk)
    assert desk.order(trade_no, code, "reverse").outcome == "repaired"
    assert net_postings(desk, trade_no) == {}


@pytest.mark.parametrize(("action", "call", "moment"), MOVED)
def test_an_order_that_has_moved_money_is_gone_on_with_whatever_is_offered(
    action: Action, call: str, moment: Moment
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing two-step")
    dies(desk, trade_no, code, action, call, moment)
    take_off(desk, code)
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize("case_id", ["S3", "S7a", "S7b"])
def test_a_payout_only_written_down_waits_for_an_agent_that_offers_its_fixer(
    case_id: str, is_later: bool
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    wait_for_failures_to_settle(desk)
    desk.production.faults.down("trades.open_bank_request", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    take_off(desk, code)
    assert desk.attempt(trade_no, code).outcome == "wait"
    if is_later:
        nothing_can_come(desk)
        assert is_refused(desk.attempt(trade_no, code), code)
    assert desk.production.bank.asked == []
    desk.fixers = FIXERS
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_a_payout_behind_our_own_debit_is_gone_on_with_whatever_is_offered() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("trades.open_bank_request", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    take_off(desk, code)
    assert desk.attempt(trade_no, code).outcome == "repaired"
