"""What becomes of money orders: moved by compare-and-set; ended by results, by time, by a closed trade."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, cast

from flask import current_app
from sqlalchemy import CursorResult, Select, and_, or_, select, update

from app.anomalies.models import Anomaly
from app.anomalies.states import change_state, note
from app.audit import service as audit
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError
from app.executions.models import Attempt
from app.executions.order_models import LIVE_STATES, MoneyOrder
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

UNDER_WAY: Final = frozenset({"unknown", "wait", "superseded"})
"""Outcomes after which the repair may be half done and goes on by itself: the order has not ended."""
WITH_A_PERSON: Final = ("needs_human", "exhausted")
WITHOUT_EFFECT: Final = "the order had no effect"
"""Its attempt ended unknown and no repair half done was found: what now, the people who ordered decide."""
TRADE_CLOSED: Final = "the trade was closed before the order was confirmed"
NOT_IN_TIME: Final = "nobody confirmed the order in time"
BATCH: Final = 500

OrderChanged = Callable[[WorkSession, MoneyOrder, datetime], None]
"""Hears of each change of an order that is written down; bound by create_app."""


def find_live(session: ReadSession, group_id: int, trade_no: str) -> MoneyOrder | None:
    """Return the trade's order that has not ended, or None."""
    return session.scalars(
        select(MoneyOrder).where(
            MoneyOrder.group_id == group_id,
            MoneyOrder.trade_no == trade_no,
            MoneyOrder.state.in_(LIVE_STATES),
        )
    ).first()


def move(session: WorkSession, order: MoneyOrder, to: str, **columns: Any) -> None:
    """Move an order on from the state it was read in, with its columns.

    Raises ConflictError('order_over') where somebody else was quicker: nothing was written.
    """
    if not _is_moved(session, order, to, columns):
        raise ConflictError("order_over")


def _is_moved(session: WorkSession, order: MoneyOrder, to: str, columns: dict[str, Any]) -> bool:
    """Move an order on unless somebody else was quicker; return whether this did."""
    statement = update(MoneyOrder).where(MoneyOrder.id == order.id, MoneyOrder.state == order.state)
    done = session.execute(statement.values(state=to, **columns).execution_options(synchronize_session=False))
    session.refresh(order)
    if cast("CursorResult[Any]", done).rowcount != 1:
        return False
    session.touch("anomalies", "executions", "audit")
    return True


def write_down(
    session: WorkSession, order: MoneyOrder, verb: str, actor: Actor, reason: str, now: datetime
) -> None:
    """Write a change of an order into the trade's history and into the audit trail, and tell of it."""
    anomaly = session.get_one(Anomaly, order.anomaly_id)
    code = f"order_{verb}_{order.action}"
    note(session, anomaly, code=code, reason=reason, actor=actor, now=now)
    audit.record(
        session,
        actor=actor,
        action=f"order.{verb}",
        object_type="order",
        object_id=order.id,
        object_name=order.trade_no,
        sys_code=order.group.sys_code,
        reason=reason,
        detail={
            "action": order.action,
            "amount_minor": order.amount_minor,
            "currency": order.currency,
            "anomaly_id": order.anomaly_id,
            "needs_second": order.needs_second,
            "proposed_by": order.proposed_by,
            **({"outcome": order.outcome} if order.outcome else {}),
        },
        now=now,
    )
    listeners: tuple[OrderChanged, ...] = current_app.extensions.get("order_changed", ())
    for listener in listeners:
        listener(session, order, now)


def close(
    session: WorkSession, order: MoneyOrder, to: str, actor: Actor, reason: str, now: datetime, verb: str = ""
) -> None:
    """End an order; ``reason`` is a person's sentence or a word of app/reasons.py.

    Raises ConflictError('order_over') where somebody else was quicker.
    """
    move(session, order, to, closed_by=actor.name, closed_reason=reason[:500], closed_at=now)
    write_down(session, order, verb or to, actor, reason, now)


