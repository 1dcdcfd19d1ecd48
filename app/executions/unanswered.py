"""What people ordered to be looked at and nobody could read: their trade's history says so."""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.agents.models import Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.service import find_open
from app.anomalies.states import note
from app.audit.service import SYSTEM
from app.plans.predictions import ORDERED as DRY_RUN_ORDERED
from app.unit_of_work import WorkSession

UNANSWERED: Final = {"verify_ordered": "verify_unanswered", DRY_RUN_ORDERED: "dry_run_failed"}
"""What is noted where a look came to nothing, by the event that ordered it."""


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """A Verify closed without an answer: nobody took it in its time, or the agent was lost with it."""
    if command.type != "Verify" or command.trade_no is None:
        return
    anomaly = find_open(session, command.group_id, command.trade_no)
    if anomaly is not None:
        now = command.finished_at or command.created_at
        note_unanswered(session, anomaly, command.id, command.error or outcome, now)


def note_unanswered(
    session: WorkSession, anomaly: Anomaly, command_id: str | None, reason: str, now: datetime
) -> None:
    """Write down that a look by a person's word came to nothing, and why; of any other Verify nothing."""
    orders = select(AnomalyEvent.code).where(
        AnomalyEvent.anomaly_id == anomaly.id,
        AnomalyEvent.command_id == command_id,
        AnomalyEvent.code.in_(UNANSWERED),
    )
    for ordered_by in session.scalars(orders).all():
        code = UNANSWERED[ordered_by]
        note(session, anomaly, code=code, reason=reason[:500], actor=SYSTEM, now=now, command_id=command_id)
        session.touch("anomalies")
