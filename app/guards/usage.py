"""What is used of a plan's limits now, and what its breaker counts: by the queries that the guards ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flask import Flask

from app.clock import current_time
from app.extensions import db
from app.guards.breakers import read_counts_from, subject_of_plan
from app.guards.counting import (
    DAY,
    FAILURES,
    HOUR,
    amounts_since,
    of_plan,
    outcomes_since,
    read_used,
    returned,
)
from app.guards.limits import has_window
from app.keyset import ReadSession
from app.plans.models import Plan


@dataclass(frozen=True)
class Use:
    """What is used of one limit, and what of it is left; amounts in minor units of ``currency``, '' of a
    count.
    """

    used: int
    left: int
    currency: str = ""


@dataclass(frozen=True)
class Usage:
    """``limits``: by the name of each limit of an hour or a day; an amount for each currency it was used in.

    What the plan's breaker counts: ``failed`` of ``attempts`` within the hour, ``returned`` trades within the
    day, and ``hour`` as limits has it.
    """

    limits: Mapping[str, list[Use]] = field(default_factory=dict)
    failed: int = 0
    attempts: int = 0
    returned: int = 0
    hour: list[Use] = field(default_factory=list)


def usage_of(session: ReadSession, plan: Plan, now: datetime) -> Usage:
    """Return what a plan has used by itself, and what its breaker would trip on."""
    subject = subject_of_plan(plan)
    thresholds = subject.thresholds
    hour = read_counts_from(session, subject, now - HOUR)
    day = read_counts_from(session, subject, now - DAY)
    outcomes = outcomes_since(session, of_plan(plan), hour, thresholds.attempts)
    back = session.scalars(returned(plan.group_id, day, now, plan.fixer_code)).all()
    bound = thresholds.hour_minor
    return Usage(
        limits=_limits(session, plan, now) if has_window(plan) else {},
        failed=sum(outcome in FAILURES for outcome in outcomes),
        attempts=len(outcomes),
        returned=len(back),
        hour=[] if bound is None else _amounts(bound, amounts_since(session, of_plan(plan), hour)),
    )


def _limits(session: ReadSession, plan: Plan, now: datetime) -> dict[str, list[Use]]:
    used = read_used(session, plan, now)
    found: dict[str, list[Use]] = {}
    amounts = (("limit_hour_minor", used.hour_minor), ("limit_day_minor", used.day_minor))
    for name, by_currency in amounts:
        limit: int | None = getattr(plan, name)
        if limit is not None:
            found[name] = _amounts(limit, by_currency)
    counts = (("limit_hour_count", used.hour_count), ("limit_day_count", used.day_count))
    for name, count in counts:
        limit = getattr(plan, name)
        if limit is not None:
            found[name] = [Use(count, max(limit - count, 0))]
    return found


def _amounts(limit: int, used: Mapping[str, int]) -> list[Use]:
    """Return what is left of a limit in each currency that it was used in; in ours where in none."""
    some = {currency: minor for currency, minor in used.items() if minor} or {"CNY": 0}
    return [Use(minor, max(limit - minor, 0), currency) for currency, minor in sorted(some.items())]


def init_app(app: Flask) -> None:
    """Let the page of a plan, in a room that knows no guards, ask for its usage."""
    app.jinja_env.globals["usage_of"] = lambda plan: usage_of(db.session, plan, current_time())
