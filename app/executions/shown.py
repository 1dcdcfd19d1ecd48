"""What a form showed of a trade: what a person decides on it is done on that, never on what came unseen.

A form lies open for minutes, and meanwhile the trade is read anew. It carries a digest of what it shows.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from agent import unpaid
from app.anomalies.models import Anomaly
from app.errors import ConflictError
from app.executions.order_guard import facts_of

FIELD: Final = "seen"
"""The form's field that carries the digest back."""


def digest_of(anomaly: Anomaly, *further: bool) -> str:
    """Return SHA-256 over what a form stands on, the same for the same facts however often they are read.

    ``further``: what the form says besides of what will be done, such as that a second person is asked.
    """
    facts = facts_of(anomaly)
    where = (anomaly.id, anomaly.state, anomaly.reason, anomaly.fixer_code, anomaly.has_moved_money)
    # An attempt that failed may leave all the rest as it was.
    tried = anomaly.attempts
    money = (anomaly.amount_minor, anomaly.currency)
    read = (anomaly.row_hash, None if facts is None else unpaid.digest_of(facts))
    return hashlib.sha256(msgspec.json.encode((where, tried, money, read, further))).hexdigest()


def carried(values: Iterable[str]) -> dict[str, str]:
    """Return what a form carries of several things, by the name of each: its values are ``name:what``."""
    pairs = (value.rpartition(":") for value in values)
    return {name: what for name, mark, what in pairs if mark}


def named(figures: Mapping[str, int] | Mapping[str, str]) -> list[str]:
    """Return things as the values of FIELD by which a form carries them, ``name:what``."""
    return [f"{name}:{what}" for name, what in figures.items()]


def carried_of(values: Iterable[str], anomaly_ids: Iterable[int]) -> dict[int, str]:
    """Return the digests that a form of many carries, by anomaly id, of those it says so of."""
    by_name = carried(values)
    return {one: by_name[str(one)] for one in anomaly_ids if str(one) in by_name}


def has_grown(seen: Mapping[str, str], figures: Mapping[str, int]) -> bool:
    """Return whether a figure is greater than the form showed it; ``seen``: those it carries, as they came.

    What the form does not say it has not shown.
    """
    return any(value > figure_of(seen, name) for name, value in figures.items())


def figure_of(seen: Mapping[str, str], name: str) -> int:
    """Return a figure that a form carries, 0 for what is none."""
    try:
        return int(seen.get(name, ""))
    except ValueError:
        return 0


def require_same(seen: str | None, anomaly: Anomaly, *further: bool) -> None:
    """Raise ConflictError('seen_changed') where a form showed anything else, or does not say what it showed.

    ``seen`` None: nobody decided by a form.
    """
    if seen is not None and seen != digest_of(anomaly, *further):
        raise ConflictError("seen_changed", trade_no=anomaly.trade_no)
