"""What the agent's own configuration allows has the last word: amounts, rates, the age of a trade."""

from typing import Any

import pytest

from agent.fixers.attempt import STILL_COMING
from agent.fixers.base import verify
from agent.fixers.limits import OVER_DAY, OVER_HOUR, OVER_JUDGED, OVER_TRADE
from agent.fixers.lost_lines import LINE_LOST
from agent.fixers.order import Limits
from agent.fixers.reading import TOO_OLD
from agent.money import Money
from tests.agent.world import AMOUNT, CASES, Desk, load_case, nothing_was_touched, numbers
from tests.fakes.faults import Crash, Moment

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


# ---- a claim that has moved nothing


def left_open(desk: Desk, case: tuple[str, str], call: str) -> tuple[str, str]:
    """The case, claimed by an attempt that could not go on from its first such call."""
    desk.production.faults.down(call)
    assert desk.attempt(*case).outcome == "unknown"
    desk.production.faults.heal()
    return case


def state_of(desk: Desk, case: tuple[str, str]) -> str:
    return desk.production.trades.repairs[case[0]].state


NOTHING_DONE = pytest.mark.parametrize("call", ["ledger.now", "ledger.post"], ids=["claimed", "intended"])


@NOTHING_DONE
def test_claims_of_another_hour_count_in_the_hour_in_which_their_money_moves(call: str) -> None:
    desk = desk_with(max_trades_per_hour=1)
    left = [recharge(desk, number) for number in (1, 2, 3)]
    for case in left:
        left_open(desk, case, call)
        desk.production.clock.advance(minutes=61)
    while left:
        first, *left = left
        assert desk.attempt(*first).outcome == "repaired"
        ends = [desk.attempt(*case) for case in left]
        assert {(end.outcome, end.reason, end.money_moved) for end in ends} <= {("wait", OVER_HOUR, False)}
        desk.production.clock.advance(minutes=61)
    assert len(desk.production.ledger.entries) == 3


def test_a_posting_that_may_still_come_keeps_its_claim_until_it_surely_did_not() -> None:
    desk = desk_with(max_trades_per_hour=1)
    held_back = left_open(desk, recharge(desk, 1), "ledger.post")
    desk.rules = {}
    assert desk.attempt(*recharge(desk, 2)).outcome == "repaired"
    desk.rules = desk_with(max_trades_per_hour=1).rules
    for minutes, reason, state in ((19, STILL_COMING, "open"), (1, OVER_HOUR, "abandoned")):
        desk.production.clock.advance(minutes=minutes)
        report = desk.attempt(*held_back)
        assert (report.outcome, report.reason, state_of(desk, held_back)) == ("wait", reason, state)
        assert report.money_moved == (state == "open")
    desk.production.clock.advance(minutes=41)
    assert desk.attempt(*held_back).outcome == "repaired"


def test_of_two_agents_that_go_on_into_the_last_place_one_waits_and_neither_is_stuck() -> None:
    desk = desk_with(max_trades_per_hour=1)
    ours = left_open(desk, recharge(desk, 1), "ledger.post")
    desk.production.clock.advance(hours=2)
    theirs = left_open(desk, recharge(desk, 2), "ledger.post")
    rival = Desk(production=desk.production, rules=desk.rules, fence=desk.fence)
    desk.production.clock.advance(hours=2)

    def go_on_too() -> None:
        desk.production.faults.on("trades.renew_repair", lambda: None)
        desk.production.faults.down("ledger.post")
        assert rival.attempt(*theirs).outcome == "unknown"
        desk.production.faults.heal()

    desk.production.faults.on("trades.renew_repair", go_on_too)
    report = desk.attempt(*ours)
    assert (report.outcome, report.reason, state_of(desk, ours)) == ("wait", OVER_HOUR, "abandoned")
    assert desk.attempt(*theirs).outcome == "repaired"
    desk.production.clock.advance(minutes=61)
    assert desk.attempt(*ours).outcome == "repaired"


@NOTHING_DONE
@pytest.mark.parametrize("case_id", ["S1", "S2"])
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_amount_minor": {"CNY": AMOUNT - 1}}, OVER_TRADE),
        ({"max_trades_per_hour": 0}, OVER_HOUR),
        ({}, f"{TOO_OLD}90"),
    ],
    ids=["amount", "count", "age"],
)
def test_what_has_moved_nothing_is_held_back_like_what_is_yet_to_begin(
    call: str, case_id: str, limits: dict[str, Any], reason: str
) -> None:
    desk = Desk()
    case = left_open(desk, load_case(desk, case_id), call)
    desk.rules = {"limits": Limits(**limits)}
    desk.production.clock.advance(days=200 if not limits else 1)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", reason, False)
    assert (desk.production.ledger.entries, desk.production.bank.asked) == ([], [])
    desk.rules = {}
    assert desk.attempt(*case, by_person=True).outcome == "repaired"


def test_a_posting_that_never_arrived_is_not_made_above_what_the_server_judged() -> None:
    desk = Desk()
    case = left_open(desk, load_case(desk, "S2"), "ledger.post")
    desk.production.clock.advance(hours=1)
    report = desk.attempt(*case, judged=AMOUNT - 1)
    assert (report.outcome, report.reason, report.money_moved) == ("refused", OVER_JUDGED, False)
    assert desk.attempt(*case, judged=AMOUNT).outcome == "repaired"


