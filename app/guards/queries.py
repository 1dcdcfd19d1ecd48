"""The list of circuit breakers: those that stop something first, then those of the past."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, exists, or_, select

from app.guards.models import Breaker
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.plans.models import Plan

_IS_OF_PLAN = (Plan.group_id == Breaker.group_id, Plan.fixer_code == Breaker.subject_name)
_HAS_SUBJECT = or_(Breaker.scope == "group", exists().where(*_IS_OF_PLAN))
"""The breaker of a plan that was deleted stops nothing, until one is made anew for its fixer."""
IS_TRIPPED = and_(Breaker.reset_at.is_(None), _HAS_SUBJECT)
_STATES: dict[str, ColumnElement[bool]] = {
    "tripped": IS_TRIPPED,
    "reset": Breaker.reset_at.is_not(None),
    "gone": and_(Breaker.reset_at.is_(None), ~_HAS_SUBJECT),
}


@dataclass(frozen=True)
class BreakerFilter:
    """What is looked for. ``group_ids`` None: of all groups; ``state`` '': whatever it is."""

    group_ids: Collection[int] | None = None
    state: str = ""

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions of a query."""
        found: list[ColumnElement[bool]] = []
        if self.group_ids is not None:
            found.append(Breaker.group_id.in_(self.group_ids))
        if self.state:
            found.append(_STATES[self.state])
        return found


def page_breakers(session: ReadSession, wanted: BreakerFilter, cut: Cut) -> Page[Breaker]:
    """Return a page of breakers: tripped first, then the newest. Raises InvalidError('cursor')."""
    order = Order(case((IS_TRIPPED, 1), else_=0), Breaker.id)
    return page_of(session, Breaker, wanted.conditions, order, cut)


def count_breakers(session: ReadSession, wanted: BreakerFilter) -> CappedCount:
    """Return how many breakers match."""
    return capped_count(session, Breaker, wanted.conditions)


def states_of(session: ReadSession, breakers: Sequence[Breaker]) -> dict[int, str]:
    """Return by id how each stands: tripped, reset, or gone with its plan; one query."""
    groups = {one.group_id for one in breakers if one.scope == "plan" and one.reset_at is None}
    plans = select(Plan.group_id, Plan.fixer_code).where(Plan.group_id.in_(groups))
    kept = {(group_id, code) for group_id, code in session.execute(plans)} if groups else set()
    return {one.id: _state_of(one, kept) for one in breakers}


def _state_of(breaker: Breaker, plans: set[tuple[int, str]]) -> str:
    if breaker.reset_at is not None:
        return "reset"
    is_kept = breaker.scope == "group" or (breaker.group_id, breaker.subject_name) in plans
    return "tripped" if is_kept else "gone"
