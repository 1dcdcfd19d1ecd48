"""What is not begun by itself now, behind a breaker or under a stop: no time is promised for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from app.agents.standing import find_blocks
from app.agents.stops import has_work
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.keyset import ReadSession
from app.notices import ALL, PLAN, Notice, holding, notices_of
from app.plans.models import Plan


def marks_of(
    session: ReadSession, anomalies: Sequence[Anomaly], plans: Mapping[tuple[int, str], Plan]
) -> dict[int, list[Notice]]:
    """Return by anomaly what keeps its plan from beginning its repair; absent: nothing does."""
    told = notices_of(PLAN, session, list(plans.values()))
    found = {}
    for anomaly in anomalies:
        plan = plans.get((anomaly.group_id, anomaly.fixer_code or ""))
        marks = [] if plan is None else holding(told[plan.id], has_moved_money=anomaly.has_moved_money)
        if marks:
            found[anomaly.id] = marks
    return found


def answers_clicks(anomaly: Anomaly, plans: Mapping[tuple[int, str], Plan], marks: Sequence[Notice]) -> bool:
    """Whether a click may repair an anomaly: its plan is not in shadow, and none of its marks is a stop."""
    plan = plans.get((anomaly.group_id, anomaly.fixer_code or ""))
    is_in_shadow = plan is not None and plan.is_shadow
    return not is_in_shadow and all(one.holds != ALL for one in marks)


def ids_for_click(
    anomalies: Sequence[Anomaly],
    plans: Mapping[tuple[int, str], Plan],
    marks: Mapping[int, Sequence[Notice]],
) -> set[int]:
    """Return the ids of those that a click may repair; ``marks`` as marks_of returns them."""
    return {one.id for one in anomalies if answers_clicks(one, plans, marks.get(one.id, []))}


def without_stopped(session: ReadSession, wanted: AnomalyFilter, now: datetime) -> AnomalyFilter:
    """Return a filter of the executable without what a stop holds back from clicks too; where none stands,
    itself."""
    if not wanted.pairs or not has_work(session):
        return wanted
    seen = [one for one in wanted.pairs if wanted.group_ids is None or one[0] in wanted.group_ids]
    blocked = find_blocks(session, seen, now)
    return replace(wanted, pairs=tuple(one for one in seen if one not in blocked)) if blocked else wanted
