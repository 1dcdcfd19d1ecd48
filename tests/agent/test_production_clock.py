"""Production's own clock is set by a day, at every single call of a repair: it moves money once, and ends."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import pytest

from agent.fixers.base import verify
from tests.agent.world import CASES, Desk, load_case
from tests.fakes.faults import Crash

DAYS: Final = (-1, 1)
ALL: Final = [(case_id, None) for case_id in CASES] + [("S2", "two_step"), ("S8", "two_step")]
EFFECTS: Final = ("ledger.post", "bank.pay", "trades.write_row", "trades.record_step", "trades.claim_repair")

each_case = pytest.mark.parametrize(("case_id", "bookkeeping"), ALL)
each_way = pytest.mark.parametrize("days", DAYS)


def calls_of(case_id: str, bookkeeping: str | None) -> list[str]:
    """The names of the calls of an undisturbed repair, in their order."""
    desk = Desk()
    trade_no, code = load_case(desk, case_id, bookkeeping=bookkeeping)
    desk.production.faults.heal()
    assert desk.attempt(trade_no, code).outcome == "repaired"
    return list(desk.production.faults.calls)


def disturbed(
    case_id: str, bookkeeping: str | None, change: Callable[[Desk], None]
) -> Iterator[tuple[Desk, str, str]]:
    """The case, changed before its first call, its second … ; each ready to be gone on with."""
    calls = calls_of(case_id, bookkeeping)
    for index in range(1, len(calls) + 1):
        desk = Desk()
        trade_no, code = load_case(desk, case_id, bookkeeping=bookkeeping)
        faults = desk.production.faults
        faults.heal()

        def strike(desk: Desk = desk, index: int = index) -> None:
            if len(desk.production.faults.calls) == index:
                change(desk)

        for name in set(calls):
            faults.on(name, strike)
        with suppress(Crash):
            desk.attempt(trade_no, code)
        faults.heal()
        yield desk, trade_no, code


def live_on(desk: Desk, trade_no: str, code: str) -> None:
    """Attempts go on while time goes by, for three days at most, until the trade is whole."""
    for _ in range(72 * 2):
        seen = verify(trade_no, desk.production.ports, desk.settings).outcome
        if seen == "consistent":
            return
        assert seen != "human", seen
        if seen in ("repair", "resume"):
            desk.attempt(trade_no, code)
        desk.production.clock.advance(minutes=30)
    raise AssertionError("it has not ended")


def assert_done_once(desk: Desk, case_id: str, bookkeeping: str | None) -> None:
    production, world = desk.production, CASES[case_id]["after_world"]
    added = [entry for entry in production.ledger.entries if entry.posted_by == "piculus"]
    assert len(added) == world["ledger_entries_added"] + (1 if bookkeeping == "two_step" else 0)
    assert len(production.bank.payments) == world["payouts_made"]
    assert len(production.trades.corrections) == 1


@each_way
@each_case
def test_a_clock_that_is_set_at_any_call_leaves_the_trade_repaired_once(
    case_id: str, bookkeeping: str | None, days: int
) -> None:
    for desk, trade_no, code in disturbed(
        case_id, bookkeeping, lambda desk: desk.production.clock.advance(days=days)
    ):
        live_on(desk, trade_no, code)
        assert_done_once(desk, case_id, bookkeeping)


@each_way
@each_case
def test_a_clock_that_is_set_while_nobody_goes_on_with_a_repair_repeats_no_effect(
    case_id: str, bookkeeping: str | None, days: int
) -> None:
    """The agent dies at any call, and the next one goes by a clock that is a day off."""

    def die(desk: Desk) -> None:
        desk.production.clock.advance(days=days)
        raise Crash

    for desk, trade_no, code in disturbed(case_id, bookkeeping, die):
        live_on(desk, trade_no, code)
        assert_done_once(desk, case_id, bookkeeping)


@pytest.mark.parametrize("effect", EFFECTS)
@each_way
@pytest.mark.parametrize("case_id", ["S2", "S3", "S7b", "S8"])
def test_a_clock_set_while_an_agent_is_about_to_act_and_another_takes_over_repeats_no_effect(
    case_id: str, days: int, effect: str
) -> None:
    """By the clock what it had written down is a day old, or of tomorrow; in truth it is on its way."""
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    faults = desk.production.faults
    faults.heal()

    def take_over() -> None:
        faults._hooks.clear()
        desk.production.clock.advance(days=days)
        for _ in range(3):
            desk.attempt(trade_no, code)

    faults.on(effect, take_over)
    desk.attempt(trade_no, code, fence=1)
    faults.heal()
    desk.fence = 100
    live_on(desk, trade_no, code)
    assert_done_once(desk, case_id, None)
