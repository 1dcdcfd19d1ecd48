"""What begins no repair by itself: while a stop stands, and of trades known to be too old."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update

from agent.protocol import BY_PERSON
from app.agents.models import Stop
from app.anomalies import fleet
from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession

MAX_AGE: Final = timedelta(days=90)
"""The age beyond which an agent of the first protocol, which asks for none, begins nothing by itself."""
TOO_OLD: Final = f"older than what is repaired without a person, in days: {MAX_AGE.days}"


def keep_young(
    session: WorkSession, anomalies: Sequence[Anomaly], plan: Plan, now: datetime
) -> list[Anomaly]:
    """Hand to a person what is known to be too old, where an agent might not see to that; return the others.

    A row last changed so long ago is of a trade at least as old. An agent that can be told of a person's word
    (feature ``by_person``) goes by its own limit and by the trade's own time, which the server does not have.
    A repair that has moved money is gone on with.
    """
    old = [one for one in anomalies if is_old(one, now)]
    if not old or _all_see_to_it(session, plan, now):
        return list(anomalies)
    for anomaly in old:
        anomaly.reason = TOO_OLD
        change_state(session, anomaly, "needs_human", code="too_old", reason=TOO_OLD, actor=SYSTEM, now=now)
    return [one for one in anomalies if not is_old(one, now)]


def is_old(anomaly: Anomaly, now: datetime) -> bool:
    """Return whether a trade is known to be too old to begin by itself."""
    changed_at = anomaly.row_changed_at
    return changed_at is not None and changed_at < now - MAX_AGE and not anomaly.has_moved_money


def _all_see_to_it(session: ReadSession, plan: Plan, now: datetime) -> bool:
    online = fleet.online_agents(session, plan.group_id, now, codes=[plan.fixer_code])
    return all(BY_PERSON in (agent.features or ()) for agent in online)


def stop_changed(session: WorkSession, stop: Stop, now: datetime) -> None:
    """Lifted: a repair that has moved money had no day to finish while the stop stood: it has it from now on.

    One of an agent left its day running (app.executions.limits).
    """
    if stop.lifted_at is None or stop.scope == "agent":
        return
    moved = update(Anomaly).where(Anomaly.state.in_(("open", "waiting")), Anomaly.has_moved_money)
    if stop.group_id is not None:
        moved = moved.where(Anomaly.group_id == stop.group_id)
    session.execute(moved.values(money_moved_at=now))
