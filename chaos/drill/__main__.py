"""``python -m chaos.drill``: kill agents, server and bank at random over bad wires, then count what broke.

Exit codes: 0 nothing broke, 1 an invariant was violated, 2 the drill could not be made.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import click

from bench.server import BenchError
from chaos.drill.databases import ENGINES, ISOLATIONS, NoServerError
from chaos.drill.running import run_drill
from chaos.drill.table import as_json, as_table
from chaos.drill.terms import POOLS, Terms


@click.command()
@click.option("--cycles", type=click.IntRange(min=1), default=200, show_default=True)
@click.option(
    "--seed", type=int, default=None, help="Who is killed when, and what wires do.  [default: drawn]"
)
@click.option("--production", "engine", type=click.Choice(ENGINES), default="sqlite", show_default=True)
@click.option(
    "--isolation",
    type=click.Choice(ISOLATIONS, case_sensitive=False),
    default=ISOLATIONS[0],
    show_default=True,
    help="Of the agents' transactions; SQLite has but one.",
)
@click.option(
    "--dedup/--no-dedup",
    "deduplicates",
    default=True,
    show_default=True,
    help="Whether the bank pays once a request number, or each time it is asked.",
)
@click.option(
    "--pool",
    type=click.Choice(POOLS),
    default=POOLS[0],
    show_default=True,
    help="What the workers of an agent are; processes are killed one by one, too.",
)
@click.option(
    "--wave", type=click.IntRange(min=1), default=72, show_default=True, help="Broken trades at once."
)
@click.option("--patience", type=float, default=300.0, show_default=True, help="Seconds for the end (I8).")
@click.option("--keep", is_flag=True, help="Keep the folder with databases and logs, whatever comes out.")
@click.option("--quiet", is_flag=True, help="Print the table alone.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the result as JSON, too.")
def main(
    cycles: int,
    seed: int | None,
    engine: str,
    isolation: str,
    deduplicates: bool,
    pool: str,
    wave: int,
    patience: float,
    keep: bool,
    quiet: bool,
    report: Path | None,
) -> None:
    """Kill agents, server and bank at random, over bad wires to a bad bank, on loopback and in a folder of
    its own; then heal everything and hold books, rows and journals against the invariants.
    """
    _end_in_order_on_sigterm()
    drawn = random.SystemRandom().randrange(10**6) if seed is None else seed
    terms = Terms(
        cycles,
        drawn,
        engine,
        isolation,
        wave=wave,
        patience_s=patience,
        deduplicates=deduplicates,
        pool=pool,
    )
    folder = Path(tempfile.mkdtemp(prefix="piculus-drill-"))
    is_clean = False
    try:
        outcome = run_drill(terms, folder, (lambda _words: None) if quiet else _tell)
        is_clean = not outcome.violations
        click.echo(as_table(outcome))
        if report is not None:
            report.write_text(as_json(outcome) + "\n")
    except (BenchError, NoServerError) as error:
        click.echo(f"not made: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        is_clean = True
        click.echo(f"stopped; the seed was {drawn}", err=True)
        sys.exit(130)
    finally:
        if is_clean and not keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            click.echo(f"databases and logs are in {folder}", err=True)
    sys.exit(0 if is_clean else 1)


def _tell(words: str) -> None:
    click.echo(words, err=True)


def _end_in_order_on_sigterm() -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")


if __name__ == "__main__":
    main(prog_name="python -m chaos.drill")
