"""What must hold however attempts, faults, the bank and production fall together."""

from collections.abc import Iterator

import pytest

from agent.facts import Leg
from tests.agent.schedules import Schedule

SEEDS_A_TEST = 100


def schedules(first: int) -> Iterator[tuple[Schedule, str]]:
    """Each schedule of a hundred seeds, run, with the outcome it ended with."""
    for seed in range(first, first + SEEDS_A_TEST):
        schedule = Schedule(seed)
        yield schedule, schedule.run()[0]


@pytest.mark.parametrize("first", range(0, 1_000, SEEDS_A_TEST))
def test_no_schedule_pays_or_posts_twice_or_ends_nowhere(first: int) -> None:
    """I1: one payout; I2: one posting a leg; I3: none paid without its debit; I8: an end that is one."""
    for seed, (schedule, outcome) in enumerate(schedules(first), first):
        assert len(schedule.payouts()) <= 1, seed
        assert len(schedule.desk.production.bank.payments) <= 1, seed
        assert max(schedule.entries_of(Leg.FIRST), schedule.entries_of(Leg.SECOND)) <= 1, seed
        if schedule.desk.production.bank.asked:
            assert schedule.entries_of(Leg.FIRST) == 1, seed
        if outcome in ("repaired", "already_consistent"):
            assert schedule.verdict() == "consistent", seed
        else:
            assert outcome == "needs_human" or schedule.has_odd_failure, (seed, schedule.endings[-1])


@pytest.mark.parametrize("first", range(1_000, 1_400, SEEDS_A_TEST))
def test_a_trade_nobody_else_touches_is_finished_by_itself(first: int) -> None:
    """Unless the bank has finally refused the payout, or its reply is lost and it would pay twice."""
    for seed, (schedule, outcome) in enumerate(schedules(first), first):
        if schedule.was_touched or schedule.has_odd_failure:
            continue
        assert len(schedule.desk.production.trades.corrections) <= 1, seed
        if outcome == "needs_human" and schedule.desk.production.bank.deduplicates:
            assert schedule.endings[-1][1] == "debited, payout failed", seed


def test_a_seed_is_one_schedule() -> None:
    one, other = Schedule(7), Schedule(7)
    assert one.run() == other.run()
    assert one.endings == other.endings
    assert one._faults.calls == other._faults.calls
