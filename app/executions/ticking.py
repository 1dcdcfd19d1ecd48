"""What a due time sets off: attempts of a plan's anomalies, a group's recurring collection, its first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, and_, exists, or_, select, true

from app.agents.models import LIVE, Agent, Command
from app.agents.standing import find_block
from app.anomalies import collections, fleet
from app.anomalies.models import Anomaly, CollectionRun
from app.audit.service import SYSTEM
from app.executions.retries import exhaust, has_attempts_left
from app.executions.starting import start_by_plan
from app.executions.unknown import verify_at_tick
from app.guards.verdicts import is_looked_at
from app.keyset import ReadSession
from app.lately import LITTLE, is_lately
from app.plans import predictions
from app.plans.fixer_codes import group_codes
from app.plans.models import CollectionSchedule, Plan, Tick
from app.plans.ticks import Due, claim
from app.unit_of_work import WorkSession

PAGE: Final = 500
FIRST_CONNECT_PATIENCE: Final = timedelta(seconds=5)
"""The first collection waits so long, from the first agent's connection, for the group's other agents."""


VERIFY_AGAIN_AFTER: Final = timedelta(seconds=30)
"""A cron of every few seconds does not ask production about the same waiting trade each time."""

_NEVER_COLLECTED: Final = select(CollectionSchedule).where(
    CollectionSchedule.is_enabled,
    CollectionSchedule.runs_on_first_connect,
    ~exists().where(
        CollectionRun.group_id == CollectionSchedule.group_id,
        or_(
            CollectionRun.trigger == "first_start",
            CollectionRun.state.in_((*collections.LIVE_RUN_STATES, "finished", "incomplete")),
        ),
    ),
)
"""The schedules of groups whose first collection has not begun; asked each second, so built once."""


@dataclass(frozen=True)
class TickPage:
    """Where a plan's tick stands: the next page begins after anomaly ``last_id``; None: nothing is left."""

    tick_id: int
    plan_id: int
    last_id: int | None


def plans_with_work(session: ReadSession, due: Sequence[Due]) -> set[int]:
    """Return the ids of those of the due plans that have anomalies a tick looks at."""
    has_work = exists().where(
        Anomaly.group_id == Plan.group_id,
        Anomaly.fixer_code == Plan.fixer_code,
        Anomaly.state.in_(("open", "waiting")),
    )
    ids = [one.subject_id for one in due]
    return set(session.scalars(select(Plan.id).where(Plan.id.in_(ids), has_work))) if ids else set()


def begin_plan_tick(session: WorkSession, due: Due, now: datetime) -> TickPage | None:
    """Claim a plan's due time; None where another server was quicker or nothing is to be done.

    Nothing is attempted, and nothing spent, where no online agent of the group offers the fixer.
    """
    tick = claim(session, due, now)
    plan = session.get(Plan, due.subject_id)
    if tick is None or plan is None or not plan.group.is_enabled:
        return None
    if not fleet.is_offered(session, plan.group_id, plan.fixer_code, now):
        return None
    return TickPage(tick_id=tick.id, plan_id=plan.id, last_id=0)


def attempt_tick_page(session: WorkSession, page: TickPage, now: datetime) -> TickPage:
    """Go through the next PAGE anomalies of a claimed tick.

    Open ones get an attempt, or are exhausted when none is left; waiting ones get a Verify. While a stop
    stands open ones are left as they are. Of a plan in shadow all get a Verify only, once for each change of
    what is known.
    """
    plan, tick = session.get(Plan, page.plan_id), session.get(Tick, page.tick_id)
    if plan is None or tick is None or page.last_id is None:
        return TickPage(page.tick_id, page.plan_id, None)
    if plan.state != "normal" or not plan.group.is_enabled:
        return TickPage(page.tick_id, page.plan_id, None)
    wanted = _repairable(session, plan, page.last_id, now)
    if plan.is_shadow:
        wanted = wanted.where(predictions.is_unknown(plan, now))
    elif find_block(session, plan.group_id, plan.fixer_code, now) is not None:
        wanted = wanted.where(Anomaly.state == "waiting")
    anomalies = list(session.scalars(wanted).unique())
    if plan.is_shadow:
        tick.commands += verify_at_tick(session, plan, anomalies, now)
    else:
        tick.commands += _attempt(session, plan, anomalies, now)
    is_last = len(anomalies) < PAGE
    return TickPage(page.tick_id, page.plan_id, None if is_last else anomalies[-1].id)


def _attempt(session: WorkSession, plan: Plan, anomalies: Sequence[Anomaly], now: datetime) -> int:
    """Attempt what is open and no guard keeps back, verify what waits or is unknown.

    Returns how many commands that made.
    """
    waiting = [one for one in anomalies if one.state == "waiting" or one.unknown_since is not None]
    verifies = verify_at_tick(session, plan, waiting, now)
    ready = []
    for anomaly in anomalies:
        if anomaly.state != "open" or anomaly.unknown_since is not None:
            continue
        if has_attempts_left(anomaly, plan.max_retries):
            ready.append(anomaly)
        else:
            exhaust(session, anomaly, now)
    return verifies + len(start_by_plan(session, ready, plan, "", now))


