"""Whether production may have been at work on a trade as its repair began, by the row written over."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

PROCESSING: Final = 0
SLACK: Final = timedelta(seconds=1)
"""What clocks of different precision may differ by."""


def was_in_flight(
    old_row: Mapping[str, Any], began_at: datetime, *, quiet_for: timedelta, stuck_after: timedelta
) -> bool:
    """Whether the row had changed less than ``quiet_for`` before, or was processing and younger than
    ``stuck_after``. What changed later than the repair began tells nothing of it.
    """
    since = [(old_row["UPDATED_AT"], quiet_for)]
    if old_row["TRD_STATUS"] == PROCESSING:
        since.append((old_row["CREATED_AT"], stuck_after))
    ages = ((began_at - datetime.fromisoformat(at), least) for at, least in since)
    return any(timedelta(0) <= age < least - SLACK for age, least in ages)
