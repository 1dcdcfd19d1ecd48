"""Unknown is a state: what waits is verified by itself, whatever its plan, and never repeated by itself.

An automatic plan's ticks ask about what waits for it (ticking). A manual plan has no ticks, a plan that is
失效 neither, and a trade may have no plan: reading changes nothing, so these are asked about here.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, and_, exists, select

from app.agents.models import LIVE, Command
from app.anomalies import fleet
from app.anomalies.models import Anomaly
from app.anomalies.service import order_verifies
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

PAGE: Final = 500
VERIFY_EVERY: Final = timedelta(minutes=10)
"""A trade that waits for the bank may wait for days; production is not asked about it more often."""


def verify_unknown(session: WorkSession, now: datetime) -> int:
    """Order a Verify for up to PAGE waiting trades of each group that no tick asks about; return how many."""
    groups = list(session.scalars(select(SystemGroup.id).where(SystemGroup.is_enabled)))
    return sum(_verify_group(session, group_id, now) for group_id in groups)


def _verify_group(session: WorkSession, group_id: int, now: datetime) -> int:
    if not _has_unasked(session, group_id, now) or not fleet.online_agents(session, group_id, now):
        return 0
    return order_verifies(session, list(session.scalars(_unasked(group_id, now).limit(PAGE)).unique()), now)


def _has_unasked(session: ReadSession, group_id: int, now: datetime) -> bool:
    return session.scalars(_unasked(group_id, now).limit(1)).first() is not None


def _unasked(group_id: int, now: datetime) -> Select[Anomaly]:
    of_trade = and_(Command.group_id == Anomaly.group_id, Command.trade_no == Anomaly.trade_no)
    is_busy = exists().where(of_trade, Command.state.in_(LIVE))
    was_asked = exists().where(of_trade, Command.type == "Verify", Command.created_at > now - VERIFY_EVERY)
    has_ticks = exists().where(
        Plan.group_id == Anomaly.group_id,
        Plan.fixer_code == Anomaly.fixer_code,
        Plan.mode == "auto",
        Plan.state == "normal",
    )
    return (
        select(Anomaly)
        .where(Anomaly.group_id == group_id, Anomaly.state == "waiting", ~has_ticks, ~is_busy, ~was_asked)
        .order_by(Anomaly.id)
    )
