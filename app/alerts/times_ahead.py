"""What a server's clock that ran ahead has dated: brought back, or nothing is told until it catches up.

What has ended keeps its times: they are what was shown when it happened.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.alerts.models import IS_UNDONE, AlertChannel, AlertCondition, AlertDelivery
from app.alerts.outbox import LONGEST_PAUSE, PACE
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession


def has_any(session: ReadSession, now: datetime) -> bool:
    """Return whether bring_back would find anything; reads that need no lock."""
    is_message_ahead = or_(*(column > latest for column, latest in _latest(now)))
    ahead = (
        select(AlertChannel.id).where(_rests_too_long(now)),
        select(AlertDelivery.id).where(IS_UNDONE, is_message_ahead),
        select(AlertCondition.identity).where(_began_ahead(now)),
    )
    return any(session.scalars(found.limit(1)).first() is not None for found in ahead)


def bring_back(session: WorkSession, now: datetime) -> None:
    """Let channels be rested, messages due, and claims and conditions begin now.

    A claim lasts its time from now on, for whoever holds it may be sending. A condition that began after its
    message went would have an end that nobody heard the beginning of.
    """
    late = [update(AlertChannel).where(_rests_too_long(now)).values(rests_until=now)]
    for column, latest in _latest(now):
        values = {AlertDelivery.due_at: now, column: now}
        late.append(update(AlertDelivery).where(IS_UNDONE, column > latest).values(values))
    late.append(update(AlertCondition).where(_began_ahead(now)).values(since=now))
    for statement in late:
        session.execute(statement.execution_options(synchronize_session=False))
    session.touch("alerts")


def _latest(now: datetime) -> tuple[tuple[InstrumentedAttribute[Any], datetime], ...]:
    """The times of a message that has not ended, each with the latest it can be."""
    latest = now + LITTLE
    # No window to gather in is longer than the longest pause.
    due = latest + LONGEST_PAUSE
    return (AlertDelivery.created_at, latest), (AlertDelivery.claimed_at, latest), (AlertDelivery.due_at, due)


def _rests_too_long(now: datetime) -> ColumnElement[bool]:
    # Within LITTLE another server's clock may be right, and the pace holds between servers.
    return AlertChannel.rests_until > now + PACE + LITTLE


def _began_ahead(now: datetime) -> ColumnElement[bool]:
    return AlertCondition.since > now + LITTLE
