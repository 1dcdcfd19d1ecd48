"""What changes between the look that a repair is decided on and its payout, or its posting."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agent.facts import Leg
from agent.fixers.attempt import ASLEEP_SECONDS, MAY_STILL_COME, STILL_COMING
from agent.fixers.limits import OVER_HOUR, OVER_TRADE
from agent.fixers.order import Limits
from agent.unpaid import ACTIONS, Action
from tests.agent.unpaid_trades import load_unpaid, net_postings
from tests.agent.world import (
    CASES,
    Desk,
    load_case,
    numbers,
    wait_for_days_to_close,
    wait_for_failures_to_settle,
)
from tests.fakes.faults import Clock, Crash

PAID = ("S2", "S3", "S7a", "S7b")
DEBITED_BY_PRODUCTION = ("S3", "S7a", "S7b")
ASLEEP = ("the agent stood still before an effect", "unknown")


def after_the_claim(desk: Desk, happens: Callable[[], object]) -> None:
    """Have something happen once, just after the trade was claimed."""
    claim = desk.production.trades.claim_repair
    done: list[object] = []

    def claim_then(wanted: object, *over: object) -> object:
        claimed = claim(wanted, *over)  # type: ignore[arg-type]
        if not done:
            done.append(happens())
        return claimed

    desk.production.trades.claim_repair = claim_then  # type: ignore[assignment, method-assign]


def settled(case_id: str) -> tuple[Desk, str, str]:
    """The case, with the bank's word on it final."""
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    wait_for_failures_to_settle(desk)
    wait_for_days_to_close(desk)
    return desk, trade_no, code


@pytest.mark.parametrize("case_id", DEBITED_BY_PRODUCTION)
def test_a_debit_that_production_reverses_after_the_claim_is_not_paid_out(case_id: str) -> None:
    desk, trade_no, code = settled(case_id)
    ledger = desk.production.ledger

    def reverse_all() -> None:
        for entry in list(ledger.of_trade(trade_no)):
            ledger.reverse(entry.voucher_no)

    after_the_claim(desk, reverse_all)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert numbers(desk) == []
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


@pytest.mark.parametrize("case_id", PAID)
@pytest.mark.parametrize("status", ["success", "accepted"])
def test_a_number_that_production_opens_after_the_claim_is_not_paid_beside(case_id: str, status: str) -> None:
    desk, trade_no, code = settled(case_id)
    after_the_claim(desk, lambda: desk.production.request(trade_no, status, seq=1))
    assert desk.attempt(trade_no, code).outcome == "wait"
    assert numbers(desk) == []


@pytest.mark.parametrize("case_id", PAID)
def test_a_row_that_changes_after_the_claim_stops_the_payout(case_id: str) -> None:
    desk, trade_no, code = settled(case_id)
    entries = len(desk.production.ledger.of_trade(trade_no))
    after_the_claim(desk, lambda: desk.production.trades.change(trade_no, FAILED_MSG="by hand"))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert len(desk.production.ledger.of_trade(trade_no)) == entries
    assert numbers(desk) == []


@pytest.mark.parametrize("case_id", PAID)
@pytest.mark.parametrize("edited", [{"AMOUNT": None}, {"TRD_STATUS": 5}, {"TRD_KIND": "gift"}])
def test_a_row_that_makes_no_sense_after_the_claim_stops_the_payout(
    case_id: str, edited: dict[str, Any]
) -> None:
    desk, trade_no, code = settled(case_id)
    after_the_claim(desk, lambda: desk.production.trades.change(trade_no, **edited))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert numbers(desk) == []
    assert desk.production.trades.repairs[trade_no].state == "abandoned"


