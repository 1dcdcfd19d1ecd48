"""Bulk repairs: begun from a selection; paused, resumed and stopped by a person."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert

from app.anomalies.queries import AnomalyFilter
from app.anomalies.service import GroupIds
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, NotFoundError
from app.executions import beyond_shown, bulk_course, bulk_shown
from app.executions.bulk_models import BY_PERSON, FIRST_STAGE, BulkItem, BulkRepair
from app.executions.bulk_states import change, lock, write_down
from app.executions.models import Attempt
from app.executions.selection import Chosen, choose
from app.executions.selection_shown import (
    foresee_chosen,
    foresee_pending,
    keep_shown,
    require_not_attempted,
    require_not_begun,
)
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.keyset import ReadSession
from app.plans.queries import plans_of
from app.unit_of_work import WorkSession

LIMIT: Final = 5_000
"""How many trades one selection takes; the next one goes on with the others."""


@dataclass(frozen=True)
class Begun:
    """What became of a selection: one bulk repair a group, or an attempt where it was a single trade.

    ``sent``: the trades taken. ``skipped``: those left out, ``changed`` of them for want of being as a form
    showed them. ``is_all`` is false where LIMIT left some out.
    """

    bulks: tuple[BulkRepair, ...]
    attempt: Attempt | None
    sent: int
    skipped: int
    is_all: bool
    changed: int = 0


def begin(
    session: WorkSession,
    wanted: AnomalyFilter,
    order: Order,
    *,
    limit: int = LIMIT,
    seen: Mapping[int, str] | None = None,
    figures: Mapping[str, str] | None = None,
) -> Begun:
    """Begin to repair a selection: the first trade of each group at once, the others as those end well.

    What cannot be attempted now is skipped; so is what is not as a form showed it: ``seen`` are the digests
    the form carries (app.executions.shown), by anomaly id, None where nobody ticked single rows. A single
    trade needs no canary: it is attempted as by a click on it alone. ``figures``: what the form carries of
    limits and breakers (beyond_shown) and of other bulk repairs (selection_shown), None where there was none.
    Raises InvalidError for the reason, ConflictError: beyond_grew, selection_begun, selection_tried.
    """
    reason = required_reason(order.reason)
    if figures is not None:
        require_not_begun(session, figures, wanted)
    choice = choose(session, wanted, limit, order.now)
    chosen = choice.chosen if seen is None else keep_shown(session, choice.chosen, seen)
    _require_shown(session, chosen, figures, order.now)
    sent, changed = len(chosen), len(choice.chosen) - len(chosen)
    skipped = choice.skipped + changed
    if sent == 1:
        if figures is not None and seen is None:
            require_not_attempted(session, figures, chosen[0])
        attempt = attempt_one(session, chosen[0].anomaly_id, order, group_ids=None)
        return Begun((), attempt, sent, skipped, choice.is_all, changed)
    by_group: dict[int, list[Chosen]] = defaultdict(list)
    for one in chosen:
        by_group[one.group_id].append(one)
    bulks = tuple(_begin_one(session, group_id, some, order, reason) for group_id, some in by_group.items())
    return Begun(bulks, None, sent, skipped, choice.is_all, changed)


def _require_shown(
    session: WorkSession, chosen: Sequence[Chosen], figures: Mapping[str, str] | None, now: datetime
) -> None:
    if figures is None:
        return
    plans = plans_of(session, {(one.group_id, one.fixer_code) for one in chosen})
    found = foresee_chosen(session, plans.values(), chosen, now)
    beyond_shown.require_no_more(figures, beyond_shown.figures_of_many(found))


def _begin_one(
    session: WorkSession, group_id: int, chosen: Sequence[Chosen], order: Order, reason: str
) -> BulkRepair:
    bulk = BulkRepair(
        group_id=group_id,
        state="running",
        stage=FIRST_STAGE,
        trigger=order.trigger,
        actor_id=order.actor.id,
        actor_name=order.actor.name,
        reason=reason,
        total=len(chosen),
        created_at=order.now,
        changed_at=order.now,
    )
    session.add(bulk)
    session.flush()
    session.execute(insert(BulkItem), [_item(bulk.id, one) for one in in_order(chosen)])
    detail = {"total": bulk.total, "trigger": bulk.trigger}
    write_down(session, bulk, "bulk.start", order.actor, reason, detail, order.now)
    bulk_course.tend(session, bulk.id, order.now)
    return bulk


def _item(bulk_id: int, one: Chosen) -> dict[str, Any]:
    """Return the row of one trade, with all that it is held against once its turn comes."""
    return {
        "bulk_id": bulk_id,
        "anomaly_id": one.anomaly_id,
        "trade_no": one.trade_no,
        "fixer_code": one.fixer_code,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "state": "pending",
    }


def in_order(chosen: Iterable[Chosen]) -> list[Chosen]:
    """Return trades in the order they are repaired: fixer by fixer in turn, of each the smallest amount
    first; those that wait for the bank last.

    So the first ones try every fixer of the selection, what goes wrong first costs least, and what likely
    waits on pauses none that can be repaired.
    """
    by_fixer: dict[str, list[Chosen]] = defaultdict(list)
    for one in sorted(chosen, key=lambda one: (one.is_waiting, one.amount_minor or 0, one.anomaly_id)):
        by_fixer[one.fixer_code].append(one)
    ranked = [(rank, one) for some in by_fixer.values() for rank, one in enumerate(some)]
    ranked.sort(key=lambda pair: (pair[1].is_waiting, pair[0], pair[1].amount_minor or 0))
    return [one for _rank, one in ranked]


def get_bulk(session: ReadSession, bulk_id: int, group_ids: GroupIds) -> BulkRepair:
    """Return a bulk repair. Raises NotFoundError('bulk')."""
    bulk = session.get(BulkRepair, bulk_id)
    if bulk is None or (group_ids is not None and bulk.group_id not in group_ids):
        raise NotFoundError("bulk")
    return bulk


def pause(
    session: WorkSession, bulk_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> BulkRepair:
    """Begin no further trade; what is under way ends by itself.

    Raises NotFoundError('bulk'), InvalidError for the reason, ConflictError('bulk_state'), and
    ConflictError('bulk_all_begun') where nothing is left that could be held back.
    """
    reason = required_reason(reason)
    bulk = _with_pending(_in_state(session, bulk_id, group_ids, ("running",)))
    change(session, bulk, "paused", actor, reason, now, code=BY_PERSON, detail=reason)
    return bulk


def resume(
    session: WorkSession,
    bulk_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    seen: Mapping[str, str] | None = None,
) -> BulkRepair:
    """Go on with the stage: what ended otherwise is left to its own course, another trade takes its place.

    From now on it goes on in the name of whoever resumed it. ``seen``: what the form carries (bulk_shown),
    None where there was none. Raises as pause, but for bulk_all_begun, and ConflictError: bulk_changed,
    beyond_grew.
    """
    reason = required_reason(reason)
    bulk = _in_state(session, bulk_id, group_ids, ("paused",))
    if seen is not None:
        bulk_shown.require_shown(bulk, seen, foresee_pending(session, bulk, now))
    told = {} if actor.id == bulk.actor_id else {"in_name_of": bulk.actor_name}
    bulk.actor_id, bulk.actor_name = actor.id, actor.name
    change(session, bulk, "running", actor, reason, now, told=told)
    bulk_course.tend(session, bulk.id, now)
    return bulk


def stop(
    session: WorkSession, bulk_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> BulkRepair:
    """End it: no further trade begins, what is under way ends by itself. Raises as pause."""
    reason = required_reason(reason)
    bulk = _with_pending(_in_state(session, bulk_id, group_ids, ("running", "paused")))
    change(session, bulk, "stopped", actor, reason, now, code=BY_PERSON, detail=reason)
    return bulk


def _in_state(session: WorkSession, bulk_id: int, group_ids: GroupIds, states: tuple[str, ...]) -> BulkRepair:
    get_bulk(session, bulk_id, group_ids)
    bulk = lock(session, bulk_id)
    if bulk is None:
        raise NotFoundError("bulk")
    if bulk.state not in states:
        raise ConflictError("bulk_state", state=bulk.state)
    return bulk


def _with_pending(bulk: BulkRepair) -> BulkRepair:
    if not bulk.pending:
        raise ConflictError("bulk_all_begun")
    return bulk
