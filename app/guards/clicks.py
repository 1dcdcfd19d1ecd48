"""What a person's click goes beyond: no limit and no breaker holds what a person orders, but they are told.

Asked before the click for its form, and once more by the click itself, for the audit trail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.anomalies.models import Anomaly
from app.anomalies.states import Hold
from app.guards import breakers
from app.guards.counting import read_used
from app.guards.models import Breaker
from app.guards.verdicts import Candidate, candidate_of, holds, holds_of
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession


@dataclass(frozen=True)
class Beyond:
    """What repairs by one plan go beyond: ``holds`` by anomaly id, of those over a limit; ``breakers`` that
    stop what the plan begins by itself.
    """

    holds: Mapping[int, Hold] = field(default_factory=dict)
    breakers: tuple[Breaker, ...] = ()

    @property
    def limits(self) -> list[str]:
        """The codes of the limits that are passed."""
        return sorted({one.code for one in self.holds.values()})

    @property
    def told(self) -> dict[str, Any]:
        """The same for the audit trail; empty where a tick would do the same."""
        found: dict[str, Any] = {}
        if self.holds:
            found |= {"over_limit": len(self.holds), "limits": self.limits}
        return found | ({"breakers": [one.id for one in self.breakers]} if self.breakers else {})


def beyond(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> Beyond:
    """Return what a click on a plan's anomalies goes beyond. What has moved money passes no limit."""
    held = holds(session, plan, [one for one in anomalies if not one.has_moved_money], now)
    return Beyond(held, tuple(breakers.stops(session, plan)))


def foresee(session: ReadSession, plan: Plan, candidates: Sequence[Candidate], now: datetime) -> Beyond:
    """Return what a click would go beyond, without writing; ``candidates`` are those that have moved none."""
    held = holds_of(plan, candidates, lambda: read_used(session, plan, now))
    return Beyond(held, tuple(breakers.stops(session, plan)))


def foresee_one(session: ReadSession, plan: Plan | None, anomaly: Anomaly, now: datetime) -> Beyond:
    """Return what a click on one anomaly would go beyond; nothing without a plan."""
    if plan is None:
        return Beyond()
    return foresee(session, plan, [] if anomaly.has_moved_money else [candidate_of(anomaly)], now)
