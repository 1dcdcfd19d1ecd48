"""What a server's clock that ran ahead has dated of breakers: brought back, or they would be disarmed by it.

A reset dated ahead lets nothing count until the clock has caught up; so do attempts that ended ahead, which
stay the newest. What began ahead would count in every hour and day until then, after each reset again. Once
the clock is put back all of it counts as of just now.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, or_, select, update

from app.guards.models import BegunRepair, Breaker
from app.unit_of_work import WorkSession

_MOMENT: Final = timedelta(microseconds=1)
"""Just before now, so that what happens now comes after it."""
_DATED: Final = (
    (Breaker, Breaker.reset_at),
    (BegunRepair, BegunRepair.ended_at),
    (BegunRepair, BegunRepair.begun_at),
)


def bring_back(session: WorkSession, group_id: int, now: datetime) -> None:
    """Let what a group's breakers, and what they and limits count, have dated ahead of now have happened just
    now.
    """
    if not _has_any(session, group_id, now):
        return
    for model, column in _DATED:
        ahead = update(model).where(model.group_id == group_id, column > now).values({column: now - _MOMENT})
        session.execute(ahead.execution_options(synchronize_session="fetch"))


def _has_any(session: WorkSession, group_id: int, now: datetime) -> bool:
    found = (exists().where(model.group_id == group_id, column > now) for model, column in _DATED)
    return bool(session.scalar(select(or_(*found))))
