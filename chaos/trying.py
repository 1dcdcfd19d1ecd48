"""``python -m chaos.trying``: run single schedules and cells until one is violated, and say which, as JSON.

Run in a checkout that is broken on purpose (chaos.mutating): a schedule that breaks off is violated, too.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click

from chaos.running import try_one, workshop
from chaos.simulation.cells import MOMENT, PAYS_TWICE, UNREACHED, Cell
from chaos.simulation.workshop import Workshop


@dataclass(frozen=True)
class Catch:
    """What came of trying. ``by``: the seed or cell that was violated, or ''; ``tried``: how many ran."""

    by: str
    invariant: str
    text: str
    tried: int


def cell_of(words: str) -> Cell:
    """Read a cell as a patch writes it. Raises ValueError.

    Case, point, mode and perhaps the occurrence, or a moment as a report names it; behind either, that the
    bank pays twice.
    """
    deduplicates = PAYS_TWICE not in words
    case_id, *rest = words.replace(PAYS_TWICE, "").split()
    if rest[0] == MOMENT:
        _, number, mode = rest
        return Cell(case_id, "", mode, int(number), is_in_repair=True, deduplicates=deduplicates)
    point, mode, *occurrence = rest
    times = int(occurrence[0]) if occurrence else 1
    return Cell(case_id, point, mode, times, deduplicates=deduplicates)


def try_all(trials: Sequence[str], seconds: float = float("inf")) -> Catch:
    """Run trials, ``seed 7`` or ``cell S1 ledger.post.after kill``, until one is violated or time is over."""
    until = time.perf_counter() + seconds
    tried = 0
    with workshop() as place:
        for trial in trials:
            if time.perf_counter() > until:
                break
            tried += 1
            for invariant, text in violations_of(place, trial):
                return Catch(trial, invariant, text, tried)
    return Catch("", "", "", tried)


def violations_of(place: Workshop, trial: str) -> list[tuple[str, str]]:
    """Run one trial and return what it breaks. Raises ValueError.

    That a point is passed no more breaks nothing by itself.
    """
    kind, _, words = trial.partition(" ")
    outcome = try_one(place, int(words) if kind == "seed" else cell_of(words))
    return [found for found in outcome.violations if found[0] != UNREACHED]


@click.command()
@click.option("--seconds", default=float("inf"), help="Begin no further trial after so long.")
@click.argument("trials", nargs=-1, required=True)
def main(seconds: float, trials: tuple[str, ...]) -> None:
    """Run TRIALS in turn; exit code 1 when one was violated."""
    logging.disable(logging.CRITICAL)
    catch = try_all(trials, seconds)
    click.echo(json.dumps(asdict(catch)))
    sys.exit(1 if catch.by else 0)


if __name__ == "__main__":
    main(prog_name="python -m chaos.trying")
