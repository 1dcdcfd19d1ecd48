"""What a plan may begin by itself, asked before any automatic attempt.

``let_go`` is the one question; other guards join it there. What has moved money is always gone on with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select

from app.anomalies.models import Anomaly
from app.anomalies.states import Hold, hold_all
from app.guards import breakers
from app.guards.breakers import Subject, counts_from, trip
from app.guards.counting import HOUR, amounts_since, of_plan, used_by
from app.guards.limits import UNKNOWN, Asked, Used, has_amount_limit, has_limit, has_window, judge
from app.guards.models import BegunRepair
from app.keyset import ReadSession
from app.plans.limits import LIMITS
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup


@dataclass(frozen=True)
class Candidate:
    """A repair that would be begun, and the hold that stands on it already, None where there is none."""

    asked: Asked
    hold: Hold | None


def is_looked_at(session: ReadSession, plan: Plan) -> ColumnElement[bool]:
    """Return the condition of the open anomalies that a tick of the plan looks at.

    Not those that a person has been left with, until the limits are others or an amount has become readable;
    where a breaker has tripped, only those half done.
    """
    if breakers.stops(session, plan):
        return Anomaly.has_moved_money.is_(True)
    became_readable = and_(Anomaly.hold_code == UNKNOWN, Anomaly.amount_minor >= 0, Anomaly.currency != "")
    return or_(
        Anomaly.has_moved_money,
        Anomaly.hold_code.is_(None),
        Anomaly.hold_terms != terms_of(plan),
        became_readable,
    )


def let_go(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> list[Anomaly]:
    """Return which of a plan's anomalies it may attempt by itself now, in order.

    What would pass a limit is held for a person; nothing new goes once a breaker has tripped, here or before.
    """
    new = [anomaly for anomaly in anomalies if not anomaly.has_moved_money]
    going = {anomaly.id for anomaly in anomalies if anomaly.has_moved_money}
    if new and not breakers.stops(session, plan):
        held = holds(session, plan, new, now)
        kept = [(anomaly, held[anomaly.id]) for anomaly in new if anomaly.id in held]
        hold_all(session, kept, now)
        free = [anomaly for anomaly in new if anomaly.id not in held]
        going |= {anomaly.id for anomaly in _within_thresholds(session, plan, free, now)}
    return [anomaly for anomaly in anomalies if anomaly.id in going]


def holds(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> dict[int, Hold]:
    """Return which anomalies would pass a limit of the plan, by id; those before them count with it.

    Until the end of the unit of work no other one of the plan can count. What is held already stays so.
    """

    def used() -> Used:
        _take_turn(session, plan)
        return used_by(session, plan, now)

    return holds_of(plan, [candidate_of(one) for one in anomalies], used)


def holds_of(plan: Plan, candidates: Sequence[Candidate], used: Callable[[], Used]) -> dict[int, Hold]:
    """Return the same of candidates. ``used``: asked where it matters what the plan has begun before."""
    terms = terms_of(plan)
    settled = ((one.asked.id, one.hold) for one in candidates if _is_settled(one, terms))
    found = {identity: hold for identity, hold in settled if hold is not None}
    asked = [one.asked for one in candidates if one.asked.id not in found]
    if not asked or not can_hold(plan):
        return found
    before = used() if has_window(plan) else Used()
    passed = judge(plan, before, asked, needs_amount=_needs_amount(plan))
    return found | {one: Hold(code, figures, terms) for one, (code, figures) in passed.items()}


def can_hold(plan: Plan) -> bool:
    """Return whether the plan has any limit that holds a trade."""
    return has_limit(plan) or _needs_amount(plan)


def candidate_of(anomaly: Anomaly) -> Candidate:
    """Return an anomaly as a repair that would be begun."""
    asked = Asked(anomaly.id, anomaly.amount_minor, anomaly.currency)
    if anomaly.hold_code is None:
        return Candidate(asked, None)
    return Candidate(asked, Hold(anomaly.hold_code, anomaly.hold_detail or {}, anomaly.hold_terms or ""))


def terms_of(plan: Plan) -> str:
    """Return what the plan's anomalies are held against, as Hold.terms has it."""
    limits = "/".join("" if value is None else str(value) for value in (getattr(plan, one) for one in LIMITS))
    return f"{plan.id}:{limits}:{'amount' if _needs_amount(plan) else ''}"


def _needs_amount(plan: Plan) -> bool:
    is_bounded = plan.breaker_hour_minor is not None or plan.group.breaker_hour_minor is not None
    return has_amount_limit(plan) or is_bounded


def _is_settled(one: Candidate, terms: str) -> bool:
    if one.hold is None or one.hold.terms != terms:
        return False
    return one.hold.code != UNKNOWN or not one.asked.is_readable


def _take_turn(session: WorkSession, plan: Plan) -> None:
    """Let no other server count for this plan, or its group, until this unit of work ends (PostgreSQL)."""
    session.execute(select(Plan.id).where(Plan.id == plan.id).with_for_update())
    if plan.group.breaker_hour_minor is not None:
        session.execute(select(SystemGroup.id).where(SystemGroup.id == plan.group_id).with_for_update())


def _within_thresholds(
    session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime
) -> Sequence[Anomaly]:
    """Return those before the first that would take an hour's amount over a breaker's threshold, which trips
    it."""
    bounded = [one for one in breakers.subjects_of(plan) if one.thresholds.hour_minor is not None]
    if not bounded or not anomalies:
        return anomalies
    _take_turn(session, plan)
    begun = [(subject, _begun(session, plan, subject, now)) for subject in bounded]
    for place, anomaly in enumerate(anomalies):
        amount = anomaly.amount_minor or 0
        for subject, sums in begun:
            before = sums.get(anomaly.currency, 0)
            if before + amount > (subject.thresholds.hour_minor or 0):
                figures = {
                    "threshold": subject.thresholds.hour_minor,
                    "used": before,
                    "amount": amount,
                    "currency": anomaly.currency,
                }
                trip(session, subject, "amount", figures, now)
                return anomalies[:place]
        for _subject, sums in begun:
            sums[anomaly.currency] = sums.get(anomaly.currency, 0) + amount
    return anomalies


def _begun(session: WorkSession, plan: Plan, subject: Subject, now: datetime) -> dict[str, int]:
    """Return what the subject has begun by itself within the hour, by currency."""
    since = counts_from(session, subject, now - HOUR, now)
    of_subject = of_plan(plan) if subject.scope == "plan" else BegunRepair.group_id == plan.group_id
    return amounts_since(session, of_subject, since)
