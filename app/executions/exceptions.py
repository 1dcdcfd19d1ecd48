"""异常处理: what a click can repair (待执行), and what only a person can bring on (待人工核查)."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import case, literal_column, or_, select

from app.anomalies.models import HELD_SQL, Anomaly
from app.anomalies.queries import (
    NEWEST_FIRST,
    AnomalyFilter,
    AnomalySort,
    conditions,
    count_anomalies,
    is_among,
    list_anomalies,
    open_counts,
)
from app.anomalies.service import GroupIds
from app.keyset import PAGE_SIZE, CappedCount, Cut, Order, Page, ReadSession, page_of
from app.plans import queries as plan_queries

EXECUTABLE: Final = "executable"
HUMAN: Final = "human"
TABS: Final = (EXECUTABLE, HUMAN)

MANUAL_FIRST: Final = AnomalySort("manual")
"""What waits for a click before what goes by itself: manual plans, and what is held. The newest first in
each. What a plan in shadow covers waits for neither."""
DEFAULT_SORTS: Final = {EXECUTABLE: MANUAL_FIRST, HUMAN: NEWEST_FIRST}
PAGE_SIZES: Final = {EXECUTABLE: PAGE_SIZE, HUMAN: PAGE_SIZE // 2}
"""What needs a person stands with facts and advice: half as many rows are a page."""


@dataclass(frozen=True)
class TabCounts:
    """How many stand in each tab before any filter, and how many are being repaired."""

    executable: int
    human: int
    repairing: int


@dataclass(frozen=True)
class Reach:
    """How much of a filter of 待执行 a click repairs, and how much plans in shadow cover."""

    clickable: CappedCount
    in_shadow: CappedCount


def tab_filter(session: ReadSession, wanted: AnomalyFilter, tab: str) -> AnomalyFilter:
    """Return ``wanted`` narrowed to a tab.

    待执行: open, waiting or exhausted, and a plan in force.
    待人工核查: with a person, or without such a plan.
    """
    in_force = plan_queries.pairs(session, None)
    if tab == HUMAN:
        # 方案等级 narrows all that stands here; whether a plan is in force says only why it does.
        return replace(wanted, tab=HUMAN, pairs=None, without_pairs=in_force, only_pairs=wanted.pairs)
    asked = in_force if wanted.pairs is None else tuple(set(in_force) & set(wanted.pairs))
    return replace(wanted, tab=EXECUTABLE, pairs=asked, without_pairs=None)


def reach_of_click(
    session: ReadSession, wanted: AnomalyFilter, going: AnomalyFilter, count: CappedCount
) -> Reach:
    """Tell apart what of a filter of 待执行 a click repairs, and what plans in shadow only foretell.

    ``going``: the same without what is stopped (held_back); ``count``: of all of it. Nothing is counted once
    more where nothing is stopped and no plan of it is in shadow.
    """
    in_shadow = set(wanted.pairs or ()) & set(plan_queries.pairs(session, None, is_shadow=True))
    if not in_shadow:
        clickable = count if going is wanted else count_anomalies(session, going)
        return Reach(clickable, CappedCount(0, is_capped=False))
    rest = tuple(one for one in going.pairs or () if one not in in_shadow)
    return Reach(
        count_anomalies(session, replace(going, pairs=rest)),
        count_anomalies(session, replace(wanted, pairs=tuple(in_shadow))),
    )


def list_exceptions(
    session: ReadSession, wanted: AnomalyFilter, cut: Cut, sort: AnomalySort = MANUAL_FIRST
) -> Page[Anomaly]:
    """Return one page of a tab. Raises InvalidError (cursor, sort)."""
    if sort.by != MANUAL_FIRST.by:
        return list_anomalies(session, wanted, cut, sort)
    return page_of(session, Anomaly, conditions(session, wanted), _manual_first(session), cut)


def count_tabs(session: ReadSession, group_ids: GroupIds) -> TabCounts:
    """Count both tabs, in one read of the open anomalies' index."""
    in_force = set(plan_queries.pairs(session, None))
    found: Counter[str] = Counter()
    for one in open_counts(session, group_ids):
        is_covered = (one.group_id, one.fixer_code) in in_force
        if one.state == "repairing":
            found["repairing"] += one.count
        elif one.state == "needs_human" or not is_covered:
            found[HUMAN] += one.count
        else:
            found[EXECUTABLE] += one.count
    return TabCounts(found[EXECUTABLE], found[HUMAN], found["repairing"])


def _manual_first(session: ReadSession) -> Order:
    manual = plan_queries.pairs(session, None, mode="manual", is_shadow=False)
    # Few are held, and their index tells which: no row is read for it.
    held = select(Anomaly.id).where(literal_column(HELD_SQL))
    return Order(case((or_(is_among(manual), Anomaly.id.in_(held)), 1), else_=0), Anomaly.id)
