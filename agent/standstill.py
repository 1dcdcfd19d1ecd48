"""How long an agent may stand still before what it begins, by the clock of the database that takes it.

A paused machine's own clocks stand still with it, so that it notices nothing; a database's go on.
"""

from datetime import datetime, timedelta
from typing import Final

from agent.errors import StoodStillError

EFFECT_WITHIN: Final = timedelta(seconds=30)
"""An effect that was written down longer ago than this is not begun: its agent may have been given up."""
FACTS_HOLD: Final = timedelta(minutes=5)
"""Nothing is written down as about to happen on a look at the trade that is older than this."""


def require_within(most: timedelta, since: datetime, at: datetime) -> None:
    """Raises StoodStillError unless both moments of one database's clock lie no further apart than ``most``.

    Either way: a clock that was put back says nothing of how long it has been.
    """
    if abs(at - since) > most:
        raise StoodStillError