@pytest.mark.parametrize("case_id", PAID)
def test_a_ledger_that_says_nothing_at_the_last_look_is_waited_for(case_id: str) -> None:
    desk, trade_no, code = settled(case_id)
    unreadable = desk.production.ledger.unreadable
    after_the_claim(desk, lambda: unreadable.add(trade_no))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "ledger")
    assert [step.state for step in report.steps if step.name == "pay"] == ["intended"]
    assert desk.production.bank.asked == []
    unreadable.clear()
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(numbers(desk)) == 1


@pytest.mark.parametrize("call", ["ledger.post", "bank.pay"])
def test_an_agent_that_stood_still_begins_no_effect(call: str) -> None:
    """It was stopped between the intention and the effect: meanwhile another may have found nothing done."""
    seconds = [0.0]
    desk = Desk(rules={"monotonic": lambda: seconds[0]})
    trade_no, code = load_case(desk, "S2")
    wait_for_days_to_close(desk)
    name = {"ledger.post": "post_both", "bank.pay": "pay"}[call]

    def fall_asleep(step: object) -> None:
        if getattr(step, "name", "") == name and getattr(step, "state", "") == "intended":
            seconds[0] += ASLEEP_SECONDS + 1

    desk.told = _Told(fall_asleep)
    report = desk.attempt(trade_no, code)
    assert (report.reason, report.outcome) == ASLEEP
    assert call not in desk.production.faults.calls
    desk.told = []
    assert desk.attempt(trade_no, code).outcome == "repaired"


class _Told(list):  # type: ignore[type-arg]
    def __init__(self, also: Callable[[object], None]) -> None:
        self._also = also

    def append(self, step: object) -> None:
        super().append(step)
        self._also(step)


@pytest.mark.parametrize("name", ["post_both", "write_row"])
def test_a_machine_that_was_paused_has_its_effect_refused_by_the_database(name: str) -> None:
    """Its own clock stood still with it, so that it does not notice; those of the databases went on."""
    desk = Desk(rules={"monotonic": lambda: 0.0})
    trade_no, code = load_case(desk, "S2")
    wait_for_days_to_close(desk)
    desk.told = paused_behind(desk, name)
    report = desk.attempt(trade_no, code)
    assert (report.reason, report.outcome) == ASLEEP
    desk.told = []
    is_debited = name != "post_both"
    assert bool(desk.production.ledger.of_trade(trade_no)) is is_debited
    assert desk.production.trades.corrections == []
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("case_id", list(CASES))
def test_a_machine_that_was_paused_behind_its_reading_back_says_repaired_of_nothing(case_id: str) -> None:
    """Production may have been at work meanwhile; the next attempt reads back afresh."""
    desk = Desk(rules={"monotonic": lambda: 0.0})
    trade_no, code = load_case(desk, case_id)
    wait_for_days_to_close(desk)
    desk.production.faults.on("trades.close_repair", lambda: desk.production.clock.advance(seconds=61))
    report = desk.attempt(trade_no, code)
    assert (report.reason, report.outcome) == ASLEEP
    assert desk.production.trades.repairs[trade_no].state == "open"
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_what_production_posts_while_the_machine_is_paused_is_not_told_as_a_failure() -> None:
    desk = Desk(rules={"monotonic": lambda: 0.0})
    trade_no, code = load_case(desk, "S6")
    wait_for_days_to_close(desk)

    def pause() -> None:
        desk.production.clock.advance(seconds=61)
        desk.production.book(trade_no, Leg.FIRST)

    desk.production.faults.on("trades.close_repair", pause)
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).outcome == "needs_human"


@pytest.mark.parametrize("case_id", PAID)
def test_a_machine_that_was_paused_behind_its_last_look_asks_no_bank(case_id: str) -> None:
    desk, trade_no, code = settled(case_id)
    desk.rules["monotonic"] = lambda: 0.0
    desk.told = paused_behind(desk, "pay")
    report = desk.attempt(trade_no, code)
    assert (report.reason, report.outcome) == ASLEEP
    desk.told = []
    assert desk.production.bank.asked == []
    assert not [each for each in desk.production.trades.requests if each.seq > 0]
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(numbers(desk)) == 1


