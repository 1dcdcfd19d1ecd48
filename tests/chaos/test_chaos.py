"""Schedules of faults over the real server and agent, as ``make chaos`` runs them."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent import failpoints
from agent.fixers import base
from agent.fixers.attempt import AttemptEnded
from chaos.running import CRASH, Tally, run_all, try_one
from chaos.simulation import invariants
from chaos.simulation.cells import Cell, run_cell
from chaos.simulation.draws import Draw, draw
from chaos.simulation.invariants import INVARIANTS
from chaos.simulation.schedule import Outcome, Schedule
from chaos.simulation.troubles import TROUBLES
from chaos.simulation.workshop import Workshop

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEDULES = 200


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m chaos``."""
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def clicked(schedule: Schedule) -> int:
    """How many attempts a click has begun."""
    with sqlite3.connect(schedule.workshop.run / "piculus.db") as server:
        return int(server.execute("""SELECT count(*) FROM attempt WHERE "trigger" = 'click'""").fetchone()[0])


def test_no_schedule_breaks_an_invariant(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = chaos("--schedules", str(SCHEDULES), "--report", str(report))
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(report.read_text())
    assert told["schedules"] == SCHEDULES
    assert told["violations"] == dict.fromkeys(INVARIANTS, 0)
    assert set(TROUBLES) < set(told["faults"]), "every kind of trouble is drawn by some seed"
    assert told["trades"]["repaired"] > sum(told["trades"].values()) / 2, "caution alone is no proof"


def test_a_trouble_counts_only_where_it_comes_to_something(workshop: Workshop) -> None:
    """There is no second agent that could be lost, and not always a trade that may be clicked."""
    tried, counted, clicks = Counter[str](), Counter[str](), 0
    troubles = ("agent lost", "person clicks")
    drawn = Draw(cases=("S2", "S3"), rough_seconds=150.0, bank_rate=0.6, troubles=troubles)
    for seed in range(3, 7):
        schedule = Schedule(workshop, seed, drawn)
        with schedule.running():
            outcome = schedule.outcome()
            clicks += clicked(schedule)
        counted += outcome.counts
        tried.update(line.partition("trouble: ")[2] for line in outcome.trace if "trouble: " in line)
    assert tried["agent lost"] > 0
    assert counted["agent lost"] == 0
    assert tried["person clicks"] > counted["person clicks"] == clicks


def test_a_seed_is_one_schedule() -> None:
    first, second = (chaos("--schedules", "1", "--seed", "4") for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "healing" in first.stdout
    assert first.stdout == second.stdout


def test_seeds_differ() -> None:
    assert len({draw(seed) for seed in range(50)}) == 50


def test_what_was_run_before_an_interrupt_is_counted() -> None:
    def interrupt(tally: Tally) -> None:
        raise KeyboardInterrupt

    assert run_all([1, 2, 3], 1, on_outcome=interrupt).schedules == 1


def test_one_that_breaks_off_is_told_by_its_name_and_the_others_are_run() -> None:
    broken = Cell("no such case", "", "kill")
    tally = run_all([broken, 1, 2], 1)
    assert tally.schedules == 2
    assert [(name, invariant) for name, invariant, _ in tally.violations] == [(broken.name, CRASH)]
    assert tally.by_invariant()[CRASH] == 1
    assert f"{broken.name}  crash  KeyError" in tally.as_text()


def test_one_that_breaks_off_tells_its_steps_and_its_error(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(schedule: Schedule) -> None:
        raise LookupError("nobody heals it")

    with monkeypatch.context() as broken:
        broken.setattr(Schedule, "_heal", fail)
        outcome = try_one(workshop, 1)
    assert outcome.violations == [(CRASH, "LookupError: nobody heals it")]
    assert any("bank starts" in line for line in outcome.trace)
    assert any("LookupError" in line for line in outcome.trace)
    assert try_one(workshop, 1).violations == []


def test_what_goes_wrong_is_found_and_told(workshop: Workshop) -> None:
    """A second payout under another number, put into the bank's books behind everybody's back."""
    schedule = Schedule(workshop, 1, Draw(cases=("S2",), rough_seconds=90.0))
    with schedule.running():
        assert schedule.is_settled
        assert schedule.outcome().violations == []
        trade_no = schedule.loaded[0].trade_no
        (paid,) = schedule.world.payouts(trade_no)
        schedule.world.books._connection.execute(
            "INSERT INTO bank_record SELECT request_no || '9', kind, status, code, amount_minor, currency,"
            " account, accepted_at, completed_at, due_at, due_status, is_announced, asked_minor"
            " FROM bank_record WHERE request_no = ?",
            (paid.request_no,),
        )
        outcome = schedule.outcome()
    assert {invariant for invariant, _ in outcome.violations} >= {"I1", "I4"}
    tally = Tally()
    tally.add(outcome)
    assert tally.by_invariant()["I1"] == 1
    assert f"seed 1  I1  {trade_no}" in tally.as_text()


def test_a_trade_that_people_get_after_a_single_fault_is_found(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell("S7a", "bank.pay.after", "kill", is_in_repair=True)
    assert run_cell(workshop, cell).violations == []

    def leave(*_: object) -> None:
        raise AttemptEnded("needs_human", "something is half done")

    monkeypatch.setattr(base, "resume", leave)
    found = [("I8", "the trade is needs_human after a single fault")]
    assert run_cell(workshop, cell).violations == found
    assert run_cell(workshop, replace(cell, deduplicates=False)).violations == []


def test_what_grows_beyond_what_a_few_trades_need_is_found(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "MOST", dict.fromkeys(invariants.MOST, 0))
    found = try_one(workshop, 1).violations
    assert [text.split(maxsplit=1)[1].partition(",")[0] for name, text in found if name == "I10"] == [
        *invariants.MOST
    ]


def test_servers_that_read_no_further_for_longer_than_a_lease_lose_nothing(workshop: Workshop) -> None:
    drawn = Draw(cases=("S1", "S2", "S7b"), agents=2, frame_rate=0.2, troubles=("server reads no further",))
    schedule = Schedule(workshop, 1, drawn)
    with schedule.running():
        outcome = schedule.outcome()
    assert outcome.violations == []
    assert outcome.counts["server reads no further"] == 1


def test_the_report_tells_every_violation_and_names_the_points_that_nothing_reached() -> None:
    left_out, *reached = failpoints.declared()
    found = [("I5", f"the result of c{number} never came") for number in range(50)]
    tally = Tally()
    tally.add(Outcome("seed 7", Counter(), Counter(reached), found))
    text = tally.as_text()
    assert f"{len(reached)} of {len(reached) + 1} reached\n  not reached: {left_out}\n" in text
    assert all(f"seed 7  I5  {words}" in text for _, words in found)
    assert json.loads(tally.as_json())["unreached"] == [left_out]
