"""What a server's clock that ran ahead has dated of breakers: brought back, or they would be disarmed by it.

A reset dated ahead lets nothing count until the clock has caught up; so do attempts that ended ahead, which
stay the newest. Once the clock is put back they count as of just now.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update

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
    """Let what a group's breakers, and what they count, have dated ahead of now have happened just now."""
    if not _has_any(session, group_id, now):
        return
    for model, column in _DATED:
        ahead = update(model).where(model.group_id == group_id, column > now).values({column: now - _MOMENT})
        session.execute(ahead.execution_options(synchronize_session="fetch"))


def _has_any(session: WorkSession, group_id: int, now: datetime) -> bool:
    """What has an index by its time is asked; what began ahead has ended ahead, or was reset since."""
    resets = select(Breaker.id).where(Breaker.group_id == group_id, Breaker.reset_at > now)
    ends = select(BegunRepair.id).where(BegunRepair.group_id == group_id, BegunRepair.ended_at > now)
    return any(session.scalar(found.limit(1)) is not None for found in (resets, ends))