@pytest.mark.parametrize(
    ("status", "outcome"), [("success", "repaired"), ("accepted", "wait"), (None, "wait")]
)
def test_a_number_that_another_opened_first_is_not_asked_under(status: str | None, outcome: str) -> None:
    desk, trade_no, code = settled("S7a")
    opened: list[str] = []

    def open_first() -> None:
        if not opened:
            opened.append(desk.production.request(trade_no, status, seq=1))

    desk.production.faults.on("trades.open_bank_request", open_first)
    assert desk.attempt(trade_no, code).outcome == outcome
    assert desk.production.bank.asked == []


@pytest.mark.parametrize(("case_id", "end"), [("S2", "repaired"), ("S3", "needs_human")])
@pytest.mark.parametrize("status", ["success", "accepted", None])
def test_a_number_is_not_submitted_again_beside_another_that_production_opens_meanwhile(
    case_id: str, end: str, status: str | None
) -> None:
    """Its line stands, so that its place keeps nobody out. Paid under the other it is over, or a person's."""
    desk, trade_no, code = settled(case_id)
    looks: list[object] = []

    def open_next() -> None:
        looks.append(1)
        if len(looks) == 2:
            desk.production.request(trade_no, status, seq=1, request_no=f"{trade_no}-1")

    desk.production.faults.on("bank.facts", open_next)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    if status == "success":
        desk.production.clock.advance(seconds=MAY_STILL_COME.total_seconds())
        wait_for_days_to_close(desk)
        assert desk.attempt(trade_no, code).outcome == end
        assert desk.production.trades.repairs[trade_no].state != "open"
    assert desk.production.bank.asked == []


def test_nor_is_one_of_ours_that_never_arrived() -> None:
    desk, trade_no, code = settled("S7a")
    desk.production.bank.replies.append("lost_before")
    desk.attempt(trade_no, code)
    wait_for_days_to_close(desk)
    asked = list(desk.production.bank.asked)

    def open_next() -> None:
        if len(desk.production.trades.requests) == 2:
            desk.production.request(trade_no, "success", seq=2, request_no=f"{trade_no}-2")

    desk.production.faults.on("bank.facts", open_next)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert desk.production.bank.asked == asked


def test_what_the_bank_said_is_not_noted_by_an_agent_that_was_taken_over() -> None:
    desk, trade_no, code = settled("S7a")

    def take_over() -> None:
        claim = desk.production.trades.repairs[trade_no]
        newer = msgspec.structs.replace(claim, fence=claim.fence + 1, boot_id="boot-of-another")
        desk.production.trades.repairs[trade_no] = newer

    desk.production.faults.on("trades.note_bank_request", take_over)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", "fenced", True)
    assert [each.status for each in desk.production.trades.requests if each.seq == 1] == ["created"]


def test_a_machine_that_was_paused_reverses_nothing() -> None:
    desk = Desk(rules={"monotonic": lambda: 0.0})
    trade_no, code = load_unpaid(desk, "processing")
    desk.told = paused_behind(desk, "reverse_both")
    report = desk.order(trade_no, code, "reverse")
    assert (report.reason, report.outcome) == ASLEEP
    desk.told = []
    assert net_postings(desk, trade_no) != {}
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert net_postings(desk, trade_no) == {}


def test_a_machine_that_was_paused_behind_its_look_intends_nothing() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    wait_for_days_to_close(desk)
    after_the_claim(desk, lambda: desk.production.clock.advance(minutes=6))
    report = desk.attempt(trade_no, code)
    assert (report.reason, report.outcome, report.money_moved) == (*ASLEEP, False)
    assert report.steps == ()
    assert desk.production.ledger.of_trade(trade_no) == []
    assert desk.attempt(trade_no, code).outcome == "repaired"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("call", ["trades.claim_repair", "behind the claim"])
