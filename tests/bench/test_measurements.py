"""Every measurement, at a size that takes a moment: its figures are there. How large they are is no test."""

from pathlib import Path

import pytest

from bench.__main__ import MEASUREMENTS
from bench.sizes import TINY

EXPECTED = {
    "frames": {"frames logged"},
    "writing": {
        "frames written in batches",
        "frames written one by one",
        "batches against one by one",
    },
    "commands": {
        "broadcast to its last report",
        "Verify claimed to recorded",
        "Repair claimed to recorded",
    },
    "repairs": {
        "repairs",
        "repairs' processor time",
        "repairs, threads: 1",
        "repairs, processes: 2",
        "repairs: journal",
        "repairs: safety's share",
        "repairs: time among many trades",
    },
    "open anomalies": {
        "server's cost a repair, 5 open",
        "server's cost a hold, 30 open",
        "server's cost a repair, most to fewest",
        "server's cost a hold, most to fewest",
    },
    "push": {"push round trip p50", "push round trip p99"},
    "collection": {"collection", "collection's peak memory"},
    "report": {"report", "report's memory"},
    "pages": {
        f"{page} {percent}"
        for page in ("home", "anomalies", "executions", "frames", "collections", "audit")
        for percent in ("p50", "p95")
    },
}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_measurement_gives_its_figures(name: str, tmp_path: Path) -> None:
    figures = {figure.name: figure for figure in MEASUREMENTS[name](tmp_path, TINY)}
    assert figures.keys() >= EXPECTED[name]
    assert all(figure.value >= 0 and figure.unit and figure.conditions for figure in figures.values())
