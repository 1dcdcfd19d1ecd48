"""What must hold however production fails over, pays, takes back and edits beside attempts and orders."""

import pytest

from tests.agent.restless_schedules import RestlessOrderSchedule, RestlessSchedule
from tests.agent.watch import Watch
from tests.agent.world import AMOUNT, Desk, load_case
from tests.fakes.bank import BankRecord

SEEDS_A_TEST = 100


def broken_by(kind: type[RestlessSchedule], first: int) -> dict[int, list[tuple[str, object]]]:
    """What a hundred seeds have found that may never be, by seed."""
    schedules = {seed: kind(seed) for seed in range(first, first + SEEDS_A_TEST)}
    for schedule in schedules.values():
        schedule.run()
    return {seed: each.watch.broken for seed, each in schedules.items() if each.watch.broken}


@pytest.mark.parametrize("first", range(0, 1_000, SEEDS_A_TEST))
def test_no_repair_in_a_restless_world_pays_beside_another_or_ends_untrue(first: int) -> None:
    """Nor is anything paid twice under a number, undebited, or on another row than was read."""
    assert broken_by(RestlessSchedule, first) == {}


@pytest.mark.parametrize("first", range(0, 500, SEEDS_A_TEST))
def test_no_order_in_a_restless_world_does_nor_gives_back_what_is_paid(first: int) -> None:
    assert broken_by(RestlessOrderSchedule, first) == {}


@pytest.mark.parametrize("kind", [RestlessSchedule, RestlessOrderSchedule])
def test_a_seed_is_one_restless_schedule(kind: type[RestlessSchedule]) -> None:
    one, other = kind(7), kind(7)
    assert one.run() == other.run()
    assert one.endings == other.endings
    assert one._faults.calls == other._faults.calls


def test_the_watch_tells_of_payouts_that_may_not_be() -> None:
    desk = Desk()
    trade_no, _ = load_case(desk, "S2")
    watch = Watch(desk, trade_no)
    for number in ("one", "other", "other"):
        desk.production.bank._pay_new(BankRecord(number, "payout", "accepted", AMOUNT, "6222"))
    assert {what for what, _ in watch.broken} == {
        "paid undebited",
        "paid on another row than was read",
        "paid beside another",
        "paid twice under one number",
    }
