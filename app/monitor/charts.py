"""Figures as shapes and short words: sparklines as SVG paths, amounts that fit a card."""

from collections.abc import Sequence
from typing import NamedTuple

SPARK_WIDTH = 78
SPARK_HEIGHT = 30


class Spark(NamedTuple):
    """The ``d`` of two SVG paths in a box of SPARK_WIDTH by SPARK_HEIGHT: the line, and the area under it."""

    line: str
    area: str


def spark(values: Sequence[int]) -> Spark | None:
    """Return the sparkline of some values, None where there is nothing to draw."""
    if len(values) < 2 or not any(values):
        return None
    step = SPARK_WIDTH / (len(values) - 1)
    top = max(values)
    points = [
        f"{index * step:.1f} {SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * value / top:.1f}"
        for index, value in enumerate(values)
    ]
    line = "M" + "L".join(points)
    return Spark(line=line, area=f"{line}L{SPARK_WIDTH} {SPARK_HEIGHT}L0 {SPARK_HEIGHT}Z")


def short_amount(minor: int, language: str) -> tuple[str, str]:
    """Return fen as a short figure and its scale (万, 亿; K, M): "231.8", "万"; small amounts are exact."""
    scales = ((10**10, "亿"), (10**6, "万")) if language == "zh" else ((10**8, "M"), (10**5, "K"))
    for size, name in scales:
        if abs(minor) >= size:
            return f"{minor / size:,.1f}", name
    return f"{minor / 100:,.2f}", ""
