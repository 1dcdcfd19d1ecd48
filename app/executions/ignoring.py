"""忽略: a person closes an anomaly, alone or among many, unless money of its trade would be lost sight of.

While an order of money stands, nobody closes its trade: the order would end unheard.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agent.unpaid import is_unpaid
from app.anomalies import service
from app.anomalies.models import Anomaly
from app.anomalies.service import GroupIds
from app.anomalies.states import ALLOWED
from app.audit.service import Actor
from app.errors import ConflictError
from app.executions import order_course, shown
from app.executions.order_guard import ORDER_STANDS, facts_of, find_holds
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

DEBITED_UNPAID: Final = "debited_unpaid"
"""The customer was debited and the bank has finally not paid: whoever closes that looks at it alone."""
MONEY_BEGUN: Final = "money_begun"


def ignore(
    session: WorkSession,
    anomaly_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    seen: str | None = None,
) -> Anomaly:
    """Close an anomaly by a person's word.

    ``seen`` is what the form showed (shown.digest_of), None where there was none. Raises as
    app.anomalies.service.ignore, and ConflictError: seen_changed, order_stands.
    """
    anomaly = service.get_anomaly(session, anomaly_id, group_ids)
    shown.require_same(seen, anomaly)
    order_course.close_over(session, now, anomaly.id)
    if order_course.find_live(session, anomaly.group_id, anomaly.trade_no) is not None:
        raise ConflictError(ORDER_STANDS)
    return service.ignore(session, anomaly_id, reason=reason, actor=actor, group_ids=group_ids, now=now)


def ignore_among_many(
    session: WorkSession,
    anomaly_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    seen: str | None = None,
) -> Anomaly:
    """Close one of many. Raises as ``ignore``, and ConflictError: debited_unpaid, money_begun."""
    code = why_alone(service.get_anomaly(session, anomaly_id, group_ids))
    if code is not None:
        raise ConflictError(code)
    return ignore(session, anomaly_id, reason=reason, actor=actor, group_ids=group_ids, now=now, seen=seen)


def why_alone(anomaly: Anomaly) -> str | None:
    """Return the code why a person looks at an anomaly alone before closing it, None where none does."""
    facts = facts_of(anomaly)
    if facts is not None and is_unpaid(facts):
        return DEBITED_UNPAID
    return MONEY_BEGUN if anomaly.has_moved_money else None


def find_left_out(session: ReadSession, anomalies: Sequence[Anomaly]) -> dict[int, str]:
    """Return what ignore_among_many would leave out: the code of why, by anomaly id."""
    holds = find_holds(session, anomalies, by_person=True)
    found: dict[int, str] = {}
    for one in anomalies:
        if "ignored" not in ALLOWED[one.state]:
            found[one.id] = "state"
        elif code := why_alone(one) or (ORDER_STANDS if holds.get(one.id) == ORDER_STANDS else None):
            found[one.id] = code
    return found