def has_clicked(session: ReadSession) -> bool:
    """Return whether resume_clicked may find anything; a read that needs no lock."""
    return bool(_clicked(session))


def _clicked(session: ReadSession) -> list[Plan]:
    """Return the manual plans of which repairs have moved money and not ended."""
    begun = exists().where(
        Anomaly.group_id == Plan.group_id,
        Anomaly.fixer_code == Plan.fixer_code,
        Anomaly.state.in_(("open", "waiting")),
        Anomaly.has_moved_money,
    )
    plans = session.scalars(
        select(Plan).where(Plan.mode == "manual", Plan.state == "normal", ~Plan.is_shadow, begun)
    )
    return list(plans.unique())


def resume_clicked(session: WorkSession, now: datetime) -> int:
    """Go on with repairs that a click began and that have moved money; return how many commands that made.

    A manual plan has no ticks of repairs, but money on its way does not wait for a second click. A disabled
    plan repairs nothing, nor does one in shadow.
    """
    made = 0
    for plan in _clicked(session):
        if plan.group.is_enabled and fleet.is_offered(session, plan.group_id, plan.fixer_code, now):
            half_done = _repairable(session, plan, 0, now).where(Anomaly.has_moved_money)
            if find_block(session, plan.group_id, plan.fixer_code, now) is not None:
                half_done = half_done.where(Anomaly.state == "waiting")
            made += _attempt(session, plan, list(session.scalars(half_done).unique()), now)
    return made


def _repairable(session: ReadSession, plan: Plan, after_id: int, now: datetime) -> Select[Anomaly]:
    of_trade = and_(Command.group_id == Anomaly.group_id, Command.trade_no == Anomaly.trade_no)
    is_busy = exists().where(of_trade, Command.state.in_(LIVE))
    was_asked = exists().where(
        of_trade, Command.type == "Verify", is_lately(Command.created_at, now, VERIFY_AGAIN_AFTER)
    )
    # What a limit held before its plan went into shadow is foretold like the rest: nothing is begun by that.
    is_asked = true() if plan.is_shadow else is_looked_at(session, plan)
    return (
        select(Anomaly)
        .where(
            Anomaly.group_id == plan.group_id,
            Anomaly.fixer_code == plan.fixer_code,
            or_(
                and_(Anomaly.state == "open", is_asked),
                and_(Anomaly.state == "waiting", ~was_asked),
            ),
            Anomaly.id > after_id,
            ~is_busy,
        )
        .order_by(Anomaly.id)
        .limit(PAGE)
    )


def run_schedule_tick(session: WorkSession, due: Due, now: datetime) -> CollectionRun | None:
    """Claim a schedule's due time and collect; None where it was claimed, disabled, or a run still lives."""
    tick = claim(session, due, now)
    schedule = session.get(CollectionSchedule, due.subject_id)
    if tick is None or schedule is None or not schedule.group.is_enabled:
        return None
    if collections.has_live_run(session, schedule.group_id):
        return None
    tick.commands = 1
    return _collect(session, schedule, "cron", now)


def has_first_collections(session: ReadSession, now: datetime) -> bool:
    """Return whether start_first_collections would begin any; a read that needs no lock."""
    return bool(_first_collections(session, now))


def start_first_collections(session: WorkSession, now: datetime) -> int:
    """Collect once in each group whose agents have connected for the first time; return how many began.

    A group that is being collected, or was, by cron or click, needs no first collection.
    """
    ready = _first_collections(session, now)
    for schedule in ready:
        _collect(session, schedule, "first_start", now)
    return len(ready)


def _first_collections(session: ReadSession, now: datetime) -> list[CollectionSchedule]:
    schedules = session.scalars(_NEVER_COLLECTED).unique()
    return [one for one in schedules if one.group.is_enabled and _are_connected(session, one.group_id, now)]


def _are_connected(session: ReadSession, group_id: int, now: datetime) -> bool:
    """Every registered agent has said Hello, or FIRST_CONNECT_PATIENCE has passed since the first did."""
    online = [agent for agent in fleet.online_agents(session, group_id, now) if agent.fixer_codes]
    if not online:
        return False
    registered = session.scalars(
        select(Agent.id).where(Agent.group_id == group_id, Agent.revoked_at.is_(None))
    ).all()
    first = min(agent.connected_at or now for agent in online)
    # One dated ahead connected before the clock was put back.
    is_over = not now - FIRST_CONNECT_PATIENCE < first <= now + LITTLE
    return len(online) == len(registered) or is_over


def _collect(
    session: WorkSession, schedule: CollectionSchedule, trigger: str, now: datetime
) -> CollectionRun:
    return collections.start_run(
        session,
        group=schedule.group,
        codes=schedule.fixer_codes or group_codes(session, schedule.group_id),
        window=(now - timedelta(hours=schedule.window_hours), now),
        trigger=trigger,
        actor=SYSTEM,
        reason="",
        now=now,
    )
