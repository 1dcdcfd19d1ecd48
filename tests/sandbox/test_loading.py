"""Healthy and broken trades in bulk."""

from collections import Counter
from pathlib import Path

import pytest

from sandbox.broken import BREAKS
from sandbox.clock import ManualClock
from sandbox.world import World


def test_healthy_trades_agree_every_one(world: World) -> None:
    assert world.load_healthy(300) == 300
    report = world.report()
    assert (report.trades["PBAP"], report.agreeing["PBAP"]) == (300, 300)
    assert report.violations == []


def test_more_healthy_trades_come_beside_the_first(world: World) -> None:
    world.load_healthy(40)
    world.load_healthy(40, seed=9)
    assert world.report().agreeing["PBAP"] == 80


def test_the_same_seed_makes_the_same_trades(world: World, clock: ManualClock, tmp_path: Path) -> None:
    other = World.created(tmp_path / "other", clock=clock)
    for each in (world, other):
        each.load_healthy(20, seed=3)
        each.load_broken(20, seed=3)
    assert set(world.books.everything()) == set(other.books.everything())
    other.close()


def test_both_groups_ask_one_bank_under_numbers_that_differ(world: World) -> None:
    for group in world.groups:
        world.load_healthy(50, group=group, seed=3)
        world.load_broken(len(BREAKS), group=group, seed=3)
    assert world.report().violations == []
    assert len({item.trade_no for item in world.report().disagreements}) > len(BREAKS)


def test_rows_alone_have_nothing_behind_them(world: World) -> None:
    world.load_healthy(50, rows_only=True)
    assert list(world.books.everything()) == []
    assert world.report().trades["PBAP"] == 50


def test_every_kind_of_break_is_loaded_and_no_money_is_wrong(world: World) -> None:
    planted = world.load_broken(len(BREAKS))
    assert {trade.kind for trade in planted} == {broken.name for broken in BREAKS}
    assert world.report().violations == []


def test_every_fixer_gets_several_and_many_are_not_to_be_repaired(world: World) -> None:
    expected = Counter(trade.expected for trade in world.load_broken(200))
    fixers = {name: count for name, count in expected.items() if name.startswith("repair:")}
    assert len(fixers) == 8
    assert min(fixers.values()) >= 5
    assert expected["human"] >= 30
    assert min(expected["wait"], expected["consistent"]) >= 5


@pytest.mark.parametrize("kind", ["trade number twice", "amount malformed", "too young"])
def test_what_was_planted_is_written_down(world: World, kind: str) -> None:
    planted = [trade for trade in world.load_broken(len(BREAKS)) if trade.kind == kind]
    noted = [row for row in world.planted() if row["KIND"] == kind]
    assert [row["TRD_ID"] for row in noted] == [trade.trd_id for trade in planted]


def test_nonsense_is_stored_as_it_came(world: World) -> None:
    numbers = {trade.kind: trade.trade_no for trade in world.load_broken(len(BREAKS))}
    assert world.row(numbers["amount malformed"])["AMOUNT"] == "88.00元"
    assert world.row(numbers["amount negative"])["AMOUNT"] < 0
    assert world.row(numbers["status out of range"])["TRD_STATUS"] == 5
    assert len(world.rows(numbers["trade number twice"])) == 2


def test_a_poor_customer_has_nothing(world: World) -> None:
    poor = [trade for trade in world.load_broken(len(BREAKS)) if trade.kind.startswith("insufficient")]
    assert [world.balance(trade.account_no) for trade in poor] == [0, 0]
