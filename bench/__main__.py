"""``python -m bench [NAME…]``: measure, print a table, keep the figures in bench/results/latest.json."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from bench import collection, commands, frames, open_anomalies, pages, push, repairs, reports, writing
from bench.figures import Circumstances, Figure, as_table, keep
from bench.server import BenchError
from bench.sizes import FULL, QUICK, Sizes

Measurement = Callable[[Path, Sizes], list[Figure]]

MEASUREMENTS: Final[dict[str, Measurement]] = {
    "frames": frames.measure,
    "writing": writing.measure,
    "commands": commands.measure,
    "repairs": repairs.measure,
    "open anomalies": open_anomalies.measure,
    "push": push.measure,
    "collection": collection.measure,
    "report": reports.measure,
    "pages": pages.measure,
}
RESULTS: Final = Path(__file__).resolve().parent / "results" / "latest.json"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(MEASUREMENTS)))
@click.option(
    "--quick", is_flag=True, help="A tenth of everything; keeps no figures unless --output says so."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Keep the figures there.  [default: bench/results/{RESULTS.name}]",
)
def main(names: Sequence[str], quick: bool, output: Path | None) -> None:
    """Measure what NAMES say (all without a name), each in a temporary directory, on loopback only."""
    output = output or (None if quick else RESULTS)
    load = os.getloadavg()[0]  # before we are the load ourselves
    sizes = QUICK if quick else FULL
    failed = [name for name in names or MEASUREMENTS if not _run(name, sizes, output, load)]
    if output is not None:
        click.echo(f"\nKept in {output}.")
    sys.exit(1 if failed else 0)


def _run(name: str, sizes: Sizes, output: Path | None, load: float) -> bool:
    """Make one measurement and show it; return whether it could be made."""
    when = Circumstances(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        cores=os.cpu_count() or 1,
        load=round(load, 1),
    )
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="piculus-bench-") as folder:
            figures = MEASUREMENTS[name](Path(folder), sizes)
    except BenchError as error:
        click.echo(f"\n{name}: not measured: {error}", err=True)
        return False
    click.echo(f"\n{name} ({time.monotonic() - began:.0f} s)\n{as_table(figures)}")
    if output is not None:
        keep(output, name, figures, when)
    return True


if __name__ == "__main__":
    main(prog_name="python -m bench")
