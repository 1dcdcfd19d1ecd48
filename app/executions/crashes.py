"""A trade whose repair breaks off every time: set aside for a person, so that the others go on.

An attempt breaks off when its fixer fails in a way nobody foresaw, or when the agent that had begun it never
came back. It spends no retry, because nobody knows what it did; so it is counted by itself.
"""

from typing import Final

from sqlalchemy import or_, select

from agent.answers import BROKE_OFF
from app.anomalies.models import Anomaly
from app.executions.models import Attempt
from app.unit_of_work import WorkSession

CRASH_LIMIT: Final = 3
"""So many attempts in a row that broke off are no accident."""
CODE: Final = "crashed_too_often"
NO_RESULT: Final = "indeterminate"
"""How the reason of an attempt begins whose command passed its deadline without a result."""


def crashes_every_time(session: WorkSession, anomaly: Anomaly) -> bool:
    """Return whether the anomaly's last CRASH_LIMIT attempts broke off, each of them."""
    crashed = or_(
        Attempt.outcome_reason.startswith(f"{BROKE_OFF}:"),
        Attempt.outcome_reason.startswith(f"{NO_RESULT}:") & Attempt.started_at.is_not(None),
    )
    last = select(Attempt.id).where(
        Attempt.anomaly_id == anomaly.id,
        Attempt.number > anomaly.attempts - CRASH_LIMIT,
        Attempt.outcome == "unknown",
        crashed,
    )
    return len(session.scalars(last).all()) == CRASH_LIMIT
