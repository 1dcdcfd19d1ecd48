"""Figures: how they are reckoned, kept and shown."""

import json
from pathlib import Path

import pytest

from bench.figures import Circumstances, Figure, as_table, keep, percentile, significant

WHEN = Circumstances("2026-03-02T12:00:00+00:00", "3.11.0", 2, 0.1)


def test_a_percentile_is_one_of_the_values() -> None:
    assert [percentile(range(1, 101), percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([3.5], 50) == 3.5


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError):
        percentile([], 50)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, 0), (0.012345, 0.0123), (12.345, 12.3), (123_456.7, 123_000), (999.6, 1000)]
)
def test_three_digits_say_enough(value: float, shown: float) -> None:
    assert significant(value) == shown


def test_a_measurement_replaces_its_own_figures_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    keep(path, "pages", [Figure("home p50", 12.0, "ms", "old")], WHEN)
    keep(path, "frames", [Figure("frames logged", 9_000.0, "frames/s", "here")], WHEN)
    keep(path, "pages", [Figure("home p50", 11.0, "ms", "new")], WHEN)
    kept = json.loads(path.read_text())
    assert [(row["name"], row["value"], row["conditions"]) for row in kept["pages"]] == [
        ("home p50", 11.0, "new")
    ]
    assert kept["frames"] == [
        {
            "name": "frames logged",
            "value": 9000,
            "unit": "frames/s",
            "conditions": "here",
            "date": "2026-03-02T12:00:00+00:00",
            "python": "3.11.0",
            "cores": 2,
            "load": 0.1,
        }
    ]


def test_the_table_tells_conditions_once() -> None:
    table = as_table([Figure("a p50", 1.0, "ms", "alone"), Figure("a p95", 2.0, "ms", "alone")])
    assert table.count("alone") == 1
    assert table.index("a p95") < table.index("alone")
