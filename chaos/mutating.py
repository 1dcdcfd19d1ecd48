"""``python -m chaos.mutating``: break the protocol on purpose, one slip at a time, and have chaos catch each.

Exit code 1 when a mutant is neither caught nor said to survive, is caught though it is said to survive, or no
longer applies.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import click

from chaos.mutant import Mutant, MutantError, all_mutants, broken_checkout

SECONDS: Final = 900.0
"""A schedule that goes on for so long counts as caught: it never ends."""
WIDTH: Final = 36
CELLS: Final = (
    "S2 bank.pay.after kill",
    "S7a bank.pay.after hang",
    "S3 production.step.after hang",
    "S1 ledger.post.after raise",
    "S1 agent.journal.finish.before raise",
    "S1 server.work.commit kill",
)
"""Run before the seeds where a mutant's own hints are not enough."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: caught by a trial or test, ``invariant`` broken; '' where nothing caught it.

    ``tried``: schedules and cells run. ``is_well``: it is caught, said to survive, or not to be run here.
    """

    mutant: Mutant
    caught_by: str
    invariant: str
    tried: int
    is_well: bool
    note: str = ""


def judge(mutant: Mutant, schedules: int, *, with_schedules: bool = False) -> Verdict:
    """Break a copy of the checkout and look what catches it. Raises MutantError.

    ``with_schedules``: where a test would, cells and seeds are tried first.
    """
    with broken_checkout(mutant) as checkout:
        if mutant.test and not (mutant.trials or with_schedules):
            return _judge_by_test(mutant, checkout)
        verdict = _judge_by_trials(mutant, checkout, schedules)
        return _judge_by_test(mutant, checkout) if mutant.test and not verdict.caught_by else verdict


def _judge_by_trials(mutant: Mutant, checkout: Path, schedules: int) -> Verdict:
    """Try its own hints, then cells and seeds. Raises MutantError."""
    others = (*(f"cell {cell}" for cell in CELLS), *(f"seed {seed}" for seed in range(schedules)))
    trials = (*mutant.trials, *(one for one in others if one not in mutant.trials))
    caught_by, invariant, text, tried = _try(checkout, trials)
    if mutant.survives and not mutant.test:
        note = "said to survive, but caught" if caught_by else mutant.survives
        return Verdict(mutant, caught_by, invariant, tried, not caught_by, note)
    return Verdict(mutant, caught_by, invariant, tried, bool(caught_by), text)


def _try(checkout: Path, trials: tuple[str, ...]) -> tuple[str, str, str, int]:
    """Run the trials in the broken checkout: what caught it, the invariant, how, and how many ran.

    Raises MutantError where they do not even start: that catches nothing.
    """
    try:
        done = _python(checkout, "-m", "chaos.trying", "--", *trials)
    except subprocess.TimeoutExpired:
        return "time", "I8", f"not at an end after {SECONDS:.0f} s", len(trials)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise MutantError(f"chaos does not start in it: {done.stderr.strip().rpartition(chr(10))[2]}")
    catch = json.loads(done.stdout.splitlines()[-1])
    return catch["by"], catch["invariant"], catch["text"], catch["tried"]


def _judge_by_test(mutant: Mutant, checkout: Path) -> Verdict:
    """A test catches a mutant that passes without it. Raises MutantError where it does not."""
    arguments = ("-m", "pytest", *mutant.test.split())
    with broken_checkout(None) as whole:
        sound = _python(whole, *arguments)
    if sound.returncode:
        raise MutantError(f"its test fails without it: {sound.stdout.strip().rpartition(chr(10))[2]}")
    if " passed" not in sound.stdout:
        return Verdict(mutant, "", "", 0, True, "not run: the database server does not answer")
    done = _python(checkout, *arguments)
    if done.returncode == 1:
        return Verdict(mutant, mutant.test, " ".join(mutant.violates), 1, True)
    return Verdict(mutant, "", "", 1, False, done.stdout.strip().rpartition("\n")[2])


def _python(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def text_of(verdict: Verdict) -> str:
    """A mutant's lines of the table: what it is and breaks, what became of it."""
    mutant = verdict.mutant
    if verdict.caught_by:
        became = f"{verdict.invariant} by {verdict.caught_by}"
    else:
        became = "survives" if verdict.is_well else "AT LARGE"
    lines = [f"{mutant.name:{WIDTH}s} {verdict.tried:4d}  {became}", f"    {mutant.breaks}"]
    return "\n".join([*lines, f"    → {verdict.note}"] if verdict.note else lines)


@dataclass
class Sum:
    """Verdicts, counted: of all mutants, what schedules and cells caught, and what tests did."""

    mutants: int = 0
    by_schedules: int = 0
    by_tests: int = 0
    explained: int = 0
    at_large: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Count one in."""
        self.mutants += 1
        is_by_test = verdict.caught_by == verdict.mutant.test
        self.by_schedules += bool(verdict.caught_by) and not is_by_test
        self.by_tests += bool(verdict.caught_by) and is_by_test
        self.explained += verdict.is_well and not verdict.caught_by
        if not verdict.is_well:
            self.at_large.append(verdict.mutant.name)

    def as_text(self) -> str:
        """For a terminal."""
        return (
            f"{self.mutants} mutants: {self.by_schedules} caught by schedules and cells, "
            f"{self.by_tests} by tests, {self.explained} explained, {len(self.at_large)} at large"
        )


@click.command()
@click.option("--schedules", "-n", default=100, show_default=True, help="Seeds to try at most.")
@click.option("--with-schedules", is_flag=True, help="Try cells and seeds before a test, too.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what became of them as JSON, too.")
@click.argument("names", nargs=-1)
def main(schedules: int, with_schedules: bool, report: Path | None, names: tuple[str, ...]) -> None:
    """Break the checkout by each mutant whose name contains one of NAMES; without any, by all."""
    wanted = [one for one in all_mutants() if not names or any(name in one.name for name in names)]
    counted = Sum()
    click.echo(f"{'mutant':{WIDTH}s}  ran  what became of it")
    for mutant in wanted:
        try:
            verdict = judge(mutant, schedules, with_schedules=with_schedules)
        except MutantError as error:
            verdict = Verdict(mutant, "", "", 0, False, str(error))
        click.echo(text_of(verdict))
        counted.add(verdict)
    click.echo(counted.as_text())
    if report is not None:
        report.write_text(json.dumps(asdict(counted), indent=2) + "\n")
    sys.exit(0 if wanted and not counted.at_large else 1)


if __name__ == "__main__":
    main(prog_name="python -m chaos.mutating")
