"""``python -m chaos``: run fault schedules and say what broke; exit code 1 when anything did."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from chaos.running import Tally, Task, all_moments, run_all, run_traced
from chaos.simulation.cells import every_cell

HASH_SEED: Final = "PYTHONHASHSEED"
TOLD_EVERY: Final = 250


@click.command()
@click.option("--schedules", "-n", default=200, show_default=True, help="How many seeds to run.")
@click.option("--seed", "-s", default=0, show_default=True, help="The first seed.")
@click.option("--jobs", "-j", default=os.cpu_count() or 1, show_default=True, help="In so many processes.")
@click.option("--cells", is_flag=True, help="Then fail every failpoint in every case in every mode.")
@click.option("--moments", is_flag=True, help="Then fail every moment of each case's repair in every mode.")
@click.option("--stop-at-first", is_flag=True, help="End at the first violation: for mutants.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the result as JSON, too.")
def main(
    schedules: int,
    seed: int,
    jobs: int,
    cells: bool,
    moments: bool,
    stop_at_first: bool,
    report: Path | None,
) -> None:
    """Run deterministic fault schedules over the real server and agent.

    One seed is one schedule. A single one (-n 1) is told step by step.
    """
    logging.disable(logging.CRITICAL)
    if schedules == 1 and not (cells or moments):
        tally = run_traced(seed)
    else:
        tasks: list[Task] = [*range(seed, seed + schedules), *(every_cell() if cells else ())]
        tasks += all_moments() if moments else []
        tally = _run(tasks, max(1, jobs), stop_at_first=stop_at_first)
    click.echo(tally.as_text())
    if report is not None:
        report.write_text(tally.as_json() + "\n")
    sys.exit(1 if tally.violations else 0)


def _run(tasks: Sequence[Task], jobs: int, *, stop_at_first: bool) -> Tally:
    """Run them all beside a bar that says how far it is: many take hours. Interrupted, say what was run.

    A violation is told at once. Where nobody sees a bar, a line says it now and then.
    """
    is_seen = sys.stderr.isatty()
    told = 0
    with click.progressbar(length=len(tasks), label="schedules", file=sys.stderr, width=0) as bar:

        def show(tally: Tally) -> None:
            nonlocal told
            for name, invariant, text in tally.violations[told:]:
                click.echo(f"\r{name}  {invariant}  {text}", err=True)
            told = len(tally.violations)
            if not is_seen and tally.over % TOLD_EVERY == 0:
                click.echo(f"{tally.over:,} of {len(tasks):,}, violations {len(tally.violations)}", err=True)
            bar.label = f"{len(tally.violations)} violations" if tally.violations else "schedules"
            bar.update(1)

        tally = run_all(tasks, jobs, stop_at_first=stop_at_first, on_outcome=show)
    if tally.over < len(tasks) and not stop_at_first:
        click.echo(f"{tally.as_text()}\ninterrupted after {tally.over:,} of {len(tasks):,}")
        sys.exit(1)
    return tally


def _with_fixed_hashes() -> None:
    """Begin again where Python draws its hashes of text anew at each start: a seed is to be one schedule."""
    if os.environ.get(HASH_SEED) != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "chaos", *sys.argv[1:]], {**os.environ, HASH_SEED: "0"}
        )


if __name__ == "__main__":
    _with_fixed_hashes()
    main(prog_name="python -m chaos")
