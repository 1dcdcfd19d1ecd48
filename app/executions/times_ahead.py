"""What a server's clock that ran ahead has dated: brought back, or it would wait until the clock catches up.

Due times, leases, the verifications of bulk repairs and alerts are brought back where they are kept
(app.plans.ticks, app.agents.overdue, app.executions.bulk_endings, app.alerts.times_ahead).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.anomalies.models import OPEN_STATES, Anomaly
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

LITTLE: Final = timedelta(minutes=1)
"""So far apart the clocks of two servers may be, with nothing wrong."""
_SINCE: Final = (Anomaly.unknown_since, Anomaly.waiting_since, Anomaly.money_moved_at)


def is_lately(
    column: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    now: datetime,
    within: timedelta,
) -> ColumnElement[bool]:
    """Return the condition that a time lies within so long of now; one dated ahead was not lately."""
    return and_(column > now - within, column <= now + LITTLE)


def has_any(session: ReadSession, now: datetime) -> bool:
    """Return whether bring_back would find anything; a read that needs no lock."""
    is_any = or_(*(column > now + LITTLE for column in _SINCE))
    found = select(Anomaly.id).where(Anomaly.state.in_(OPEN_STATES), is_any)
    return session.scalars(found.limit(1)).first() is not None


def bring_back(session: WorkSession, now: datetime) -> None:
    """Let waits, doubts and money on its way that are dated ahead of now have begun now.

    A Verify ordered since is taken for older than the doubt, and asked again: it is never believed too early.
    """
    for column in _SINCE:
        is_ahead = and_(Anomaly.state.in_(OPEN_STATES), column > now + LITTLE)
        late = update(Anomaly).where(is_ahead).values({column: now})
        session.execute(late.execution_options(synchronize_session=False))
