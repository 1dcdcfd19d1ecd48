"""What a server's clock that ran ahead has dated: brought back, or it would wait until the clock catches up.

Due times, leases, the verifications of bulk repairs and alerts are brought back where they are kept
(app.plans.ticks, app.agents.overdue, app.executions.bulk_endings, app.alerts.times_ahead).
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update

from app.anomalies.models import OPEN_STATES, Anomaly
from app.executions.money_orders import LASTS
from app.executions.order_models import MoneyOrder
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession

_SINCE: Final = (Anomaly.unknown_since, Anomaly.waiting_since, Anomaly.money_moved_at)


def has_any(session: ReadSession, now: datetime) -> bool:
    """Return whether bring_back would find anything; a read that needs no lock."""
    is_any = or_(*(column > now + LITTLE for column in _SINCE))
    found = select(Anomaly.id).where(Anomaly.state.in_(OPEN_STATES), is_any)
    closed = select(Anomaly.id).where(_was_closed_ahead(now))
    ordered = select(MoneyOrder.id).where(_lasts_too_long(now))
    return any(session.scalars(one.limit(1)).first() is not None for one in (found, closed, ordered))


def bring_back(session: WorkSession, now: datetime) -> None:
    """Let waits, doubts and money on its way that are dated ahead of now have begun now, and what was closed
    ahead be closed now; an order that waits for its second person was proposed now.

    A Verify ordered since is taken for older than the doubt, and asked again: it is never believed too early.
    What a collection finds from now on is news again.
    """
    for column in _SINCE:
        is_ahead = and_(Anomaly.state.in_(OPEN_STATES), column > now + LITTLE)
        late = update(Anomaly).where(is_ahead).values({column: now})
        session.execute(late.execution_options(synchronize_session=False))
    closed = update(Anomaly).where(_was_closed_ahead(now)).values(closed_at=now)
    session.execute(closed.execution_options(synchronize_session=False))
    proposed = {"proposed_at": now, "expires_at": now + LASTS}
    orders = update(MoneyOrder).where(_lasts_too_long(now)).values(proposed)
    session.execute(orders.execution_options(synchronize_session=False))


def _was_closed_ahead(now: datetime) -> ColumnElement[bool]:
    return Anomaly.closed_at > now + LITTLE


def _lasts_too_long(now: datetime) -> ColumnElement[bool]:
    return and_(MoneyOrder.state == "proposed", MoneyOrder.expires_at > now + LASTS + LITTLE)
