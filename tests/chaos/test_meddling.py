"""Production works on trades that are being repaired: each once, by its own means."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.drill.production import EDIT, PAY, POST, REFUSED, UNANSWERED, touch_one
from chaos.drill.terms import SYS_CODE, Terms
from chaos.drill.waves import Planted, plant_wave
from sandbox.bank.client import BankClient
from sandbox.bank.records import SUCCESS
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


@pytest.fixture
def bank(broken: Broken) -> Iterator[BankClient]:
    """The bank at its own port, without any fault."""
    world, _ = broken
    with world.bank() as running:
        client = BankClient(running.url, world.bank_token)
        yield client
        client.close()


def repairable(planted: Planted) -> set[str]:
    return {
        row["TRD_NUM"] for key, row in planted.rows.items() if planted.expected[key].startswith("repair:")
    }


def test_production_edits_posts_or_pays_each_repairable_trade_once_and_touches_no_other(
    broken: Broken, bank: BankClient
) -> None:
    world, planted = broken
    chance, done = random.Random(3), Counter[str]()
    while word := touch_one(world, planted, (), chance, bank):
        done[word] += 1
    assert set(done) == {EDIT, POST, PAY}
    assert done.total() == len(planted.touched)
    assert planted.touched <= repairable(planted)
    edited = {
        row["TRD_NUM"]
        for row in world.all_rows(SYS_CODE)
        if row["VERSION"] == planted.rows[row["TRD_ID"]]["VERSION"] + 1
    }
    posted = {one for one in planted.touched if is_posted_anew(world, one)}
    paid = {one for one in planted.touched if is_paid_anew(world, one)}
    assert (len(edited), len(posted), len(paid)) == (done[EDIT], done[POST], done[PAY])
    assert edited | posted | paid == planted.touched
    assert posted.isdisjoint(planted.vouchers)
    assert world.report().violations == []


def is_posted_anew(world: World, trade_no: str) -> bool:
    return any(one["IDEM_KEY"].startswith("PROD:") for one in world.entries(trade_no, SYS_CODE))


def is_paid_anew(world: World, trade_no: str) -> bool:
    """Under a number of its own, once, with its line in production's table."""
    paid = [one.request_no for one in world.payouts(trade_no) if one.status == SUCCESS]
    written = {one["REQUEST_NO"]: one["STATUS"] for one in world.requests(trade_no, SYS_CODE)}
    return paid == [f"{trade_no}-1"] and written[f"{trade_no}-1"] == SUCCESS


def test_a_trade_under_repair_is_touched_before_any_other(broken: Broken, bank: BankClient) -> None:
    world, planted = broken
    in_repair = set(sorted(repairable(planted))[:2])
    for seed in range(2):
        touch_one(world, planted, in_repair, random.Random(seed), bank)
    assert planted.touched == in_repair


def test_what_ledger_or_bank_refuses_or_never_answers_is_told(broken: Broken, bank: BankClient) -> None:
    world, planted = broken
    bank.call("POST", "/faults", {"kind": "reject", "code": "E1003", "next_calls": 1})
    for row in planted.rows.values():
        row["ACC_NO"] = "nobody's"
    words = Counter(touch_one(world, planted, (), random.Random(seed), bank) for seed in range(12))
    assert set(words) == {EDIT, f"{REFUSED} {POST}", PAY, f"{REFUSED} {PAY}"}
    assert words[f"{REFUSED} {PAY}"] == 1


def test_a_payout_that_no_bank_answers_is_written_down(broken: Broken) -> None:
    world, planted = broken
    nobody = BankClient("http://127.0.0.1:1", world.bank_token)
    chance = random.Random(3)
    words = {touch_one(world, planted, (), chance, nobody) for _ in range(12)}
    assert UNANSWERED in words
    written = [one for trade_no in planted.touched for one in world.requests(trade_no, SYS_CODE)]
    assert {one["STATUS"] for one in written if one["SEQ"] == 1} == {"created"}
    assert PAY not in words
