"""Which lasting conditions of other rooms are told: bound to their listeners by create_app."""

from datetime import datetime

from app.agents.models import Stop
from app.alerts.events import BREAKER, STOP_SWITCH
from app.alerts.service import raise_, recover
from app.guards.models import Breaker
from app.unit_of_work import WorkSession


def breaker_changed(session: WorkSession, breaker: Breaker, now: datetime) -> None:
    """A breaker tripped, or was reset."""
    key = f"breaker:{breaker.id}"
    if breaker.reset_at is not None:
        recover(session, BREAKER, group_id=breaker.group_id, key=key, now=now)
        return
    params = {"name": breaker.subject_name, "cause": breaker.code, "figures": breaker.figures}
    raise_(session, BREAKER, group_id=breaker.group_id, key=key, params=params, now=now)


def stop_changed(session: WorkSession, stop: Stop, now: datetime) -> None:
    """Repairs were stopped, or may go on."""
    key = f"stop:{stop.id}"
    if stop.lifted_at is not None:
        recover(session, STOP_SWITCH, group_id=stop.group_id, key=key, now=now)
        return
    params = {"scope": stop.scope, "name": stop.name, "by": stop.set_by, "reason": stop.reason}
    raise_(session, STOP_SWITCH, group_id=stop.group_id, key=key, params=params, now=now)
