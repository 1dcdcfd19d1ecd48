"""What the form of 继续 showed of a bulk repair: it goes on as a person has seen it stand still.

A form lies open while another person goes on with it, and it pauses anew for what nobody has read yet; while
what is under way fails; while limits are lowered and breakers trip.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from app.errors import ConflictError
from app.executions import beyond_shown, shown
from app.executions.bulk_models import BulkRepair
from app.guards.clicks import Beyond

CHANGED: Final = "bulk_changed"
PAUSE: Final = "pause"


def carried_by_form(bulk: BulkRepair, passed: Iterable[Beyond]) -> list[str]:
    """Return what the form carries: the pause it shows, how many have failed, and what going on passes."""
    figures = {**_figures(bulk), **beyond_shown.figures_of_many(passed)}
    return [*shown.named({PAUSE: _digest_of_pause(bulk)}), *shown.named(figures)]


def require_shown(bulk: BulkRepair, seen: Mapping[str, str], passed: Iterable[Beyond]) -> None:
    """Raise ConflictError where the form showed another pause or fewer failures (bulk_changed), or where more
    is gone beyond than it showed (beyond_grew). ``seen``: what it carries (shown.carried).
    """
    if seen.get(PAUSE) != _digest_of_pause(bulk) or shown.has_grown(seen, _figures(bulk)):
        raise ConflictError(CHANGED)
    beyond_shown.require_no_more(seen, beyond_shown.figures_of_many(passed))


def _digest_of_pause(bulk: BulkRepair) -> str:
    """Return SHA-256 over which pause it is; the moment is that of the change of state."""
    why = (bulk.pause_code, bulk.pause_detail, bulk.pause_trade_no)
    return hashlib.sha256(msgspec.json.encode((bulk.state, bulk.changed_at, why))).hexdigest()


def _figures(bulk: BulkRepair) -> dict[str, int]:
    return {"failed": bulk.failed}
