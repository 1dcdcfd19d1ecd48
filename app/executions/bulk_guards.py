"""Whether a bulk repair would go beyond something that came after a person last gave their word for it.

No limit and no breaker holds what a person orders, but its form tells of those it goes beyond. A bulk repair
goes on for hours: what was lowered or has tripped since was seen by nobody. Read from the audit, whose
entries keep the order of what happened, whichever server's clock dated them.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import ColumnElement, func, select

from app.audit.models import AuditEntry
from app.executions.bulk_models import BulkRepair
from app.guards.clicks import Beyond
from app.guards.limits import UNKNOWN
from app.keyset import ReadSession
from app.plans.models import Plan
from app.thresholds import is_tightened

CAME_SINCE: Final = "guards_came_since"
"""Why a bulk repair is paused whose going on would pass a limit or a breaker that no form of it has shown."""

AMOUNTS: Final = ("limit_trade_minor", "limit_hour_minor", "limit_day_minor", "breaker_hour_minor")
"""The bounds of a plan beyond which lies whatever has no readable amount."""


def has_come_since(session: ReadSession, bulk: BulkRepair, plan: Plan, passed: Beyond) -> bool:
    """Return whether any of what the plan's trades go beyond came since the bulk repair was begun, or resumed
    last.
    """
    if not passed.told:
        return False
    of_bulk = _of("bulk", bulk.id), AuditEntry.action.in_(("bulk.start", "bulk.resume"))
    word = session.scalar(select(func.max(AuditEntry.id)).where(*of_bulk)) or 0
    has_tripped = any(_has_tripped_since(session, one.id, word) for one in passed.breakers)
    return has_tripped or (bool(passed.holds) and _was_narrowed_since(session, plan, word, passed.limits))


def _has_tripped_since(session: ReadSession, breaker_id: int, word: int) -> bool:
    trips = select(AuditEntry.id).where(
        _of("breaker", breaker_id), AuditEntry.action == "breaker.trip", AuditEntry.id > word
    )
    return session.scalars(trips.limit(1)).first() is not None


def _was_narrowed_since(session: ReadSession, plan: Plan, word: int, codes: Iterable[str]) -> bool:
    """Return whether one of these limits is narrower than it was, or the plan was made anew."""
    changes = select(AuditEntry.action, AuditEntry.detail).where(
        _of("plan", plan.id), AuditEntry.action.in_(("plan.create", "plan.update")), AuditEntry.id > word
    )
    before: dict[str, int | None] = {}
    for action, detail in session.execute(changes.order_by(AuditEntry.id)):
        if action == "plan.create":
            return True
        for name, (old, _new) in detail.get("changed", {}).items():
            before.setdefault(name, old)
    return any(_is_narrower(plan, before, code) for code in codes)


def _is_narrower(plan: Plan, before: Mapping[str, int | None], code: str) -> bool:
    """Return whether a limit is narrower than ``before``, which names what was changed."""
    if code != UNKNOWN:
        return code in before and is_tightened(before[code], getattr(plan, code))
    # What nobody can read passes the first bound of amounts, and no further one.
    now = [getattr(plan, name) for name in AMOUNTS]
    was = [before.get(name, value) for name, value in zip(AMOUNTS, now, strict=True)]
    return now != was and set(was) == {None} and plan.group.breaker_hour_minor is None


def _of(kind: str, identity: int) -> ColumnElement[bool]:
    return (AuditEntry.object_type == kind) & (AuditEntry.object_id == str(identity))