def test_a_posting_whose_reply_was_lost_is_gone_on_with_over_every_limit() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.down("ledger.post", "after")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()
    desk.rules = {"limits": Limits(max_amount_minor={"CNY": 1}, max_trades_per_hour=0)}
    desk.cancellation.is_on = True
    desk.production.clock.advance(days=200)
    report = desk.attempt(trade_no, code, judged=1)
    assert (report.outcome, numbers(desk)) == ("repaired", [f"{trade_no}-0"])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("minutes", [1, 30])
def test_an_agent_that_dies_as_it_takes_its_place_leaves_nothing_stuck(moment: Moment, minutes: int) -> None:
    desk = desk_with(max_trades_per_hour=1)
    case = left_open(desk, load_case(desk, "S2"), "ledger.post")
    desk.production.clock.advance(minutes=minutes)
    desk.production.faults.down("trades.renew_repair", moment, Crash())
    with pytest.raises(Crash):
        desk.attempt(*case)
    desk.production.faults.heal()
    assert desk.attempt(*case).outcome == "repaired"
    assert numbers(desk) == [f"{case[0]}-0"]


# ---- a payout that nobody was let ask for


HELD_BACK = pytest.mark.parametrize(
    ("limits", "days", "reason"),
    [
        (Limits(max_amount_minor={"CNY": AMOUNT - 1}), 0, OVER_TRADE),
        (Limits(max_trades_per_hour=0), 0, OVER_HOUR),
        (Limits(), 200, f"{TOO_OLD}90"),
    ],
    ids=["amount", "count", "age"],
)


@HELD_BACK
@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_a_payout_never_asked_for_is_held_back_like_what_is_yet_to_begin(
    case_id: str, limits: Limits, days: int, reason: str
) -> None:
    desk = Desk()
    case = left_open(desk, load_case(desk, case_id), "trades.open_bank_request")
    desk.rules = {"limits": limits}
    desk.production.clock.advance(days=days, minutes=20)
    report = desk.attempt(*case)
    assert (report.outcome, report.reason, report.money_moved) == ("needs_human", reason, False)
    assert (desk.production.bank.asked, state_of(desk, case)) == ([], "abandoned")
    desk.rules = {}
    assert desk.attempt(*case, by_person=True).outcome == "repaired"
    assert len(numbers(desk)) == 1


@HELD_BACK
@pytest.mark.parametrize("case_id", ["S2", "S7a", "S7b"])
def test_a_payout_the_bank_may_have_been_asked_for_goes_on_over_every_limit(
    case_id: str, limits: Limits, days: int, reason: str
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.faults.down("bank.pay", "after")
    assert desk.attempt(trade_no, code).outcome == "unknown"
    desk.production.faults.heal()
    desk.rules = {"limits": limits}
    desk.production.clock.advance(days=days, minutes=1)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(numbers(desk)) == 1


@pytest.mark.parametrize("case_id", ["S7a", "S7b"])
def test_a_payout_given_up_unasked_is_not_asked_for_by_who_had_written_it_down(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    newer = Desk(production=desk.production, rules=desk_with(max_trades_per_hour=0).rules)

    def give_up() -> None:
        desk.production.faults.heal()
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "wait"
        desk.production.clock.advance(minutes=20)
        assert newer.attempt(trade_no, code, fence=desk.fence + 1).outcome == "needs_human"

    desk.production.faults.on("trades.open_bank_request", give_up)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("refused", "fenced")
    assert (desk.production.bank.asked, state_of(desk, (trade_no, code))) == ([], "abandoned")


@pytest.mark.parametrize("deduplicates", [True, False])
def test_a_payout_the_bank_knows_is_not_given_up_though_production_lost_that_it_was_asked_for(
    deduplicates: bool,
) -> None:
    """Production's database was restored to the moment before the bank was asked."""
    desk = Desk()
    desk.production.bank.deduplicates = deduplicates
    case = left_open(desk, load_case(desk, "S7a"), "trades.open_bank_request")
    trade = desk.production.trade(case[0])
    paid = Money(AMOUNT, trade.currency)
    desk.production.bank.pay(f"{case[0]}-P1", paid, trade.bank_account_no)
    desk.rules = {"limits": Limits(max_trades_per_hour=0)}
    for minutes, end in ((1, ("wait", "bank")), (19, ("needs_human", LINE_LOST))):
        desk.production.clock.advance(minutes=minutes)
        report = desk.attempt(*case)
        assert (report.outcome, report.reason, state_of(desk, case)) == (*end, "open")
    assert numbers(desk) == [f"{case[0]}-P1"]


def test_a_payout_never_asked_for_counts_in_the_hour_in_which_it_is() -> None:
    desk = desk_with(max_trades_per_hour=1)
    case = left_open(desk, load_case(desk, "S7b"), "trades.open_bank_request")
    desk.production.clock.advance(hours=2)
    assert desk.attempt(*case).outcome == "repaired"
    assert desk.attempt(*recharge(desk, 1)).reason == OVER_HOUR
