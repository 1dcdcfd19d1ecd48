"""What a silence has kept back and still holds when it is over: that is told then, as if it began.

A silence is to spare people what they know of. An agent that went meanwhile and has not come back is news.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from app.alerts import routing
from app.alerts.events import TRADE_KINDS
from app.alerts.models import IS_KEPT_BACK, AlertChannel, AlertCondition, AlertDelivery, AlertEvent
from app.alerts.outbox import is_silenced, standing_silences
from app.alerts.service import told_of_trade
from app.anomalies.models import Anomaly
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

AT_ONCE: Final = 200


def has_any(session: ReadSession, now: datetime) -> bool:
    """Return whether a message was kept back that no silence covers any more; reads that need no lock."""
    kept = select(AlertDelivery.kind, AlertDelivery.group_id).where(IS_KEPT_BACK).distinct()
    of_what = session.execute(kept).all()
    if not of_what:
        return False
    silences = standing_silences(session, now)
    return any(not is_silenced(kind, group_id, silences) for kind, group_id in of_what)


def review(session: WorkSession, now: datetime) -> None:
    """Gather anew what still holds of AT_ONCE messages whose silence is over; each is gone through once."""
    silences = standing_silences(session, now)
    kept = (
        select(AlertDelivery)
        .where(IS_KEPT_BACK)
        .order_by(AlertDelivery.id)
        .with_for_update(of=AlertDelivery, skip_locked=True)
    )
    over = [
        one for one in session.scalars(kept).unique() if not is_silenced(one.kind, one.group_id, silences)
    ]
    for delivery in over[:AT_ONCE]:
        delivery.reviewed_at = now
        channel = None if delivery.channel_id is None else session.get(AlertChannel, delivery.channel_id)
        if channel is not None and channel.is_enabled and not delivery.is_recovery:
            routing.offer(session, channel, list(_standing(session, delivery, now)), now)
    session.touch("alerts")


def _standing(session: ReadSession, delivery: AlertDelivery, now: datetime) -> Iterator[AlertEvent]:
    """What began while the message gathered and holds still, as events of now."""
    if delivery.group_id is not None and delivery.kind in TRADE_KINDS:
        found = _trades(session, delivery)
    else:
        found = _conditions(session, delivery)
    for key, params in found:
        yield AlertEvent(at=now, kind=delivery.kind, group_id=delivery.group_id, key=key, params=params)


def _conditions(session: ReadSession, delivery: AlertDelivery) -> Iterator[tuple[str, dict[str, object]]]:
    since, until = _gathered(delivery)
    held = select(AlertCondition).where(
        AlertCondition.kind == delivery.kind,
        AlertCondition.group_id.is_not_distinct_from(delivery.group_id),
        AlertCondition.since.between(since, until),
    )
    for one in session.scalars(held.order_by(AlertCondition.since)):
        yield one.key, dict(one.params)


def _trades(session: ReadSession, delivery: AlertDelivery) -> Iterator[tuple[str, dict[str, object]]]:
    since, until = _gathered(delivery)
    held = select(Anomaly).where(
        Anomaly.group_id == delivery.group_id,
        Anomaly.state == delivery.kind,
        Anomaly.changed_at.between(since, until),
    )
    for one in session.scalars(held.order_by(Anomaly.changed_at).limit(routing.BATCH)):
        yield one.trade_no[:120], told_of_trade(one)


def _gathered(delivery: AlertDelivery) -> tuple[datetime, datetime]:
    """When the first of its events was, and the last can have been."""
    return delivery.due_at - timedelta(seconds=delivery.window_seconds), delivery.ended_at or delivery.due_at