def _end(session: WorkSession, order: MoneyOrder, to: str, reason: str, now: datetime) -> None:
    """End an order by what became of its trade or by time; one that has ended meanwhile stays as it ended.

    What became of the trade is written down all the same: a result must not fail over its order.
    """
    closing = {"closed_by": SYSTEM.name, "closed_reason": reason[:500], "closed_at": now}
    if _is_moved(session, order, to, closing):
        write_down(session, order, to, SYSTEM, reason, now)


def attempt_ended(session: WorkSession, attempt: Attempt, now: datetime) -> None:
    """An attempt has ended: so has the order of its trade, unless the repair goes on by itself.

    The attempt may be one after the order's own, which has finished what that left half done. Of one before
    it, whose end is told late, the order knows nothing.
    """
    order = session.scalars(
        select(MoneyOrder).where(MoneyOrder.anomaly_id == attempt.anomaly_id, MoneyOrder.state == "issued")
    ).first()
    if order is None or attempt.outcome is None or attempt.id < (order.attempt_id or 0):
        return
    order.outcome, order.outcome_reason = attempt.outcome, attempt.outcome_reason
    session.flush()
    if attempt.outcome not in UNDER_WAY:
        _end(session, order, "done", attempt.outcome_reason, now)


def anomaly_closed(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    """Whatever closed the trade's anomaly, there is nothing left to order of it."""
    order = find_live(session, anomaly.group_id, anomaly.trade_no)
    if order is None:
        return
    if order.state == "issued":
        order.outcome = "already_consistent" if anomaly.state != "ignored" else order.outcome
        session.flush()
        _end(session, order, "done", anomaly.state, now)
    else:
        _end(session, order, "expired", TRADE_CLOSED, now)


def has_over(session: ReadSession, now: datetime) -> bool:
    """Return whether close_over would find anything; a read that needs no lock."""
    return session.scalars(_over(now).limit(1)).first() is not None


def close_over(session: WorkSession, now: datetime, anomaly_id: int | None = None) -> int:
    """End the orders whose time is up, and those issued whose trade is with a person again; return how many.

    One issued of which nothing has come, nor goes on, is ended with its trade given to a person: a plan must
    not pay what somebody has ordered reversed.
    ``anomaly_id``: of that anomaly only.
    """
    statement = _over(now).limit(BATCH)
    if anomaly_id is not None:
        statement = statement.where(MoneyOrder.anomaly_id == anomaly_id)
    orders = list(session.scalars(statement))
    for order in orders:
        if order.state == "issued":
            if order.anomaly.state == "open":
                _hand_over(session, order.anomaly, now)
            _end(session, order, "done", order.anomaly.reason, now)
        else:
            _end(session, order, "expired", NOT_IN_TIME, now)
    return len(orders)


def _hand_over(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    anomaly.reason = WITHOUT_EFFECT
    change_state(
        session,
        anomaly,
        "needs_human",
        code="order_without_effect",
        reason=WITHOUT_EFFECT,
        actor=SYSTEM,
        now=now,
    )


def _over(now: datetime) -> Select[MoneyOrder]:
    """Issuing takes an anomaly from a person; of one that is back with a person the order was carried out."""
    is_late = (MoneyOrder.state == "proposed") & (MoneyOrder.expires_at <= now)
    is_idle = and_(Anomaly.state == "open", ~Anomaly.has_moved_money, Anomaly.unknown_since.is_(None))
    is_back = (MoneyOrder.state == "issued") & or_(Anomaly.state.in_(WITH_A_PERSON), is_idle)
    return (
        select(MoneyOrder)
        .join(Anomaly, Anomaly.id == MoneyOrder.anomaly_id)
        .where(MoneyOrder.state.in_(LIVE_STATES), or_(is_late, is_back))
        .order_by(MoneyOrder.id)
    )
