"""What one reading of a trade says, kept as one: its amount is never that of another row than its hash.

Limits judge by the amount, and an agent repairs only the row of the hash. Were the two of different readings,
what is repaired would not be what was judged.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agent.answers import ReportedTrade
from agent.facts import Facts, Row
from app.anomalies.models import Anomaly
from app.anomalies.undebited import told_by
from app.columns import fitting

LARGEST: Final = 2**63 - 1
"""What a column of ids or amounts holds."""
HASH_CHARACTERS: Final = 64


def columns_of(trade: ReportedTrade) -> dict[str, Any]:
    """Return what a report says of a trade, by column of its anomaly."""
    return {
        "trade_id": id_of(trade),
        "kind": trade.kind and fitting(trade.kind, 16),
        "bookkeeping": trade.bookkeeping and fitting(trade.bookkeeping, 16),
        "channel": trade.channel and fitting(trade.channel, 32),
        "amount_minor": trade.amount_minor,
        "currency": _currency(trade.currency),
        "row": trade.row,
        "after": trade.after,
        "facts": msgspec.to_builtins(trade.facts),
        "row_hash": fitting(trade.row_hash, HASH_CHARACTERS),
        "row_changed_at": parse_moment(trade.row_changed_at),
    }


def take(anomaly: Anomaly, row: Row | None, row_hash: str, facts: Facts | None, now: datetime) -> None:
    """Keep what the answer to a command has read; what it has not read, None, stays as it is.

    Only facts tell an amount. A row without them is shown, but its hash is not taken: the agent will refuse
    the earlier one, and a Verify reads all of the trade.
    """
    anomaly.last_seen_at = now
    if row is not None:
        anomaly.row = row
    if facts is None:
        return
    anomaly.facts = msgspec.to_builtins(facts)
    anomaly.reason = told_by(anomaly.reason, facts)
    anomaly.kind, anomaly.bookkeeping = facts.kind, facts.bookkeeping
    anomaly.amount_minor = facts.amount_minor if 0 <= facts.amount_minor <= LARGEST else None
    anomaly.currency = _currency(facts.currency)
    # The row may have been read, or written, after the facts: theirs is the one whose amount is known.
    anomaly.row_hash = fitting(facts.row_hash or row_hash, HASH_CHARACTERS) or anomaly.row_hash


def id_of(trade: ReportedTrade) -> int:
    """0 where the id is none that a column holds, as for one that is no number; ``row`` has it as it is."""
    return trade.trade_id if abs(trade.trade_id) <= LARGEST else 0


def parse_moment(text: str | None) -> datetime | None:
    """Read an ISO 8601 time as aware UTC, None where it is missing or no time. Without a zone it is UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _currency(text: str) -> str:
    """Nothing where no column holds it: an amount without its currency is not readable."""
    return fitting(text, 3) if len(text) <= 3 else ""
