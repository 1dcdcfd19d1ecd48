"""Orders of people that move money of a trade debited and finally unpaid: 再付 (pay again), 冲正 (reverse).

A person proposes on the facts as last read, which their form showed; above the group's limit another one
confirms on the same facts.
Then a Repair with the action goes to agents that can carry it out, which read everything afresh and refuse
on any other facts. order_course.py has what becomes of it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from agent.facts import Facts
from agent.unpaid import Action, digest_of, find_obstacle
from app.agents.models import Agent
from app.agents.service import list_online
from app.anomalies.models import Anomaly
from app.anomalies.service import GroupIds, get_anomaly
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, ForbiddenError, NotFoundError
from app.executions import order_course, shown
from app.executions.order_guard import facts_of, is_order_only
from app.executions.order_limits import limit_for
from app.executions.order_models import MoneyOrder
from app.executions.order_people import may_order, person_of, require_another
from app.executions.standing_refusals import find_refusal
from app.executions.starting import Order, start_attempt
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.service import find_plan
from app.unit_of_work import WorkSession
from app.users.models import User

LASTS: Final = timedelta(hours=24)
"""How long a proposal waits for a second person."""

# ---- looking


def get_order(session: ReadSession, order_id: int, group_ids: GroupIds) -> MoneyOrder:
    """Return the order. Raises NotFoundError('order')."""
    order = session.get(MoneyOrder, order_id)
    if order is None or (group_ids is not None and order.group_id not in group_ids):
        raise NotFoundError("order")
    return order


def is_orderable(session: ReadSession, anomaly: Anomaly) -> bool:
    """Return whether a trade is in a state to be ordered of: with a person, or open where no click pays."""
    if anomaly.state == "open":
        return is_order_only(session, anomaly)
    return anomaly.state in order_course.WITH_A_PERSON


def needs_second(anomaly: Anomaly, facts: Facts | None, limit_minor: int) -> bool:
    """Return whether an order takes a second person: above the limit, or where the amount is in any doubt."""
    if facts is None:
        return True
    is_clear = anomaly.amount_minor == facts.amount_minor and anomaly.currency == facts.currency == "CNY"
    return not is_clear or facts.amount_minor > limit_minor


def shown_to(session: ReadSession, anomaly: Anomaly, person_id: int | None, now: datetime) -> str:
    """Return the digest of what the form of a new order shows a person, also whether it is issued at once."""
    return shown.digest_of(anomaly, _takes_second(session, anomaly, person_id, now))


def _takes_second(session: ReadSession, anomaly: Anomaly, person_id: int | None, now: datetime) -> bool:
    limit = limit_for(session, anomaly.group_id, person_id, now)
    return needs_second(anomaly, facts_of(anomaly), limit.minor)


# ---- proposing


def propose(
    session: WorkSession,
    anomaly_id: int,
    action: Action,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    seen: str | None = None,
) -> MoneyOrder:
    """Order an action; it is issued at once where no second person is needed.

    ``seen`` is what the form showed (``shown_to``), None where there was none. Raises
    NotFoundError('anomaly'), InvalidError for the reason, ForbiddenError, ConflictError: seen_changed,
    order_not_allowed on these facts, order_live, order_no_agent, and those of standing_refusals.
    """
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    person = person_of(session, actor, anomaly.group_id)
    shown.require_same(seen, anomaly, _takes_second(session, anomaly, person.id, now))
    reason = required_reason(reason)
    order_course.close_over(session, now, anomaly.id)
    plan = _require_orderable(session, anomaly, now)
    facts = facts_of(anomaly)
    if facts is None or find_obstacle(facts, action) is not None:
        raise ConflictError("order_not_allowed")
    order = _write(session, anomaly, action, facts, person, reason, now)
    order_course.write_down(session, order, "propose", actor, reason, now)
    if not order.needs_second:
        _issue(session, order, anomaly, plan, actor, now)
    return order


def _require_orderable(session: WorkSession, anomaly: Anomaly, now: datetime) -> Plan:
    refused = find_refusal(session, anomaly, now)
    if refused is not None:
        raise refused
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    if plan is None or not is_orderable(session, anomaly):
        raise ConflictError(anomaly.state)
    return plan


def _write(
    session: WorkSession,
    anomaly: Anomaly,
    action: Action,
    facts: Facts,
    person: User,
    reason: str,
    now: datetime,
) -> MoneyOrder:
    limit = limit_for(session, anomaly.group_id, person.id, now).minor
    order = MoneyOrder(
        group=anomaly.group,
        anomaly_id=anomaly.id,
        trade_no=anomaly.trade_no,
        action=action,
        state="proposed",
        amount_minor=facts.amount_minor,
        currency=facts.currency,
        row_hash=anomaly.row_hash,
        facts_hash=digest_of(facts),
        needs_second=needs_second(anomaly, facts, limit),
        limit_minor=limit,
        proposed_by_id=person.id,
        proposed_by=person.username,
        reason=reason,
        proposed_at=now,
        expires_at=now + LASTS,
        confirmed_by="",
        confirm_reason="",
        outcome_reason="",
        closed_by="",
        closed_reason="",
    )
    try:
        with session.begin_nested():
            session.add(order)
            session.flush()
    except IntegrityError as error:
        raise ConflictError("order_live", trade_no=anomaly.trade_no) from error
    return order


# ---- the second person


def shown_to_second(session: ReadSession, order: MoneyOrder, anomaly: Anomaly) -> str:
    """Return the digest of what the form of confirming shows, also whether it still issues the order."""
    return shown.digest_of(anomaly, why_stale(session, order, anomaly) is not None)


def confirm(
    session: WorkSession,
    order_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    seen: str | None = None,
) -> MoneyOrder:
    """Confirm another person's order and issue it.

    One whose time is up, whose facts or row have changed, or whose proposer may no longer order is
    ``expired`` instead, and must be proposed anew. ``seen`` is what the form showed (``shown_to_second``),
    None where there was none. Raises NotFoundError('order'), InvalidError for the reason, ForbiddenError,
    ConflictError: order_over, order_own, order_own_account, seen_changed, order_no_agent, trade_busy, and
    those of standing_refusals.
    """
    order = _proposed(session, order_id, group_ids)
    person = person_of(session, actor, order.group_id)
    require_another(session, order, person, now)
    anomaly = session.get_one(Anomaly, order.anomaly_id)
    stale = order_course.NOT_IN_TIME if now >= order.expires_at else why_stale(session, order, anomaly)
    if stale is None:
        shown.require_same(seen, anomaly, False)
    reason = required_reason(reason)
    if stale is not None:
        order_course.close(session, order, "expired", actor, stale, now)
        return order
    plan = _require_orderable(session, anomaly, now)
    confirmed = {"confirmed_by_id": person.id, "confirmed_by": person.username, "confirm_reason": reason}
    order_course.move(session, order, "proposed", **confirmed)
    order_course.write_down(session, order, "confirm", actor, reason, now)
    _issue(session, order, anomaly, plan, actor, now)
    return order


def reject(
    session: WorkSession, order_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> MoneyOrder:
    """Say no to another person's order. Raises as confirm does, but nothing is too old to be refused."""
    reason = required_reason(reason)
    order = _proposed(session, order_id, group_ids)
    if person_of(session, actor, order.group_id).id == order.proposed_by_id:
        raise ConflictError("order_own")
    order_course.close(session, order, "rejected", actor, reason, now, "reject")
    return order


