"""What was lately, by a server's clock that may have run ahead before and been put back."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_
from sqlalchemy.orm import InstrumentedAttribute

LITTLE: Final = timedelta(minutes=1)
"""So far apart the clocks of two servers may be, with nothing wrong."""


def is_lately(
    column: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    now: datetime,
    within: timedelta,
) -> ColumnElement[bool]:
    """Return the condition that a time lies within so long of now; one dated ahead was not lately."""
    return and_(column > now - within, column <= now + LITTLE)
