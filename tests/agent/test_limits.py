"""What the agent's own configuration allows has the last word: amounts, rates, the age of a trade."""

from typing import Any

import pytest

from agent.fixers.base import verify
from agent.fixers.limits import OVER_DAY, OVER_HOUR, OVER_JUDGED, OVER_TRADE
from agent.fixers.order import Limits
from agent.fixers.reading import TOO_OLD
from tests.agent.world import AMOUNT, CASES, Desk, load_case, nothing_was_touched
from tests.fakes.faults import Crash

SECOND = "CO160724154936100037"


def desk_with(**limits: Any) -> Desk:
    return Desk(rules={"limits": Limits(**limits)})


def recharge(desk: Desk, number: int, amount: int = AMOUNT) -> tuple[str, str]:
    """A recharge to be booked, under a number of its own."""
    trade_no = f"CO{number:018d}"
    load_case(desk, "S1", trade_no=trade_no, amount=amount)
    trades = desk.production.trades
    stored = trades._stored(trade_no)[0]
    stored.row["TRD_ID"] = 1_000 + number
    trades.rows = {_id(each): each for each in [*trades.rows.values(), stored]}
    return trade_no, CASES["S1"]["fixer"]


def _id(stored: Any) -> int:
    return int(stored.row["TRD_ID"])


# ---- a trade


@pytest.mark.parametrize(
    "most", [{"CNY": AMOUNT - 1}, {"USD": AMOUNT * 10}], ids=["too much", "another currency"]
)
@pytest.mark.parametrize("by_person", [False, True], ids=["tick", "click"])
def test_a_trade_over_the_limit_is_for_a_person_even_at_a_click(
    most: dict[str, int], by_person: bool
) -> None:
    desk = desk_with(max_amount_minor=most)
    trade_no, code = load_case(desk, "S2")
    report = desk.attempt(trade_no, code, by_person=by_person)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", OVER_TRADE, False)
    assert nothing_was_touched(desk, trade_no)


def test_a_trade_at_the_limit_is_repaired() -> None:
    desk = desk_with(max_amount_minor={"CNY": AMOUNT})
    assert desk.attempt(*load_case(desk, "S2")).outcome == "repaired"


@pytest.mark.parametrize("by_person", [False, True], ids=["tick", "click"])
def test_an_amount_above_what_the_server_judged_is_refused_before_anything(by_person: bool) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    report = desk.attempt(trade_no, code, by_person=by_person, judged=AMOUNT - 1)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", OVER_JUDGED, False)
    assert nothing_was_touched(desk, trade_no)
    assert desk.attempt(trade_no, code, by_person=by_person, judged=AMOUNT).outcome == "repaired"


def test_what_needs_no_repair_is_over_no_limit() -> None:
    desk = desk_with(max_amount_minor={"CNY": 1})
    trade_no, code = load_case(desk, "S1")
    desk.rules = {}
    desk.attempt(trade_no, code)
    desk.rules = {"limits": Limits(max_amount_minor={"CNY": 1})}
    desk.production.clock.advance(hours=1)
    assert desk.attempt(trade_no, code).outcome == "already_consistent"


# ---- an hour, a day


def test_the_hour_s_count_waits_and_spends_nothing_until_the_hour_is_over() -> None:
    desk = desk_with(max_trades_per_hour=2)
    first, second, third = (recharge(desk, number) for number in (1, 2, 3))
    assert [desk.attempt(*each).outcome for each in (first, second)] == ["repaired", "repaired"]
    report = desk.attempt(*third)
    assert (report.outcome, report.reason) == ("wait", OVER_HOUR)
    assert third[0] not in desk.production.trades.repairs
    desk.production.clock.advance(hours=1, seconds=1)
    assert desk.attempt(*third).outcome == "repaired"


def test_the_day_s_amount_is_counted_by_currency_and_outlives_the_agent() -> None:
    desk = desk_with(max_amount_minor_per_day={"CNY": AMOUNT * 2})
    before, after = recharge(desk, 1), recharge(desk, 2, AMOUNT + 1)
    assert desk.attempt(*before).outcome == "repaired"
    another = Desk(production=desk.production, rules=desk.rules, fence=desk.fence)
    report = another.attempt(*after)
    assert (report.outcome, report.reason) == ("wait", OVER_DAY)
    desk.production.clock.advance(hours=23)
    assert another.attempt(*after).reason == OVER_DAY
    desk.production.clock.advance(hours=2)
    assert another.attempt(*after).outcome == "repaired"


@pytest.mark.parametrize(
    "limits",
    [{"max_amount_minor_per_hour": {"CNY": AMOUNT - 1}}, {"max_trades_per_hour": 0}],
    ids=["amount", "count"],
)
def test_what_never_fits_is_for_a_person(limits: dict[str, Any]) -> None:
    desk = desk_with(**limits)
    trade_no, code = load_case(desk, "S2")
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", OVER_HOUR)
    assert nothing_was_touched(desk, trade_no)


def test_two_agents_that_claim_the_last_place_both_wait() -> None:
    desk = desk_with(max_trades_per_hour=1)
    ours, theirs = recharge(desk, 1), recharge(desk, 2)
    rival = Desk(production=desk.production, cancellation=desk.cancellation)

    def claim_too() -> None:
        desk.production.faults.on("trades.claim_repair", lambda: None)
        desk.production.faults.down("ledger.post", "before", Crash())
        with pytest.raises(Crash):
            rival.attempt(*theirs)
        desk.production.faults.heal()

    desk.production.faults.on("trades.claim_repair", claim_too)
    report = desk.attempt(*ours)
    assert (report.outcome, report.reason, report.money_moved) == ("wait", OVER_HOUR, False)
    assert desk.production.trades.repairs[ours[0]].state == "abandoned"
    assert desk.production.ledger.entries == []


def test_a_repair_half_done_is_held_back_by_no_limit_and_no_age() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("bank.pay", "before", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.rules = {"limits": Limits(max_amount_minor={"CNY": 1}, max_trades_per_hour=0)}
    desk.production.clock.advance(days=200)
    assert desk.attempt(trade_no, code).outcome == "repaired"


# ---- age


def old_trade(desk: Desk, case_id: str = "S2") -> tuple[str, str]:
    trade_no, code = load_case(desk, case_id)
    desk.production.clock.advance(days=89)
    return trade_no, code


@pytest.mark.parametrize("case_id", ["S1", "S2", "S6"])
def test_an_old_trade_is_only_repaired_by_a_person_s_word(case_id: str) -> None:
    desk = Desk()
    trade_no, code = old_trade(desk, case_id)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", f"{TOO_OLD}90")
    assert nothing_was_touched(desk, trade_no)
    assert desk.attempt(trade_no, code, by_person=True).outcome == "repaired"


def test_a_trade_of_ninety_days_less_an_hour_goes_by_itself() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.clock.advance(days=88, hours=-1)
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_looking_says_that_a_trade_is_too_old() -> None:
    desk = Desk()
    trade_no, _ = old_trade(desk)
    report = verify(trade_no, desk.production.ports, desk.settings)
    assert (report.outcome, report.reason) == ("human", f"{TOO_OLD}90")
    assert report.after is not None
