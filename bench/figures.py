"""Figures: what a measurement gives, how they are kept (JSON) and shown (a table)."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number. ``conditions`` says what it was measured on, and what was not as in production."""

    name: str
    value: float
    unit: str
    conditions: str


@dataclass(frozen=True)
class Circumstances:
    """When and on what a measurement ran; ``date`` is ISO 8601.

    ``load`` is the machine's load average of the minute before: anything near ``cores`` says that others were
    at work, and that the figures are worse for it.
    """

    date: str
    python: str
    cores: int
    load: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` of all do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def significant(value: float) -> float:
    """Return the value with three significant digits; whole numbers from a thousand on."""
    if value == 0 or not math.isfinite(value):
        return value
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, min(digits, 6))
    return int(rounded) if abs(rounded) >= 1000 else rounded


def keep(path: Path, measured: str, figures: Sequence[Figure], when: Circumstances) -> None:
    """Put the figures of a measurement into the JSON file, in place of what it gave before."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    rows = [{**asdict(figure), "value": significant(figure.value), **asdict(when)} for figure in figures]
    kept[measured] = rows
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(kept.items())), ensure_ascii=False, indent=1) + "\n")


def as_table(figures: Sequence[Figure]) -> str:
    """Return one line a figure: name, value, unit; conditions once under the figures that share them."""
    width = max(len(figure.name) for figure in figures)
    lines: list[str] = []
    for place, figure in enumerate(figures):
        lines.append(f"  {figure.name:<{width}}  {significant(figure.value):>12,}  {figure.unit}")
        is_last_of_its_kind = place + 1 == len(figures) or figures[place + 1].conditions != figure.conditions
        if is_last_of_its_kind:
            lines.append(f"      {figure.conditions}")
    return "\n".join(lines)
