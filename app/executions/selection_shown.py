"""What the form of many repairs showed: nothing of them is repaired that it did not show.

A ticked row is held against what the form showed of it (app.executions.shown). All of a filter may be too
many for that: its form carries the figures of its table, by plan. Fewer trades and smaller sums are fine, for
on a busy system some are repaired all the while; more of either was seen by nobody. Both forms carry which
bulk repair, and which attempt, was the newest: one that is sent twice begins no second canary, nor a second
attempt of the only trade that is left.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.columns import bounded
from app.errors import ConflictError
from app.executions import shown
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.selection import Chosen, PlanShare, Preview, is_attempted_since, is_in_bulk_since
from app.executions.service import CLICKABLE_STATES
from app.guards import breakers
from app.guards.clicks import Beyond, foresee
from app.guards.verdicts import can_hold
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.queries import plans_of

GREW: Final = "selection_grew"
BEGUN: Final = "selection_begun"
TRIED: Final = "selection_tried"
NEWEST_BULK: Final = "newest_bulk"
NEWEST_ATTEMPT: Final = "newest_attempt"


def digests_of(session: ReadSession, chosen: Sequence[Chosen]) -> dict[int, str]:
    """Return what a form shows of each (shown.digest_of), by anomaly id; loads them."""
    identities = [one.anomaly_id for one in chosen]
    found = session.scalars(select(Anomaly).where(Anomaly.id.in_(identities))).unique()
    return {anomaly.id: shown.digest_of(anomaly) for anomaly in found}


def keep_shown(session: ReadSession, chosen: Sequence[Chosen], seen: Mapping[int, str]) -> tuple[Chosen, ...]:
    """Return those that are as the form showed them; ``seen``: the digests it carries, by anomaly id."""
    now = digests_of(session, chosen)
    return tuple(one for one in chosen if seen.get(one.anomaly_id) == now.get(one.anomaly_id, ""))


def figures_of(by_plan: Iterable[PlanShare]) -> dict[str, int]:
    """Return the figures of the table: of each plan how many trades, how many whose amount nobody can read,
    and the sum in minor units of each currency."""
    figures: dict[str, int] = {}
    for share in by_plan:
        named = {"count": share.count, "unreadable": share.unreadable, **share.amounts}
        figures.update((f"{share.plan.id}:{name}", value) for name, value in named.items())
    return figures


def require_no_more(seen: Mapping[str, str], by_plan: Iterable[PlanShare]) -> None:
    """Raise ConflictError('selection_grew') where a figure is greater now than the form showed it.

    ``seen``: the figures the form carries, as they came; what it does not say it has not shown.
    """
    if shown.has_grown(seen, figures_of(by_plan)):
        raise ConflictError(GREW)


def newest_of(foreseen: Preview) -> dict[str, int]:
    """Return what a form carries of the bulk repairs and attempts that there were when it was shown."""
    return {NEWEST_BULK: foreseen.newest_bulk, NEWEST_ATTEMPT: foreseen.newest_attempt}


def require_not_begun(session: ReadSession, seen: Mapping[str, str], wanted: AnomalyFilter) -> None:
    """Raise ConflictError('selection_begun') where any of a selection is in a bulk repair that began after
    the form was shown: it was sent before, or another person has begun with it meanwhile.
    """
    if is_in_bulk_since(session, wanted, bounded(shown.figure_of(seen, NEWEST_BULK))):
        raise ConflictError(BEGUN)


def require_not_attempted(session: ReadSession, seen: Mapping[str, str], only: Chosen) -> None:
    """Raise ConflictError('selection_tried') where what is left of a selection is a single trade, attempted
    since the form was shown: it was sent before, and no bulk repair tells of it.
    """
    if is_attempted_since(session, only.anomaly_id, bounded(shown.figure_of(seen, NEWEST_ATTEMPT))):
        raise ConflictError(TRIED, trade_no=only.trade_no)


def has_guard(session: ReadSession, plans: Iterable[Plan]) -> bool:
    """Return whether a click on trades of these plans may go beyond anything."""
    return any(can_hold(plan) or breakers.stops(session, plan) for plan in plans)


def foresee_chosen(
    session: ReadSession, plans: Iterable[Plan], chosen: Sequence[Chosen], now: datetime
) -> list[Beyond]:
    """Return what a click on a selection goes beyond, by plan; a plan's trades count one after the other."""
    by_pair: dict[tuple[int, str], list[Chosen]] = {}
    for one in chosen:
        by_pair.setdefault((one.group_id, one.fixer_code), []).append(one)
    found = []
    for plan in plans:
        new = [one for one in by_pair.get((plan.group_id, plan.fixer_code), []) if not one.has_moved_money]
        found.append(foresee(session, plan, [one.candidate for one in new], now))
    return found


def foresee_pending(session: ReadSession, bulk: BulkRepair, now: datetime) -> list[Beyond]:
    """Return the same of what a bulk repair has not begun: what its going on goes beyond."""
    rows = session.execute(
        select(
            Anomaly.id,
            Anomaly.trade_no,
            Anomaly.group_id,
            Anomaly.fixer_code,
            Anomaly.amount_minor,
            Anomaly.state == "waiting",
            Anomaly.currency,
            Anomaly.has_moved_money,
            Anomaly.hold_code,
            Anomaly.hold_terms,
        )
        .join(BulkItem, BulkItem.anomaly_id == Anomaly.id)
        .where(
            BulkItem.bulk_id == bulk.id,
            BulkItem.state == "pending",
            Anomaly.state.in_(CLICKABLE_STATES),
            Anomaly.fixer_code.is_not(None),
        )
        .order_by(BulkItem.id)
    )
    chosen = [
        Chosen(identity, trade_no, group_id, fixer_code or "", amount, is_waiting, currency, *held)
        for identity, trade_no, group_id, fixer_code, amount, is_waiting, currency, *held in rows
    ]
    plans = plans_of(session, {(one.group_id, one.fixer_code) for one in chosen})
    return foresee_chosen(session, plans.values(), chosen, now)
