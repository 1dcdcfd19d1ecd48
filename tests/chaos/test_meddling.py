"""Production works on trades that are being repaired: each once, by its own means."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.drill.production import EDIT, POST, REFUSED, touch_one
from chaos.drill.terms import SYS_CODE, Terms
from chaos.drill.waves import Planted, plant_wave
from sandbox.world import World

Broken = tuple[World, Planted]


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Broken]:
    """A wave of broken trades."""
    world = World.created(tmp_path, groups=(SYS_CODE,), day_seconds=20)
    planted = Planted()
    plant_wave(world, Terms(cycles=1, seed=1, wave=30), planted)
    yield world, planted
    world.close()


def repairable(planted: Planted) -> set[str]:
    return {
        row["TRD_NUM"] for key, row in planted.rows.items() if planted.expected[key].startswith("repair:")
    }


def test_production_edits_or_posts_each_repairable_trade_once_and_touches_no_other(broken: Broken) -> None:
    world, planted = broken
    chance, done = random.Random(3), Counter[str]()
    while word := touch_one(world, planted, (), chance):
        done[word] += 1
    assert set(done) == {EDIT, POST}
    assert done.total() == len(planted.touched)
    assert planted.touched <= repairable(planted)
    edited = {
        row["TRD_NUM"]
        for row in world.all_rows(SYS_CODE)
        if row["VERSION"] == planted.rows[row["TRD_ID"]]["VERSION"] + 1
    }
    posted = {one for one in planted.touched if is_posted_anew(world, one)}
    assert (len(edited), len(posted)) == (done[EDIT], done[POST])
    assert edited | posted == planted.touched
    assert posted.isdisjoint(planted.vouchers)
    assert world.report().violations == []


def is_posted_anew(world: World, trade_no: str) -> bool:
    return any(one["IDEM_KEY"].startswith("PROD:") for one in world.entries(trade_no, SYS_CODE))


def test_a_trade_under_repair_is_touched_before_any_other(broken: Broken) -> None:
    world, planted = broken
    in_repair = set(sorted(repairable(planted))[:2])
    for seed in range(2):
        touch_one(world, planted, in_repair, random.Random(seed))
    assert planted.touched == in_repair


def test_a_posting_that_the_ledger_refuses_is_told(broken: Broken) -> None:
    world, planted = broken
    for row in planted.rows.values():
        row["ACC_NO"] = "nobody's"
    words = {touch_one(world, planted, (), random.Random(seed)) for seed in range(4)}
    assert words == {EDIT, REFUSED}