def withdraw(
    session: WorkSession, order_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> MoneyOrder:
    """Take one's own order back. Raises NotFoundError, InvalidError, ForbiddenError, ConflictError."""
    reason = required_reason(reason)
    order = _proposed(session, order_id, group_ids)
    if person_of(session, actor, order.group_id).id != order.proposed_by_id:
        raise ForbiddenError
    order_course.close(session, order, "withdrawn", actor, reason, now, "withdraw")
    return order


def _proposed(session: WorkSession, order_id: int, group_ids: GroupIds) -> MoneyOrder:
    order = get_order(session, order_id, group_ids)
    if order.state != "proposed":
        raise ConflictError("order_over")
    return order


def why_stale(session: ReadSession, order: MoneyOrder, anomaly: Anomaly) -> str | None:
    """Return why an order no longer stands on what its proposer saw, None where it does."""
    facts, proposer = facts_of(anomaly), session.get(User, order.proposed_by_id)
    if not is_orderable(session, anomaly):
        is_closed = anomaly.closed_at is not None
        return order_course.TRADE_CLOSED if is_closed else "the trade is with the machine again"
    if facts is None or (anomaly.row_hash, digest_of(facts)) != (order.row_hash, order.facts_hash):
        return "the facts have changed since the order was given"
    if proposer is None or not may_order(proposer, order.group_id):
        return "the proposer may no longer order"
    return None


# ---- issuing


def _issue(
    session: WorkSession, order: MoneyOrder, anomaly: Anomaly, plan: Plan, actor: Actor, now: datetime
) -> None:
    """Command the repair, to agents that can do it, in the actor's own words: the confirmer's where there is
    one, else the proposer's.

    Raises ConflictError: order_no_agent, trade_busy.
    """
    if not agents_able(session, anomaly.group_id, plan.fixer_code, order.action, now):
        raise ConflictError("order_no_agent", sys_code=anomaly.group.sys_code)
    reason = order.confirm_reason or order.reason
    asked = Order(order.action, actor, reason, now, facts_hash=order.facts_hash)
    attempt = start_attempt(session, anomaly, plan, asked)
    order_course.move(session, order, "issued", attempt_id=attempt.id, issued_at=now)
    order_course.write_down(session, order, "issue", actor, reason, now)


def agents_able(
    session: ReadSession, group_id: int, fixer_code: str | None, action: str, now: datetime
) -> Sequence[Agent]:
    """Return the online agents that offer the fixer and can carry the action out."""
    return [
        agent
        for agent in list_online(session, group_id, now)
        if fixer_code in agent.fixer_codes and action in agent.features
    ]
