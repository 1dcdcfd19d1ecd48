"""Absence never heals: an open anomaly that a complete run did not report is verified.

Only fresh facts heal it.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, exists, or_, select

from app.agents.models import LIVE, Command
from app.anomalies.models import Anomaly, CollectionRun
from app.anomalies.service import order_verifies
from app.unit_of_work import WorkSession

PAGE: Final = 500
VERIFIED_STATES: Final = ("open", "waiting", "exhausted", "needs_human")


def verify_page(session: WorkSession, run: CollectionRun, now: datetime) -> bool:
    """Order a Verify for about PAGE anomalies the run should have reported but did not; True: none is left.

    The run remembers how far it has come, so a server that stops here goes on, whatever its clock says.
    Nobody can be asked about a row without a number of its own: those are passed over, however many they are.
    """
    absent = select(Anomaly).where(*_absent_from(run)).order_by(Anomaly.id).limit(PAGE)
    ordered = 0
    while ordered < PAGE:
        anomalies = list(session.scalars(absent.where(Anomaly.id > run.absent_up_to)).unique())
        ordered += order_verifies(session, anomalies, now)
        run.absent_up_to = anomalies[-1].id if anomalies else run.absent_up_to
        if len(anomalies) < PAGE:
            run.verifying += ordered
            return True
    run.verifying += ordered
    return False


def _absent_from(run: CollectionRun) -> list[ColumnElement[bool]]:
    of_trade = (Command.group_id == Anomaly.group_id) & (Command.trade_no == Anomaly.trade_no)
    is_busy = exists().where(of_trade, Command.state.in_(LIVE))
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
    ]
