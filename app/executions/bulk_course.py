"""How a bulk repair goes on: one trade repaired, and verified; then ten, verified; then the rest, and a pause
at whatever does not end well.

Everything rests on rows: any server may tend a bulk repair at any moment, and one that was stopped goes on.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select

from app.agents import commands
from app.agents.standing import find_block
from app.anomalies.models import Anomaly
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError
from app.executions import bulk_endings
from app.executions.bulk_choice import CODES as CHANGED_CODES
from app.executions.bulk_choice import changed_since
from app.executions.bulk_guards import CAME_SINCE, has_come_since
from app.executions.bulk_models import (
    GOING_ON,
    IS_LIVE_BULK,
    STAGE_SIZES,
    UNDER_WAY,
    BulkItem,
    BulkRepair,
)
from app.executions.bulk_states import change, lock, write_down
from app.executions.models import Attempt
from app.executions.order_guard import CODES as HELD_CODES
from app.executions.order_guard import find_holds
from app.executions.order_people import ROLE, may_order
from app.executions.service import refusal
from app.executions.starting import Order, start_attempts
from app.guards.clicks import beyond
from app.keyset import ReadSession
from app.lately import LITTLE
from app.plans.models import Plan
from app.plans.queries import plans_of
from app.unit_of_work import WorkSession
from app.users.models import User

WINDOW: Final = 20
"""How many trades of the last stage are under way at a time: so few go on by themselves once it is paused."""
CONSIDERED: Final = 500
"""So many trades are looked at in one unit of work, where most of them cannot be attempted."""
TRY_AGAIN_AFTER: Final = timedelta(seconds=10)
PATIENCE: Final = timedelta(minutes=6)
"""A trade that a Verify keeps busy, or is to tell of first, is tried again for so long, a little longer than
such a command lives."""
UNKNOWN: Final = "trade_unknown"
"""Why a trade is skipped of which nobody knows how its last attempt ended, and no Verify has told in time."""
TAKEN: Final = "in_newer_bulk"
"""Why a trade is skipped that a newer bulk repair has taken since, as the form of that one said."""
STOPPED: Final = "stopped_bulk"
"""Why a bulk repair is paused while a stop stands; its detail says whose and why."""
MAY_NOT: Final = "person_may_not"
"""Why a bulk repair is paused whose person may repair in its group no longer: another one may go on."""
OF_TRADE: Final = (
    "closed",
    "repairing",
    "no_fixer",
    "no_plan",
    "needs_human",
    TAKEN,
    *HELD_CODES,
    *CHANGED_CODES,
)
"""Why one trade cannot be attempted: it is skipped. Any other refusal holds for more than it, and pauses."""


def live_ids(session: ReadSession) -> list[int]:
    """Return the bulk repairs that run or have something under way; a read that needs no lock."""
    return list(session.scalars(select(BulkRepair.id).where(IS_LIVE_BULK).order_by(BulkRepair.id)))


def ended_ids(session: ReadSession) -> list[int]:
    """Return those of which a trade has ended, or was verified one way or the other, since they were tended;
    a read that needs no lock.
    """
    live = live_ids(session)
    if not live:
        return []
    has_ended = and_(BulkItem.state == "repairing", Attempt.outcome.is_not(None))
    was_verified = and_(BulkItem.state == "verifying", BulkItem.verified.not_in(("", *bulk_endings.NOT_YET)))
    found = select(BulkItem.bulk_id).outerjoin(Attempt, Attempt.id == BulkItem.attempt_id)
    found = found.where(BulkItem.bulk_id.in_(live), BulkItem.state.in_(UNDER_WAY), has_ended | was_verified)
    return sorted(session.scalars(found.distinct()))


def tend(session: WorkSession, bulk_id: int, now: datetime) -> None:
    """Take up what has ended, pause at what did not end well, begin what may begin."""
    bulk = lock(session, bulk_id)
    if bulk is None:
        return
    failed = bulk_endings.settle(session, bulk, now)
    _recount(session, bulk)
    if bulk.state == "running" and failed and bulk.pending:
        worst = failed[0]
        _pause(session, bulk, worst.outcome, now, detail=worst.detail, trade_no=worst.trade_no)
    if bulk.state == "running" and bulk.pending and (cause := _why_not(session, bulk)):
        _pause(session, bulk, MAY_NOT, now, told={"in_name_of": bulk.actor_name, "cause": cause})
    if bulk.state == "running":
        _go_on(session, bulk, now)
        _recount(session, bulk)
    if bulk.state in ("running", "paused") and not bulk.pending and not bulk.under_way:
        change(session, bulk, "finished", SYSTEM, "", now)


# ---- what begins


def _why_not(session: ReadSession, bulk: BulkRepair) -> str:
    """Return why the person in whose name it goes on may no longer repair in its group: gone, disabled, role,
    group; '' where they may, as the command line may.
    """
    if bulk.actor_id is None:
        return ""
    person = session.get(User, bulk.actor_id)
    if person is None:
        return "gone"
    if may_order(person, bulk.group_id):
        return ""
    if not person.is_enabled:
        return "disabled"
    return "group" if person.may(ROLE) else "role"


def _go_on(session: WorkSession, bulk: BulkRepair, now: datetime) -> None:
    while bulk.stage in STAGE_SIZES and _count(session, bulk, ("done",)) >= STAGE_SIZES[bulk.stage]:
        bulk.stage, bulk.changed_at = bulk.stage + 1, now
        session.touch("executions")
    if bulk.stage in STAGE_SIZES:
        room = STAGE_SIZES[bulk.stage] - _count(session, bulk, ("done", *UNDER_WAY))
    else:
        room = WINDOW - bulk.under_way
    considered = 0
    while room > 0 and considered < CONSIDERED and bulk.state == "running":
        items = _pending(session, bulk, room, now)
        if not items:
            return
        considered += len(items)
        room -= _begin(session, bulk, items, now)
        session.flush()


def _count(session: WorkSession, bulk: BulkRepair, states: Sequence[str]) -> int:
    of_stage = select(func.count()).where(
        BulkItem.bulk_id == bulk.id, BulkItem.stage == bulk.stage, BulkItem.state.in_(states)
    )
    return session.execute(of_stage).scalar_one()


def _is_its_turn(now: datetime) -> ColumnElement[bool]:
    """Return the condition on a pending trade that it is not put off; a clock put back ends that, too."""
    return or_(
        BulkItem.ask_at.is_(None),
        BulkItem.ask_at <= now,
        BulkItem.ask_at > now + TRY_AGAIN_AFTER + LITTLE,
    )


def _pending(session: WorkSession, bulk: BulkRepair, count: int, now: datetime) -> Sequence[BulkItem]:
    return session.scalars(
        select(BulkItem)
        .where(BulkItem.bulk_id == bulk.id, BulkItem.state == "pending", _is_its_turn(now))
        .order_by(BulkItem.id)
        .limit(count)
    ).all()


def _begin(session: WorkSession, bulk: BulkRepair, items: Sequence[BulkItem], now: datetime) -> int:
    """Attempt the trades; skip those that cannot be, pause where none can. Return how many were begun."""
    found = select(Anomaly).where(Anomaly.id.in_([item.anomaly_id for item in items]))
    anomalies = {anomaly.id: anomaly for anomaly in session.scalars(found).unique()}
    plans = plans_of(session, {(one.group_id, one.fixer_code) for one in anomalies.values()})
    holds = find_holds(session, list(anomalies.values()), by_person=True)
    taken = _taken_since(session, bulk, anomalies)
    by_plan: dict[int, tuple[Plan, list[BulkItem]]] = {}
    for item in items:
        anomaly = anomalies[item.anomaly_id]
        plan = plans.get((anomaly.group_id, anomaly.fixer_code or ""))
        code = refusal(anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled)
        code = code or holds.get(anomaly.id)
        if anomaly.id in taken and code not in OF_TRADE:
            code = TAKEN
        if code not in OF_TRADE:
            # Before what holds for a whole plan: that of another fixer is none of this bulk repair's.
            code = changed_since(item, anomaly) or code
        if code in OF_TRADE or (code is None and plan is None):
            _skip(item, code or "no_plan", now)
        elif code is not None:
            _pause(session, bulk, code, now, trade_no=item.trade_no)
            return 0
        elif anomaly.unknown_since is not None:
            # Whoever chose it may not have seen that: it is verified first, as by any plan.
            if not _put_off(item, now):
                _skip(item, UNKNOWN, now)
        elif plan is not None:
            by_plan.setdefault(plan.id, (plan, []))[1].append(item)
    begun = 0
    for plan, some in by_plan.values():
        if bulk.state == "running":
            begun += _attempt(session, bulk, plan, [(item, anomalies[item.anomaly_id]) for item in some], now)
    return begun


def _taken_since(session: WorkSession, bulk: BulkRepair, anomaly_ids: Iterable[int]) -> set[int]:
    """Return which of the trades a newer bulk repair has begun, or may yet begin: what becomes of them there
    is what a person has decided since.
    """
    is_taken = or_(
        BulkItem.state.in_((*UNDER_WAY, "done", "failed")),
        and_(BulkItem.state == "pending", BulkRepair.state.in_(GOING_ON)),
    )
    found = select(BulkItem.anomaly_id).join(BulkRepair, BulkRepair.id == BulkItem.bulk_id)
    newer = found.where(BulkItem.anomaly_id.in_(anomaly_ids), BulkItem.bulk_id > bulk.id, is_taken)
    return set(session.scalars(newer))


def _attempt(
    session: WorkSession,
    bulk: BulkRepair,
    plan: Plan,
    pairs: Sequence[tuple[BulkItem, Anomaly]],
    now: datetime,
) -> int:
    order = Order(bulk.trigger, Actor(bulk.actor_id, bulk.actor_name), bulk.reason, now)
    block = find_block(session, plan.group_id, plan.fixer_code, now)
    if block is not None:
        whose = {"stop_scope": block.scope, "stop_name": block.name, "stop_by": block.who}
        _pause(session, bulk, STOPPED, now, detail=block.told(), trade_no=pairs[0][0].trade_no, told=whose)
        return 0
    passed = beyond(session, plan, [anomaly for _item, anomaly in pairs], now)
    if has_come_since(session, bulk, plan, passed):
        _pause(session, bulk, CAME_SINCE, now, trade_no=pairs[0][0].trade_no)
        return 0
    if passed.told:
        told = {"stage": bulk.stage, "fixer_code": plan.fixer_code, **passed.told}
        write_down(session, bulk, "bulk.beyond", order.actor, bulk.reason, told, now)
    try:
        with session.begin_nested():
            attempts = start_attempts(session, [anomaly for _item, anomaly in pairs], plan, order)
    except ConflictError as error:
        # What guards a plan or a group refuses them all, and the trades stay as they were.
        _pause(session, bulk, error.code, now, trade_no=pairs[0][0].trade_no)
        return 0
    by_anomaly = {attempt.anomaly_id: attempt for attempt in attempts}
    for item, anomaly in pairs:
        attempt = by_anomaly.get(anomaly.id)
        if attempt is None:
            is_verified = _is_being_verified(session, anomaly)
            if not is_verified or not _put_off(item, now):
                _skip(item, "trade_busy", now)
        else:
            item.state, item.stage = "repairing", bulk.stage
            item.attempt_id, item.began_at, item.ask_at = attempt.id, now, None
    return len(by_anomaly)


def _is_being_verified(session: WorkSession, anomaly: Anomaly) -> bool:
    command = commands.find_live(session, anomaly.group_id, anomaly.trade_no)
    return command is not None and command.type == "Verify"


def _put_off(item: BulkItem, now: datetime) -> bool:
    """Let a trade be tried again soon, for PATIENCE at most; return whether it may be."""
    if item.began_at is None or item.began_at > now + LITTLE:
        item.began_at = now
    if now - item.began_at > PATIENCE:
        return False
    item.ask_at = now + TRY_AGAIN_AFTER
    return True


def _skip(item: BulkItem, code: str, now: datetime) -> None:
    item.outcome = code
    bulk_endings.end(item, "skipped", now)


# ---- its own state


def _pause(
    session: WorkSession,
    bulk: BulkRepair,
    code: str,
    now: datetime,
    *,
    detail: str = "",
    trade_no: str = "",
    told: Mapping[str, str] | None = None,
) -> None:
    change(session, bulk, "paused", SYSTEM, "", now, code=code, detail=detail, trade_no=trade_no, told=told)


def _recount(session: WorkSession, bulk: BulkRepair) -> None:
    session.flush()
    by_state = select(BulkItem.state, func.count()).where(BulkItem.bulk_id == bulk.id)
    counts: Counter[str] = Counter()
    for state, count in session.execute(by_state.group_by(BulkItem.state)):
        counts[state] = count
    before = (bulk.total, bulk.under_way, bulk.done, bulk.failed, bulk.skipped)
    bulk.under_way = sum(counts[state] for state in UNDER_WAY)
    bulk.done, bulk.failed, bulk.skipped = counts["done"], counts["failed"], counts["skipped"]
    bulk.total = counts.total()
    if before != (bulk.total, bulk.under_way, bulk.done, bulk.failed, bulk.skipped):
        session.touch("executions")
