"""A short drill with real processes: nothing breaks, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from chaos.drill.databases import ISOLATIONS
from chaos.drill.parts import ROOT
from chaos.drill.running import run_drill
from chaos.drill.terms import Terms
from tests.databases import server_answers

SHORT = Terms(cycles=4, seed=3, healthy=20, wave=22)
SHORTEST = replace(SHORT, cycles=2)
LONGEST_S = 120.0
MAY_STILL_ARRIVE = "the request may still reach the bank, which does not de-duplicate"
"""Why a person has a trade that a bank that de-duplicates is asked for again."""


def test_killed_at_random_over_bad_wires_nothing_breaks(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = run_drill(SHORT, tmp_path, told.append)
    assert outcome.violations == []
    assert outcome.cycles == SHORT.cycles
    assert sum(outcome.kills.values()) >= SHORT.cycles
    assert outcome.production.total() >= 1
    assert sum(outcome.states.values()) == (10 + SHORT.wave) * outcome.waves
    assert len(told) == SHORT.cycles + 1
    assert children_in(tmp_path) == []


def test_a_bank_that_does_not_deduplicate_is_asked_once_for_each_number(tmp_path: Path) -> None:
    outcome = run_drill(replace(SHORT, deduplicates=False), tmp_path, lambda _words: None)
    assert outcome.violations == []
    assert (outcome.cycles, outcome.production.total() >= 1) == (SHORT.cycles, True)
    assert sum(outcome.states.values()) == (10 + SHORT.wave) * outcome.waves
    assert outcome.reasons[MAY_STILL_ARRIVE] >= 1
    assert children_in(tmp_path) == []


def test_nothing_breaks_where_workers_are_processes_that_are_killed_one_by_one(tmp_path: Path) -> None:
    outcome = run_drill(replace(SHORT, seed=6, pool="processes"), tmp_path, lambda _words: None)
    assert outcome.violations == []
    assert outcome.kills["worker"] >= 1
    assert sum(outcome.states.values()) == (10 + SHORT.wave) * outcome.waves
    assert children_in(tmp_path) == []


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_nothing_breaks_before_a_production_database_that_is_a_server(
    tmp_path: Path, engine: str, isolation: str
) -> None:
    if not server_answers(engine):
        pytest.skip(f"no {engine} server answers")
    terms = replace(SHORTEST, engine=engine, isolation=isolation)
    outcome = run_drill(terms, tmp_path, lambda _words: None)
    assert outcome.violations == []
    assert (outcome.cycles, sum(outcome.kills.values()) >= terms.cycles) == (terms.cycles, True)
    assert outcome.production.total() >= 1
    assert sum(outcome.states.values()) == (10 + terms.wave) * outcome.waves


def test_interrupted_it_leaves_no_process_and_no_folder_behind(tmp_path: Path) -> None:
    drill = subprocess.Popen(
        [sys.executable, "-m", "chaos.drill", "--cycles", "1000", "--seed", "1", "--wave", "22"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert drill.stderr is not None
    assert drill.stderr.readline().startswith("cycle 1: killed")
    started = psutil.Process(drill.pid).children(recursive=True)
    assert len(started) >= 4
    drill.send_signal(signal.SIGINT)
    drill.communicate(timeout=LONGEST_S)
    assert drill.returncode == 130
    assert [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    assert list(tmp_path.iterdir()) == []


def children_in(folder: Path) -> list[psutil.Process]:
    """Processes of ours whose command line names the folder."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if str(folder) in " ".join(one.cmdline())]
