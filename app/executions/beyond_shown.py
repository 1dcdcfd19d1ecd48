"""What the form of a repair showed it to go beyond: a click passes no limit and no breaker unseen.

Limits are lowered, and breakers trip, while a form lies open: who has read neither has not decided to go
beyond them. Less than the form showed is fine.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from app.errors import ConflictError
from app.executions import shown
from app.guards.clicks import Beyond

GREW: Final = "beyond_grew"


def figures_of_one(found: Beyond) -> dict[str, int]:
    """Return what the form of one trade names: the limit that it passes, what has tripped."""
    return dict.fromkeys(found.limits, 1) | _tripped(found)


def figures_of_many(found: Iterable[Beyond]) -> dict[str, int]:
    """Return what the form of many names: how many pass a limit, what has tripped."""
    figures = {"held": 0}
    for one in found:
        figures["held"] += len(one.holds)
        figures |= _tripped(one)
    return figures


def require_no_more(seen: Mapping[str, str] | None, figures: Mapping[str, int]) -> None:
    """Raise ConflictError('beyond_grew') where more is gone beyond than the form showed.

    ``seen``: what it carries (shown.carried), None where nobody decided by a form.
    """
    if seen is not None and shown.has_grown(seen, figures):
        raise ConflictError(GREW)


def _tripped(found: Beyond) -> dict[str, int]:
    return {f"breaker-{one.id}": 1 for one in found.breakers}
