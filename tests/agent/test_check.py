"""``agent check`` on clocks: a failed payout is judged by the bank's beside production's."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.check import compare_clocks
from agent.errors import PortError

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def told(bank: datetime | None) -> str:
    return compare_clocks(lambda: NOW, lambda: bank)


@pytest.mark.parametrize("apart", [-300, -2, 0, 2, 300])
def test_clocks_that_go_together_are_well(apart: int) -> None:
    assert told(NOW + timedelta(seconds=apart)) == f"the bank's is {apart:+d} s from production's"


@pytest.mark.parametrize("apart", [-301, 301, 28_800])
def test_clocks_too_far_apart_are_told(apart: int) -> None:
    with pytest.raises(
        PortError, match=f"{apart:+d} s from production's, more than 300 s".replace("+", r"\+")
    ):
        told(NOW + timedelta(seconds=apart))


def test_a_bank_that_dates_nothing_is_told_and_well() -> None:
    assert "does not date its answers" in told(None)
