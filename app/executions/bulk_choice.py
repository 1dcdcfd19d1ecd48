"""Whether a trade of a bulk repair is still what a person chose: its turn may come days later, and it
may be reported anew meanwhile.
"""

from typing import Final

from app.anomalies.models import Anomaly
from app.executions.bulk_models import BulkItem
from app.guards.limits import Asked

FIXER_CHANGED: Final = "fixer_changed"
AMOUNT_CHANGED: Final = "amount_changed"
"""It rose, is of another currency, or could not be read when the trade was chosen."""
AMOUNT_UNREADABLE: Final = "amount_unreadable"
CHOICE_UNKNOWN: Final = "choice_unknown"
"""Chosen when nothing of it was kept yet: nobody can tell what was agreed to."""
CODES: Final = (FIXER_CHANGED, AMOUNT_CHANGED, AMOUNT_UNREADABLE, CHOICE_UNKNOWN)


def changed_since(item: BulkItem, anomaly: Anomaly) -> str | None:
    """Return the code why the trade is no longer what was chosen, None where it is.

    No limit holds what a person orders, so nothing else stands between them and an amount they never saw. A
    smaller amount is within what they chose; one that nobody could read, then or now, is as it was.
    """
    if not item.fixer_code:
        return CHOICE_UNKNOWN
    if item.fixer_code != anomaly.fixer_code:
        return FIXER_CHANGED
    chosen = chosen_of(item)
    now = Asked(anomaly.id, anomaly.amount_minor, anomaly.currency)
    if not now.is_readable:
        return AMOUNT_UNREADABLE if chosen.is_readable else None
    return None if _is_within(now, chosen) else AMOUNT_CHANGED


def chosen_of(item: BulkItem) -> Asked:
    """Return the amount that stood there when the trade was chosen."""
    return Asked(item.anomaly_id, item.amount_minor, item.currency)


def _is_within(now: Asked, chosen: Asked) -> bool:
    if not chosen.is_readable or now.currency != chosen.currency:
        return False
    return (now.amount_minor or 0) <= (chosen.amount_minor or 0)
