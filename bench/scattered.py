"""How the rows of a month are scattered over time, groups and agents."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from app.plans.fixer_codes import KNOWN_FIXERS

GROUPS: Final = 100
AGENTS: Final = 10_000
USERS: Final = 10_000
DAYS: Final = 28
"""Within what retention keeps."""
CODES: Final = tuple(KNOWN_FIXERS)

Rows = Iterator[dict[str, Any]]
"""Columns by name, one row after the other."""


def trade_no(number: int) -> str:
    """Return the trade number of the n-th anomaly, from 1."""
    return f"{'CO' if number % 2 else 'WD'}{number:018d}"


def moment(number: int, count: int, now: datetime) -> datetime:
    """Return the n-th of ``count`` moments of the last DAYS days."""
    return now - timedelta(days=DAYS) * ((count - number) / count)


def group_of(number: int) -> int:
    """Return the id of the n-th row's group."""
    return 1 + number % GROUPS


def agent_of(number: int, count: int) -> int:
    """Return the id of the n-th row's agent, where a list has ``count`` rows."""
    return 1 + number % min(AGENTS, count)
