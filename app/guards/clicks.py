"""What a person's click goes beyond: no limit and no breaker holds what a person orders, but they are told.

Asked before the click for its form, and once more by the click itself, for the audit trail.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.anomalies.models import Anomaly
from app.anomalies.states import Hold
from app.guards import breakers
from app.guards.counting import read_used
from app.guards.limits import Asked
from app.guards.models import Breaker
from app.guards.verdicts import Candidate, candidate_of, holds, holds_of
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession


@dataclass(frozen=True)
class Total:
    """How many trades, and their amounts in minor units by currency, of those that can be read."""

    count: int = 0
    amounts: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Total") -> "Total":
        amounts = Counter(self.amounts)
        amounts.update(other.amounts)
        return Total(self.count + other.count, amounts)


@dataclass(frozen=True)
class Beyond:
    """What repairs by one plan go beyond: ``holds`` by anomaly id, of those over a limit; ``breakers`` that
    stop what the plan begins by itself.

    ``over``: the trades over a limit; ``stopped``: those the breakers stop, all that have moved no money.
    """

    holds: Mapping[int, Hold] = field(default_factory=dict)
    breakers: tuple[Breaker, ...] = ()
    over: Total = Total()
    stopped: Total = Total()

    @property
    def limits(self) -> list[str]:
        """The codes of the limits that are passed."""
        return sorted({one.code for one in self.holds.values()})

    @property
    def told(self) -> dict[str, Any]:
        """The same for the audit trail; empty where a tick would do the same."""
        found: dict[str, Any] = {}
        if self.holds:
            found |= {"over_limit": len(self.holds), "over_minor": dict(self.over.amounts)}
            found["limits"] = self.limits
        if self.breakers:
            found |= {"stopped": self.stopped.count, "stopped_minor": dict(self.stopped.amounts)}
            found["breakers"] = [one.id for one in self.breakers]
        return found


def beyond(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> Beyond:
    """Return what a click on a plan's anomalies goes beyond: nothing with what has moved money."""
    new = [one for one in anomalies if not one.has_moved_money]
    return _found(session, plan, [candidate_of(one) for one in new], holds(session, plan, new, now))


def foresee(session: ReadSession, plan: Plan, candidates: Sequence[Candidate], now: datetime) -> Beyond:
    """Return what a click would go beyond, without writing; ``candidates`` are those that have moved none."""
    held = holds_of(plan, candidates, lambda: read_used(session, plan, now))
    return _found(session, plan, candidates, held)


def foresee_one(session: ReadSession, plan: Plan | None, anomaly: Anomaly, now: datetime) -> Beyond:
    """Return what a click on one anomaly would go beyond; nothing without a plan."""
    if plan is None:
        return Beyond()
    return foresee(session, plan, [] if anomaly.has_moved_money else [candidate_of(anomaly)], now)


def stopped_by(found: Iterable[Beyond]) -> list[tuple[Breaker, Total]]:
    """Return each breaker that clicks on several plans go beyond, and the trades that it stops."""
    totals: dict[int, tuple[Breaker, Total]] = {}
    for one in found:
        for breaker in one.breakers:
            before = totals.get(breaker.id, (breaker, Total()))[1]
            totals[breaker.id] = breaker, before + one.stopped
    return list(totals.values())


def _found(
    session: ReadSession, plan: Plan, candidates: Sequence[Candidate], held: Mapping[int, Hold]
) -> Beyond:
    if not candidates:
        return Beyond()
    asked = [one.asked for one in candidates]
    tripped = tuple(breakers.stops(session, plan))
    over = _total(one for one in asked if one.id in held)
    return Beyond(held, tripped, over, _total(asked) if tripped else Total())


def _total(asked: Iterable[Asked]) -> Total:
    count, amounts = 0, Counter[str]()
    for one in asked:
        count += 1
        if one.is_readable:
            amounts[one.currency] += one.amount_minor or 0
    return Total(count, amounts)
