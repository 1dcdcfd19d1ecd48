"""Absence never heals: an open anomaly that a complete run did not report is verified.

Only fresh facts heal it.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from app.agents.models import LIVE, Command
from app.anomalies.models import Anomaly, CollectionRun, CollectionTask
from app.anomalies.service import order_verifies
from app.lately import LITTLE
from app.unit_of_work import WorkSession

PAGE: Final = 500
VERIFIED_STATES: Final = ("open", "waiting", "exhausted", "needs_human")


def verify_page(session: WorkSession, run: CollectionRun, now: datetime) -> bool:
    """Order a Verify for about PAGE anomalies the run should have reported but did not; True: none is left.

    What was ordered already is told by the Verify commands themselves, so a server that stops here goes on.
    Nobody can be asked about a row without a number of its own: those are passed over, however many they are.
    """
    absent = select(Anomaly).where(*_absent_from(session, run, now)).order_by(Anomaly.id).limit(PAGE)
    ordered, last_id = 0, 0
    while ordered < PAGE:
        anomalies = list(session.scalars(absent.where(Anomaly.id > last_id)).unique())
        ordered += order_verifies(session, anomalies, now)
        if len(anomalies) < PAGE:
            run.verifying += ordered
            return True
        last_id = anomalies[-1].id
    run.verifying += ordered
    return False


def _absent_from(session: WorkSession, run: CollectionRun, now: datetime) -> list[ColumnElement[bool]]:
    ended_at = session.execute(
        select(func.max(CollectionTask.finished_at)).where(CollectionTask.run_id == run.id)
    ).scalar_one()
    of_trade = (Command.group_id == Anomaly.group_id) & (Command.trade_no == Anomaly.trade_no)
    is_busy = exists().where(of_trade, Command.state.in_(LIVE))
    # One dated ahead was ordered before, by a clock that was put back since.
    is_since = and_(Command.created_at >= ended_at, Command.created_at <= now + LITTLE)
    was_ordered = exists().where(of_trade, Command.type == "Verify", is_since)
    return [
        Anomaly.group_id == run.group_id,
        Anomaly.state.in_(VERIFIED_STATES),
        or_(Anomaly.last_run_id.is_(None), Anomaly.last_run_id < run.id),
        or_(Anomaly.fixer_code.is_(None), Anomaly.fixer_code.in_(run.fixer_codes)),
        or_(
            Anomaly.row_changed_at.is_(None),
            Anomaly.row_changed_at.between(run.window_start, run.window_end),
        ),
        ~is_busy,
        ~was_ordered,
    ]
