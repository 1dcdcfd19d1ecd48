"""What a page shows of orders beside an anomaly: the newest one, and what may be ordered now."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from agent.facts import Facts, LegState
from agent.unpaid import ACTIONS, Action, find_obstacle, is_unpaid, why_unpaid
from app.anomalies.models import Anomaly
from app.errors import ConflictError
from app.executions.money_orders import is_orderable, why_stale
from app.executions.order_guard import facts_of
from app.executions.order_limits import limit_of
from app.executions.order_models import MoneyOrder
from app.executions.standing_refusals import find_refusal
from app.keyset import ReadSession

NO_FACTS: Final = "no facts"


@dataclass(frozen=True)
class Offer:
    """Whether a person may order an action now; ``obstacle`` says why not, None where they may."""

    action: Action
    obstacle: str | None


@dataclass(frozen=True)
class Box:
    """What an anomaly shows of orders: its newest one, what may be ordered, and above which amount by two.

    ``is_stale``: the newest one waits, and can no longer be confirmed. ``because``: on what it rests that the
    bank has not paid (agent.unpaid.why_unpaid), '' where it may have. ``refusal``: what refuses any order
    now, whatever the facts (standing_refusals).
    """

    order: MoneyOrder | None
    offers: tuple[Offer, ...]
    is_stale: bool
    limit_minor: int
    because: str
    refusal: ConflictError | None


def box_of(session: ReadSession, anomaly: Anomaly, now: datetime) -> Box:
    """Return what a page shows of orders beside an anomaly."""
    newest = select(MoneyOrder).where(MoneyOrder.anomaly_id == anomaly.id).order_by(MoneyOrder.id.desc())
    order = session.scalars(newest.limit(1)).first()
    facts = facts_of(anomaly)
    is_debited = facts is not None and facts.second is not None and facts.first.state is LegState.POSTED
    is_offered = is_orderable(session, anomaly) and (is_debited or anomaly.has_moved_money)
    is_busy = order is not None and order.state == "proposed"
    offers = tuple(Offer(action, _obstacle(facts, action)) for action in ACTIONS)
    return Box(
        order=order,
        offers=offers if is_offered and anomaly.kind == "withdraw" and not is_busy else (),
        is_stale=is_busy and order is not None and why_stale(session, order, anomaly) is not None,
        limit_minor=limit_of(session, anomaly.group_id),
        because=why_unpaid(facts) if facts is not None and is_unpaid(facts) else "",
        refusal=find_refusal(session, anomaly, now),
    )


def _obstacle(facts: Facts | None, action: Action) -> str | None:
    return NO_FACTS if facts is None else find_obstacle(facts, action)
