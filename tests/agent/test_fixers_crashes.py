"""An agent that dies, or a port that fails, at every single call: the repair goes on and moves money once."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.errors import PortError
from agent.fixers.base import verify
from agent.money import Money
from tests.agent.world import AMOUNT, CASES, Desk, load_case, may_have_been_asked, wait_for_days_to_close
from tests.fakes.faults import Crash, Moment

ALL = [(case_id, None) for case_id in CASES] + [("S2", "two_step"), ("S8", "two_step")]


def interrupted(
    case_id: str, bookkeeping: str | None, moment: Moment, error: Exception, deduplicates: bool = True
) -> Iterator[tuple[Desk, str, str]]:
    """The case, interrupted at its first call, its second … until an attempt makes no more calls."""
    index = 0
    while True:
        index += 1
        desk = Desk()
        desk.production.bank.deduplicates = deduplicates
        trade_no, code = load_case(desk, case_id, bookkeeping=bookkeeping)
        desk.production.faults.fail_call(index, moment, error)
        with suppress(Crash):
            desk.attempt(trade_no, code)
        if len(desk.production.faults.calls) < index:
            return
        desk.production.faults.heal()
        yield desk, trade_no, code


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [Crash(), PortError("timed out")], ids=["crash", "port error"])
@pytest.mark.parametrize(("case_id", "bookkeeping"), ALL)
def test_a_repair_interrupted_anywhere_is_finished_and_moves_money_once(
    case_id: str, bookkeeping: str | None, moment: Moment, error: Exception
) -> None:
    world = CASES[case_id]["after_world"]
    for desk, trade_no, code in interrupted(case_id, bookkeeping, moment, error):
        production = desk.production
        was_closed = (
            trade_no in production.trades.repairs and production.trades.repairs[trade_no].state == "done"
        )
        if was_closed:
            assert verify(trade_no, production.ports, desk.settings).outcome in ("consistent", "wait")
        else:
            assert desk.attempt(trade_no, code).outcome == "repaired"
        added = [entry for entry in production.ledger.entries if entry.posted_by == "piculus"]
        expected = world["ledger_entries_added"] + (1 if bookkeeping == "two_step" else 0)
        assert len(added) == expected
        assert len(production.bank.payments) == world["payouts_made"]
        assert len(production.trades.corrections) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("case_id", ["S2", "S3", "S7a", "S7b"])
def test_a_bank_that_does_not_deduplicate_pays_at_most_once_wherever_the_agent_dies(
    case_id: str, moment: Moment
) -> None:
    for desk, trade_no, code in interrupted(case_id, None, moment, Crash(), deduplicates=False):
        for _ in range(3):
            desk.attempt(trade_no, code)
            wait_for_days_to_close(desk)
        assert len(desk.production.bank.payments) <= 1
        assert len(desk.production.bank.asked) <= 1
        seen = verify(trade_no, desk.production.ports, desk.settings)
        assert seen.outcome != "resume" or may_have_been_asked(desk, trade_no)


@pytest.mark.parametrize("case_id", ["S2", "S3"])
def test_a_late_original_is_deduplicated_wherever_the_agent_dies(case_id: str) -> None:
    for desk, trade_no, code in interrupted(case_id, None, "before", Crash()):
        production = desk.production
        trade = production.trade(trade_no)
        if f"{trade_no}-0" not in production.bank.records:
            production.bank.pay(f"{trade_no}-0", _money(), trade.bank_account_no)
        for _ in range(2):
            desk.attempt(trade_no, code)
        assert len(production.bank.payments) == 1


def _money() -> Money:
    return Money(AMOUNT)
