"""One command for every figure: each part's report is read as it is written, and held against its target."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from agent import failpoints
from chaos import proof
from chaos.drill.table import Outcome as Drill
from chaos.drill.table import as_json
from chaos.drill.terms import Terms
from chaos.drill.violations import Violation
from chaos.drill.watching import Resumed
from chaos.mutating import Sum
from chaos.proof import Json, Line, Part, all_parts, as_table, run_part
from chaos.running import Tally
from chaos.simulation.schedule import Outcome


def reached(lines: Iterator[Line]) -> list[tuple[str, bool | None]]:
    return [(line.reached, line.is_met) for line in lines]


def test_schedules_and_cells_are_held_against_no_violation() -> None:
    tally = Tally()
    trades = Counter(repaired=2, healed=1, needs_human=1)
    tally.add(Outcome("seed 7", Counter(kill=3), Counter(failpoints.declared()), trades=trades))
    assert reached(proof.schedule_lines(json.loads(tally.as_json()))) == [
        ("0", True),
        ("0", True),
        ("75%", True),
        ("none", True),
    ]
    tally.add(Outcome("S1 ledger.post.after kill", Counter(), Counter(), [("I2", "twice")]))
    assert reached(proof.schedule_lines(json.loads(tally.as_json())))[1] == ("1", False)


@pytest.mark.parametrize("trades", [Counter(repaired=2, needs_human=1, exhausted=1), Counter()])
def test_where_people_have_what_is_not_violated_nothing_is_proved(trades: Counter[str]) -> None:
    tally = Tally()
    tally.add(Outcome("seed 7", Counter(), Counter(), trades=trades))
    lines = list(proof.schedule_lines(json.loads(tally.as_json())))
    assert [(line.is_met, line.is_hard) for line in lines if "repaired" in line.figure] == [(False, True)]


def test_a_mutant_at_large_is_named() -> None:
    counted = Sum(mutants=24, by_schedules=21, by_tests=2, at_large=["07-pay-before-debit"])
    assert reached(proof.mutant_lines(asdict(counted))) == [("21", True), ("07-pay-before-debit", False)]


def test_a_drill_is_held_against_no_violation_and_five_seconds() -> None:
    drill = Drill(
        Terms(cycles=3, seed=42, engine="mariadb"),
        cycles=3,
        resumed=Resumed(steps=[1.0, 6.5]),
        states=Counter(repaired=9, needs_human=1),
        violations=[Violation("I1", "WD9", "paid twice")],
    )
    lines = list(proof.drill_lines(json.loads(as_json(drill))))
    assert reached(iter(lines)) == [("1", False), ("90%", True), ("6.50 s, of 2", False)]
    assert [line.is_hard for line in lines] == [True, False, False]
    assert all(line.figure.startswith("mariadb, READ COMMITTED") for line in lines)


def test_a_drill_before_a_bank_that_pays_twice_is_told_apart() -> None:
    drill = Drill(Terms(cycles=3, seed=42, deduplicates=False), cycles=3)
    figures = [line.figure for line in proof.drill_lines(json.loads(as_json(drill)))]
    assert all(figure.startswith("sqlite, bank without de-duplication: ") for figure in figures)


def test_a_drill_of_agents_whose_workers_are_processes_is_told_apart() -> None:
    drill = Drill(Terms(cycles=3, seed=42, pool="processes"), cycles=3)
    figures = [line.figure for line in proof.drill_lines(json.loads(as_json(drill)))]
    assert all(figure.startswith("sqlite, workers as processes: ") for figure in figures)


def test_the_benchmarks_are_held_against_their_figures() -> None:
    report = {
        "repairs": [
            {"name": "repairs", "value": 260.0},
            {"name": "repairs: bank", "value": 2.0},
            {"name": "repairs: processor time among many trades", "value": 1.1},
        ],
        "open anomalies": [
            {"name": "server's cost a repair, most to fewest", "value": 1.6},
            {"name": "server's cost a hold, most to fewest", "value": 0.9},
        ],
    }
    lines = list(proof.bench_lines(report))
    assert reached(iter(lines)) == [("260", True), ("1.6 ×", False), ("0.9 ×", True), ("1.1 ×", True)]
    assert not any(line.is_hard for line in lines)


def test_a_figure_that_was_not_measured_is_missed_and_said_so() -> None:
    lines = list(proof.bench_lines({"repairs": []}))
    assert [(line.reached, line.is_met, line.is_hard) for line in lines] == [
        ("not measured", False, True)
    ] * 4


def test_every_production_database_is_drilled_at_each_isolation_and_either_kind_of_bank() -> None:
    drills = [" ".join(part.arguments) for part in all_parts(1, 1, 1, quick=True) if part.name == "drill"]
    assert [words.split(" --cycles")[0].partition("--production ")[2] for words in drills] == [
        "sqlite --isolation READ COMMITTED",
        "postgresql --isolation READ COMMITTED",
        "postgresql --isolation REPEATABLE READ",
        "mariadb --isolation READ COMMITTED",
        "mariadb --isolation REPEATABLE READ",
        "sqlite --isolation READ COMMITTED --no-dedup",
        "sqlite --isolation READ COMMITTED --pool processes",
    ]


def nothing(report: Json) -> Iterator[Line]:
    yield from ()


def test_a_part_that_wrote_no_report_is_missed(tmp_path: Path) -> None:
    part = Part("schedules", ("chaos.no_such_program",), nothing)
    (line,) = run_part(part, tmp_path / "report.json")
    assert (line.reached, line.is_met) == ("exit code 1", False)


def test_a_drill_whose_server_does_not_answer_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICULUS_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:1/test")
    part = next(part for part in all_parts(1, 1, 1, quick=True) if "postgresql" in part.arguments)
    (line,) = run_part(part, tmp_path / "report.json")
    assert line.is_met is None
    assert "does not answer" in as_table([line])
