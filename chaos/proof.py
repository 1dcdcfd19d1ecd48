"""``python -m chaos.proof [PART…]``: every figure the safety document claims, by one command.

Schedules and failpoint cells, mutants, a drill for each production database and isolation, for a bank that
does not de-duplicate and for agents whose workers are processes, two benchmarks:
each a program of its own, which prints what it finds and writes it down. At the end stands one table of what
is to be reached and what was. Exit code 1 when an invariant was violated, a mutant is at large or a part
could not be run; a time that was missed is only told, for it is the machine's as well.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from chaos.drill.databases import ISOLATIONS

Json = Any
"""What a report holds."""

NO_SERVER: Final = 2
"""Exit code of a drill whose database server does not answer."""
LEAST_MUTANTS: Final = 20
RESUMED_S: Final = 5.0
REPAIRS_A_SECOND: Final = 200.0
LEAST_REPAIRED: Final = 0.5
"""Of all trades; people are to have the others, though none of them is violated."""
FLAT: Final = 1.25
"""Of a cost, with most anomalies open against fewest: what measuring itself varies by is no growth."""
COSTS: Final = (
    "server's cost a repair, most to fewest",
    "server's cost a hold, most to fewest",
    "repairs: processor time among many trades",
)
"""Of a server with ever more anomalies open (bench.open_anomalies), and of an agent (bench.repairs)."""
DRILLS: Final = (
    ("sqlite", ISOLATIONS[0]),
    *((engine, isolation) for engine in ("postgresql", "mariadb") for isolation in ISOLATIONS),
)


@dataclass(frozen=True)
class Line:
    """One figure of the table. ``is_met`` None: not measured. ``is_hard``: missed, the whole fails."""

    figure: str
    target: str
    reached: str
    is_met: bool | None
    is_hard: bool = True


@dataclass(frozen=True)
class Part:
    """A program with its arguments. ``lines`` reads its report; ``missing`` stands where it wrote none."""

    name: str
    arguments: tuple[str, ...]
    lines: Callable[[Json], Iterator[Line]]
    option: str = "--report"


# ---- what the reports say


def schedule_lines(report: Json) -> Iterator[Line]:
    """Schedules, cells and failpoints."""
    of_schedules = sum(name.startswith("seed ") for name, _, _ in report["found"])
    of_cells = len(report["found"]) - of_schedules
    faults = sum(report["faults"].values())
    yield _none_of(f"violations in {report['schedules']:,} schedules, {faults:,} faults", of_schedules)
    yield _none_of(f"violations in {report['cells']:,} failpoint cells", of_cells)
    yield _repaired(f"trades repaired, of {sum(report['trades'].values()):,}", report["trades"])
    unreached = ", ".join(report["unreached"]) or "none"
    yield Line(f"failpoints not reached, of {report['failpoints']}", "none", unreached, unreached == "none")


def mutant_lines(report: Json) -> Iterator[Line]:
    """Slips on purpose."""
    caught = report["by_schedules"]
    yield Line(
        "mutants caught by schedules and cells", f"≥ {LEAST_MUTANTS}", f"{caught}", caught >= LEAST_MUTANTS
    )
    others = f"{report['by_tests']} caught by tests, {report['explained']} explained"
    at_large = ", ".join(report["at_large"]) or "none"
    yield Line(f"mutants at large, of {report['mutants']} ({others})", "none", at_large, at_large == "none")


def drill_lines(report: Json) -> Iterator[Line]:
    """Real processes, killed over one production database."""
    engine = report["production"]
    at = engine if engine == "sqlite" else f"{engine}, {report['isolation']}"
    at += "" if report["deduplicates"] else ", bank without de-duplication"
    at += ", workers as processes" if report["pool"] == "processes" else ""
    broken = sum(report["violations"].values())
    yield _none_of(f"{at}: violations in {report['cycles']} cycles, {report['kills']} kills", broken)
    share = _repaired(f"{at}: trades repaired, of {sum(report['trades'].values())}", report["trades"])
    yield replace(share, is_hard=False)  # what its kills cost, the machine decides, too
    p99 = report["resumed_p99_s"]
    reached = "nothing to resume" if p99 is None else f"{p99:.2f} s, of {report['resumed']}"
    is_met = None if p99 is None else p99 < RESUMED_S
    yield Line(f"{at}: resumed after kill, p99", f"< {RESUMED_S:g} s", reached, is_met, is_hard=False)


def bench_lines(report: Json) -> Iterator[Line]:
    """Repairs a second, and what one costs with ever more anomalies open."""
    figures = {one["name"]: one["value"] for part in report.values() for one in part}
    target = f"≥ {REPAIRS_A_SECOND:g} a second"
    yield _measured(
        "repairs of one agent", target, figures.get("repairs"), lambda rate: rate >= REPAIRS_A_SECOND
    )
    for name in COSTS:
        target = f"flat: ≤ {FLAT:g} ×"
        yield _measured(name, target, figures.get(name), lambda growth: growth <= FLAT, " ×")


def _measured(
    figure: str, target: str, value: float | None, is_met: Callable[[float], bool], unit: str = ""
) -> Line:
    """What a benchmark measured, which the machine decides, too; that it did not is no matter of time."""
    if value is None:
        return Line(figure, target, "not measured", False)
    return Line(figure, target, f"{value:g}{unit}", is_met(value), is_hard=False)


def _none_of(figure: str, count: int) -> Line:
    return Line(figure, "0", str(count), count == 0)


def _repaired(figure: str, states: Mapping[str, int]) -> Line:
    """Nothing goes wrong either where everything is left to people: the share that was not."""
    whole = sum(states.get(state, 0) for state in ("repaired", "healed"))
    share = whole / max(1, sum(states.values()))
    return Line(figure, f"> {LEAST_REPAIRED:.0%}", f"{share:.0%}", share > LEAST_REPAIRED)


# ---- the parts


def all_parts(schedules: int, seed: int, cycles: int, *, quick: bool) -> tuple[Part, ...]:
    """Every part, in the order in which they are run."""
    return (
        Part(
            "schedules",
            ("chaos", "--schedules", str(schedules), "--seed", str(seed), "--cells"),
            schedule_lines,
        ),
        Part("mutants", ("chaos.mutating",), mutant_lines),
        *(_drill(engine, isolation, seed, cycles) for engine, isolation in DRILLS),
        _drill(*DRILLS[0], seed, cycles, "--no-dedup"),
        _drill(*DRILLS[0], seed, cycles, "--pool", "processes"),
        Part(
            "bench",
            ("bench", *(("--quick",) if quick else ()), "repairs", "open anomalies"),
            bench_lines,
            option="--output",
        ),
    )


def _drill(engine: str, isolation: str, seed: int, cycles: int, *manner: str) -> Part:
    over = ("--production", engine, "--isolation", isolation, *manner)
    course = ("--cycles", str(cycles), "--seed", str(seed), "--quiet")
    return Part("drill", ("chaos.drill", *over, *course), drill_lines)


def run_part(part: Part, report: Path) -> list[Line]:
    """Run a part to its end, on this terminal, and read what it wrote down."""
    words = " ".join(part.arguments)
    click.echo(f"\n== {words}")
    done = subprocess.run([sys.executable, "-m", *part.arguments, part.option, str(report)], check=False)
    if report.exists():
        return list(part.lines(json.loads(report.read_text())))
    if part.name == "drill" and done.returncode == NO_SERVER:
        return [Line(words, "0 violations", "not run: its server does not answer", None)]
    return [Line(words, "a report", f"exit code {done.returncode}", False)]


def as_table(lines: Sequence[Line]) -> str:
    """One line a figure: met or not, target, reached."""
    marks = {True: "reached", False: "MISSED", None: "—"}
    width = max(len(line.figure) for line in lines)
    aim = max(len(line.target) for line in lines)
    return "\n".join(
        f"{marks[line.is_met]:8s} {line.figure:{width}s}  {line.target:{aim}s}  {line.reached}"
        for line in lines
    )


@click.command()
@click.option("--schedules", "-n", default=10_000, show_default=True, help="Seeds to run.")
@click.option("--seed", "-s", default=1, show_default=True, help="The first seed, and that of the drills.")
@click.option("--cycles", default=100, show_default=True, help="Of each drill.")
@click.option("--quick", is_flag=True, help="Measure a tenth of everything in the benchmarks.")
@click.argument("names", nargs=-1, type=click.Choice(("schedules", "mutants", "drill", "bench")))
def main(schedules: int, seed: int, cycles: int, quick: bool, names: tuple[str, ...]) -> None:
    """Run every part, or those of NAMES: all of it takes some hours on two cores."""
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="piculus-proof-") as folder:
        for number, part in enumerate(all_parts(schedules, seed, cycles, quick=quick)):
            if not names or part.name in names:
                lines += run_part(part, Path(folder) / f"{number}.json")
    click.echo(f"\n{as_table(lines)}")
    sys.exit(1 if any(line.is_hard and line.is_met is False for line in lines) else 0)


if __name__ == "__main__":
    main(prog_name="python -m chaos.proof")
