"""What time alone decides: a wait that is too long, and money that moved and was not settled in a day."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select

from app.agents.models import IS_STANDING, LIVE, Command, Stop
from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

WAIT_LIMIT: Final = timedelta(days=10)
"""The bank's limit: after it a person is asked."""
MONEY_LIMIT: Final = timedelta(hours=24)
BATCH: Final = 500


def apply_limits(session: WorkSession, now: datetime) -> int:
    """Hand overdue anomalies to a person, BATCH of a kind at a time; return how many.

    What is being repaired or verified is left for the next time.
    """
    handed = 0
    for code, condition in _limits(now):
        for anomaly in list(session.scalars(_overdue(condition).limit(BATCH)).unique()):
            anomaly.reason = code
            change_state(session, anomaly, "needs_human", code=code, reason=code, actor=SYSTEM, now=now)
            handed += 1
    return handed


def has_overdue(session: ReadSession, now: datetime) -> bool:
    """Return whether apply_limits would find anything; a read that needs no lock."""
    return any(session.scalars(_overdue(condition).limit(1)).first() for _code, condition in _limits(now))


def _limits(now: datetime) -> tuple[tuple[str, ColumnElement[bool]], ...]:
    waited = and_(Anomaly.state == "waiting", Anomaly.waiting_since < now - WAIT_LIMIT)
    moved = and_(
        Anomaly.state.in_(("open", "waiting")),
        Anomaly.has_moved_money,
        Anomaly.money_moved_at < now - MONEY_LIMIT,
        ~_is_stopped(),
    )
    return (("waited_too_long", waited), ("money_moved_too_long", moved))


def _is_stopped() -> ColumnElement[bool]:
    """A stop of everything or of the group stands: its repairs have their day once it is lifted.

    One of an agent leaves the day as it is: others of the group may go on with it.
    """
    is_of_group = and_(Stop.scope == "group", Stop.group_id == Anomaly.group_id)
    return exists().where(IS_STANDING, or_(Stop.scope == "all", is_of_group))


def _overdue(condition: ColumnElement[bool]) -> Select[Anomaly]:
    is_busy = exists().where(
        Command.group_id == Anomaly.group_id,
        Command.trade_no == Anomaly.trade_no,
        Command.state.in_(LIVE),
    )
    return select(Anomaly).where(condition, ~is_busy).order_by(Anomaly.id)
