"""The failpoints themselves."""

import subprocess
import sys

import pytest

from agent import failpoints
from agent.failpoints import Failpoint, Span, around
from chaos.simulation import schedule as _all_of_agent_and_server  # noqa: F401 - declares every point
from chaos.simulation.cells import CASES, is_on_the_way


def test_each_point_lies_on_the_way_of_some_case() -> None:
    on_a_way = {
        point for point in failpoints.declared() for case_id in CASES if is_on_the_way(case_id, point)
    }
    assert on_a_way == set(failpoints.declared())
    assert len(on_a_way) > 60


def test_a_name_stands_for_one_point() -> None:
    Failpoint("test.twice")
    try:
        with pytest.raises(ValueError, match=r"test\.twice"):
            Failpoint("test.twice")
    finally:
        failpoints._declared.discard("test.twice")


def test_points_are_silent_until_they_are_armed() -> None:
    heard: list[str] = []
    span = Span("test.span")
    try:
        span.before()
        with failpoints.armed(heard.append):
            span.before()
            span.commit()
            span.after()
        span.after()
    finally:
        failpoints._declared.difference_update({"test.span.before", "test.span.commit", "test.span.after"})
    assert heard == ["test.span.before", "test.span.commit", "test.span.after"]


def test_a_call_that_raises_does_not_reach_the_point_behind_it() -> None:
    heard: list[str] = []

    @around("test.call")
    def call() -> None:
        raise LookupError

    try:
        with failpoints.armed(heard.append), pytest.raises(LookupError):
            call()
    finally:
        failpoints._declared.difference_update({"test.call.before", "test.call.after"})
    assert heard == ["test.call.before"]


def test_an_agent_alone_has_no_point_armed() -> None:
    """Nothing but chaos and tests sets the hook: importing the whole agent leaves it unset."""
    code = "import agent.__main__, agent.failpoints as f; print(f._hook, len(f.declared()) > 40)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["None", "True"]
