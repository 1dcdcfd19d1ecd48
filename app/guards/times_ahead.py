"""What a server's clock that ran ahead has dated of breakers: brought back, or they would be disarmed by it.

A reset dated ahead lets nothing count until the clock has caught up; so do attempts that ended ahead, which
stay the newest. What began ahead would count in every hour and day until then, after each reset again. Once
the clock is put back all of it counts as of just now; what came after a reset goes on counting after it.

Up to LITTLE ahead nothing is wrong: another server's clock, or a tick that takes long. There times stay as
they are, and what is written down after a reset is dated after it, by whichever clock.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from app.guards.models import BegunRepair, Breaker
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession

_MOMENT: Final = timedelta(microseconds=1)
"""Just before now, so that what happens now comes after it."""
_COUNTED: Final[tuple[InstrumentedAttribute[Any], ...]] = (BegunRepair.ended_at, BegunRepair.begun_at)


def bring_back(session: WorkSession, group_id: int, now: datetime) -> None:
    """Let what a group's breakers, and what they and limits count, have dated ahead of now have happened just
    now, in its order.
    """
    latest = now + LITTLE
    if not _has_any(session, group_id, latest):
        return
    last = _last_reset(session, group_id) or latest
    for column in _COUNTED:
        _date(session, group_id, column, max(last, latest), now - _MOMENT)
    _date(session, group_id, Breaker.reset_at, latest, now - 2 * _MOMENT)
    for column in _COUNTED:
        _date(session, group_id, column, latest, now - 3 * _MOMENT)


def after_resets(session: ReadSession, group_id: int, now: datetime) -> datetime:
    """Return now, or the moment after a group's last reset where a faster clock has dated that ahead: what is
    written down after a reset counts after it.
    """
    last = _last_reset(session, group_id)
    return last + _MOMENT if last is not None and now <= last <= now + LITTLE else now


def _last_reset(session: ReadSession, group_id: int) -> datetime | None:
    return session.scalar(select(func.max(Breaker.reset_at)).where(Breaker.group_id == group_id))


def _has_any(session: WorkSession, group_id: int, latest: datetime) -> bool:
    dated = (Breaker.reset_at, *_COUNTED)
    found = (exists().where(column.class_.group_id == group_id, column > latest) for column in dated)
    return bool(session.scalar(select(or_(*found))))


def _date(
    session: WorkSession, group_id: int, column: InstrumentedAttribute[Any], after: datetime, to: datetime
) -> None:
    ahead = update(column.class_).where(column.class_.group_id == group_id, column > after)
    session.execute(ahead.values({column: to}).execution_options(synchronize_session="fetch"))