def test_a_machine_paused_around_its_claim_begins_no_order_though_it_looks_afresh(
    action: Action, call: str
) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing")
    before = net_postings(desk, trade_no)

    def pause() -> None:
        desk.production.faults.heal()
        desk.production.clock.advance(hours=2)

    if call == "behind the claim":
        after_the_claim(desk, pause)
    else:
        desk.production.faults.on(call, pause)
    report = desk.order(trade_no, code, action)
    assert (report.reason, report.outcome, report.money_moved) == (*ASLEEP, False)
    assert (desk.production.bank.asked, net_postings(desk, trade_no)) == ([], before)
    assert desk.order(trade_no, code, action).outcome == "repaired"


@pytest.mark.parametrize("action", ACTIONS)
def test_a_bank_slow_at_every_look_holds_up_no_order(action: Action) -> None:
    desk = Desk()
    trade_no, code = load_unpaid(desk, "processing two-step")
    desk.production.faults.on("bank.facts", lambda: desk.production.clock.advance(seconds=25))
    assert desk.order(trade_no, code, action).outcome == "repaired"


def paused_behind(desk: Desk, name: str) -> "_Told":
    """Pause the machine once the step is written down as about to happen."""

    def pause(step: object) -> None:
        if (getattr(step, "name", ""), getattr(step, "state", "")) == (name, "intended"):
            desk.production.clock.advance(seconds=ASLEEP_SECONDS + 1)

    return _Told(pause)


@pytest.mark.parametrize("hours", [-24, 24])
def test_what_may_still_come_is_judged_by_productions_clock(hours: int) -> None:
    """The agent that froze had a clock a day off."""
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    off = Clock(desk.production.clock() + timedelta(hours=hours))
    desk.rules["clock"] = off
    desk.production.faults.down("ledger.post", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    desk.production.clock.advance(minutes=19)
    assert desk.attempt(trade_no, code).reason == STILL_COMING
    desk.production.clock.advance(minutes=1)
    assert desk.attempt(trade_no, code).outcome == "refused"


def test_a_repair_is_not_given_up_while_a_posting_of_it_may_still_come() -> None:
    """Its agent froze just before the ledger; production has since confirmed the failure by itself."""
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("ledger.post", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.production.trades.change(trade_no, TRD_STATUS=9)
    desk.production.clock.advance(minutes=19)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason, report.money_moved) == ("wait", STILL_COMING, True)
    desk.production.clock.advance(minutes=1)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert net_postings(desk, trade_no) == {}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_amount_minor={"CNY": 1}), OVER_TRADE),
        (Limits(max_amount_minor={"USD": 10**9}), OVER_TRADE),
        (Limits(max_trades_per_hour=0), OVER_HOUR),
    ],
)
def test_the_agents_own_limits_bind_orders_of_people_too(action: Action, limits: Limits, reason: str) -> None:
    desk = Desk(rules={"limits": limits})
    trade_no, code = load_unpaid(desk, "processing")
    before = (numbers(desk), [one.voucher_no for one in desk.production.ledger.of_trade(trade_no)])
    report = desk.order(trade_no, code, action)
    assert (report.outcome, report.reason) == ("needs_human", reason)
    after = (numbers(desk), [one.voucher_no for one in desk.production.ledger.of_trade(trade_no)])
    assert after == before


@pytest.mark.parametrize("reply", ["accepted", "lost_accepted", "odd:E9999"])
def test_an_arrival_notice_that_overtakes_the_banks_reply_stays_in_productions_table(reply: str) -> None:
    desk, trade_no, code = settled("S3")
    production, number = desk.production, f"{trade_no}-0"
    production.bank.replies.append(reply)
    production.faults.on("trades.note_bank_request", lambda: production.trades.note(number, "success"))
    desk.attempt(trade_no, code)
    assert [each.status for each in production.trades.requests if each.request_no == number] == ["success"]
