"""Whether an anomaly gets a further attempt by itself."""

from datetime import datetime

from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.plans.models import Plan
from app.unit_of_work import WorkSession


def exhaust(session: WorkSession, anomaly: Anomaly, now: datetime, command_id: str | None = None) -> None:
    """Every attempt is spent: only a click goes on with it."""
    change_state(
        session,
        anomaly,
        "exhausted",
        code="no_attempts_left",
        reason="",
        actor=SYSTEM,
        now=now,
        command_id=command_id,
    )


def goes_on_by_itself(anomaly: Anomaly, plan: Plan) -> bool:
    """Whether no click is needed: the plan is automatic, or a click began a repair that has moved money."""
    return plan.mode == "auto" or anomaly.has_moved_money


def has_attempts_left(anomaly: Anomaly, max_retries: int) -> bool:
    """Max retries N means N + 1 attempts that failed; a repair that has moved money is never exhausted."""
    return anomaly.has_moved_money or anomaly.failed_attempts <= max_retries
