"""Unknown is a state: what waits is verified by itself, whatever its plan, and never repeated by itself.

The ticks of a plan ask about what waits for it (ticking). A manual plan that repairs has none, a plan that is
失效 neither, a trade may have no plan, and ticks may be hours apart or find no agent that offers the fixer:
reading changes nothing and every agent can, so these are asked about here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, and_, exists, or_, select

from app.agents.models import LIVE, Command
from app.anomalies import fleet
from app.anomalies.models import Anomaly
from app.anomalies.service import WAITING_FIRST, order_verifies
from app.keyset import ReadSession
from app.lately import is_lately
from app.plans.models import HAS_TICKS, Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

PAGE: Final = 500
VERIFY_EVERY: Final = timedelta(minutes=10)
"""A trade that waits for the bank may wait for days; production is not asked about it more often."""


def unasked_ids(session: ReadSession, now: datetime) -> list[int]:
    """Return up to PAGE waiting anomalies of each group that no tick has asked about; it needs no lock."""
    groups = session.scalars(select(SystemGroup.id).where(SystemGroup.is_enabled)).all()
    found: list[int] = []
    for group_id in groups:
        ids = session.scalars(_unasked(group_id, now).limit(PAGE)).all()
        if ids and fleet.online_agents(session, group_id, now):
            found += ids
    return found


def verify_waiting(session: WorkSession, anomaly_ids: Sequence[int], now: datetime) -> int:
    """Order a Verify for those of the anomalies that still wait and are not busy; return how many."""
    still = select(Anomaly).where(Anomaly.id.in_(anomaly_ids), Anomaly.state == "waiting")
    by_group: dict[int, list[Anomaly]] = {}
    for anomaly in session.scalars(still.order_by(Anomaly.id)).unique():
        by_group.setdefault(anomaly.group_id, []).append(anomaly)
    return sum(order_verifies(session, some, now, priority=WAITING_FIRST) for some in by_group.values())


def verify_at_tick(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> int:
    """Order a Verify for those of a plan's anomalies that are not busy; return how many.

    What waits, or is unknown, goes before all that plans have begun, unless it was read within VERIFY_EVERY:
    then, as what does neither, as its plan's repairs do, so that looks every few seconds hold up none.
    """
    waiting = [one for one in anomalies if one.state == "waiting" or one.unknown_since is not None]
    was_read = _read_lately(session, plan.group_id, [one.trade_no for one in waiting], now)
    first = [one for one in waiting if one.trade_no not in was_read]
    ids = {one.id for one in first}
    others = [one for one in anomalies if one.id not in ids]
    made = order_verifies(session, first, now, priority=WAITING_FIRST)
    return made + order_verifies(session, others, now, priority=plan.level)


def _read_lately(session: ReadSession, group_id: int, trade_nos: Sequence[str], now: datetime) -> set[str]:
    """Return those of a group's trades of which a Verify was answered within VERIFY_EVERY."""
    if not trade_nos:
        return set()
    answered = select(Command.trade_no).where(
        Command.group_id == group_id,
        Command.trade_no.in_(trade_nos),
        Command.type == "Verify",
        Command.state == "finished",
        is_lately(Command.finished_at, now, VERIFY_EVERY),
    )
    return {trade_no for trade_no in session.scalars(answered) if trade_no is not None}


def _unasked(group_id: int, now: datetime) -> Select[int]:
    of_trade = and_(Command.group_id == Anomaly.group_id, Command.trade_no == Anomaly.trade_no)
    is_busy = exists().where(of_trade, Command.state.in_(LIVE))
    was_asked = exists().where(
        of_trade, Command.type == "Verify", is_lately(Command.created_at, now, VERIFY_EVERY)
    )
    has_ticks = exists().where(
        Plan.group_id == Anomaly.group_id,
        Plan.fixer_code == Anomaly.fixer_code,
        HAS_TICKS,
    )
    waits_not_long = is_lately(Anomaly.waiting_since, now, VERIFY_EVERY)
    is_left_to_ticks = and_(has_ticks, or_(Anomaly.waiting_since.is_(None), waits_not_long))
    return (
        select(Anomaly.id)
        .where(
            Anomaly.group_id == group_id,
            Anomaly.state == "waiting",
            ~is_left_to_ticks,
            ~is_busy,
            ~was_asked,
        )
        .order_by(Anomaly.id)
    )
