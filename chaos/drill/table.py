"""What a drill has to tell, as lines for a terminal."""

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos.drill.terms import Terms
from chaos.drill.violations import INVARIANTS, Violation
from chaos.drill.watching import Resumed

LISTED = 10
"""At most so many violations of an invariant are written out."""


@dataclass
class Outcome:
    """A drill that is over. ``states``: how the newest anomaly of each repairable trade stands."""

    terms: Terms
    cycles: int = 0
    idle: int = 0
    waves: int = 0
    trades: int = 0
    seconds: float = 0.0
    settled_in: float = 0.0
    load: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    wire_faults: dict[str, Counter[str]] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    breakers: int = 0
    production: Counter[str] = field(default_factory=Counter)
    payouts: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    resumed: Resumed = field(default_factory=Resumed)
    violations: list[Violation] = field(default_factory=list)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that so many per cent of all do not pass; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def as_table(outcome: Outcome) -> str:
    """Everything, one subject a line; the seed first, so that the drill can be run again."""
    return "\n".join(f"{name:<24}{text}" for name, text in _lines(outcome))


def as_json(outcome: Outcome) -> str:
    """For a script. ``resumed_p99_s``: null where nothing was resumed."""
    terms, steps = outcome.terms, outcome.resumed.steps
    broken = Counter(one.invariant for one in outcome.violations)
    content = {
        "production": terms.engine,
        "isolation": terms.isolation,
        "deduplicates": terms.deduplicates,
        "pool": terms.pool,
        "seed": terms.seed,
        "cycles": outcome.cycles,
        "kills": outcome.kills.total(),
        "trades": dict(outcome.states),
        "payouts": outcome.payouts,
        "production_did": dict(outcome.production),
        "violations": {name: broken[name] for name in INVARIANTS},
        "resumed": len(steps),
        "resumed_p99_s": percentile(steps, 99),
        "load": outcome.load,
    }
    return json.dumps(content, indent=2)


def _lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    terms = outcome.terms
    yield "seed", f"{terms.seed}"
    yield "production", f"{terms.engine}, {terms.isolation}" if terms.engine != "sqlite" else terms.engine
    yield "bank", "pays once a number" if terms.deduplicates else "pays each time it is asked"
    yield "workers of an agent", terms.pool
    yield "cycles", f"{outcome.cycles} in {outcome.seconds:.0f} s ({outcome.idle} met nothing in hand)"
    yield (
        "trades",
        f"{outcome.trades}, broken ones in {outcome.waves} waves; {outcome.payouts} payouts succeeded",
    )
    yield "kills", _counted(outcome.kills)
    yield "production meanwhile", _counted(outcome.production)
    for name, counts in outcome.wire_faults.items():
        yield f"faults, wire to {name}", _counted(counts)
    yield "repairable trades", _counted(outcome.states)
    yield "left to a person", _counted(outcome.reasons)
    yield "breakers tripped", f"{outcome.breakers}, each reset by a person"
    yield "ended after healing", f"{outcome.settled_in:.0f} s"
    yield "memory", ", ".join(f"{name} {size // 2**20} MiB" for name, size in outcome.peaks.items())
    yield "load of the machine", f"{outcome.load:.1f} at the end, on {os.cpu_count()} cores"
    yield from _resumed(outcome.resumed)
    yield from _violations(outcome.violations)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _resumed(resumed: Resumed) -> Iterator[tuple[str, str]]:
    for name, values in (("resumed, next claim", resumed.claims), ("resumed, next step", resumed.steps)):
        middle, high = percentile(values, 50), percentile(values, 99)
        spans = "" if middle is None or high is None else f": p50 {middle:.2f} s, p99 {high:.2f} s"
        yield name, f"{len(values)} after a kill{spans}"
    yield (
        "not resumed so",
        f"bank not finished {resumed.without_step}, other agent went on {resumed.taken_over}, "
        f"killed again before {resumed.cut_short}",
    )


def _violations(violations: Sequence[Violation]) -> Iterator[tuple[str, str]]:
    found: dict[str, list[Violation]] = defaultdict(list)
    for one in violations:
        found[one.invariant].append(one)
    for name, words in INVARIANTS.items():
        yield f"violations of {name}", f"{len(found[name])}  ({words})"
        for one in found[name][:LISTED]:
            yield "", f"  {one.subject}  {one.detail}"
    yield "violations", str(len(violations))
