"""That a repair of an anomaly has moved money, or may have: noted, and forgotten where it had no effect."""

from datetime import datetime
from typing import Final

from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.unit_of_work import WorkSession

MONEY_FOUND: Final = "money_found"


def note(session: WorkSession, anomaly: Anomaly, now: datetime, command_id: str | None) -> None:
    """A repair has posted or paid, or may have; found after the last attempt, a person must know of it."""
    anomaly.has_moved_money = True
    anomaly.money_moved_at = anomaly.money_moved_at or now
    if anomaly.state == "exhausted":
        anomaly.reason = MONEY_FOUND
        change_state(
            session,
            anomaly,
            "needs_human",
            code=MONEY_FOUND,
            reason=MONEY_FOUND,
            actor=SYSTEM,
            now=now,
            command_id=command_id,
        )


def forget(anomaly: Anomaly) -> None:
    """What a repair had begun has ended without effect."""
    anomaly.has_moved_money, anomaly.money_moved_at = False, None
