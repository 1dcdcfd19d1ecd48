"""Troubles that people make, each through whichever server is up: they click, cancel, stop and order.

A trade that two people have paid again or reversed is ``touched`` and ``ordered``: the oracle of the ten
cases no longer says what becomes of it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from agent.unpaid import Action, find_obstacle
from app.agents import stops
from app.agents.models import LIVE, Command, Stop
from app.agents.stops import Target
from app.anomalies import collections
from app.anomalies import service as anomalies
from app.anomalies.models import Anomaly
from app.clock import utc_now
from app.executions import money_orders, service
from app.executions.models import Attempt
from app.executions.order_guard import facts_of
from app.executions.order_models import MoneyOrder
from app.executions.starting import Order
from app.extensions import db
from app.guards.breakers import list_tripped, reset
from app.keyset import ReadSession
from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.models import Plan
from app.plans.service import disable_plan, enable_plan
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from chaos.simulation.moments import at_command, wait_long_for_repair
from chaos.simulation.workshop import OTHER_PERSON, PERSON

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

REASON: Final = "drawn by the seed"
WITH_A_PERSON: Final = ("needs_human", "exhausted")
DISABLED_SECONDS: Final = 20.0
STOPPED_SECONDS: Final = (3.0, 30.0)
RESET_AFTER: Final = (30.0, 200.0)
CONFIRMED_AFTER: Final = 2.0
BETWEEN_ORDERS: Final = 5.0
ORDERS: Final[dict[Action, str]] = {"pay_again": "paid again", "reverse": "reversed"}
"""The trouble that each order is."""


# ---- a trade, a repair


def collect_again(schedule: "Schedule") -> None:
    """A person orders a collection of what was collected already."""
    collect(schedule, kind="collected again")


def collect(schedule: "Schedule", after: float = 0.0, kind: str = "") -> None:
    """A person orders a collection of everything, in so many seconds. ``kind``: the trouble it is, if one."""

    def order() -> None:
        schedule.loom.sleep(after)
        with unit_of_work() as session:
            group = session.scalars(select(SystemGroup)).one()
            now = utc_now()
            collections.start_run(
                session,
                group=group,
                codes=list(KNOWN_FIXERS),
                window=(now - timedelta(days=1), now),
                trigger="click",
                actor=PERSON,
                reason="",
                now=now,
            )
        _count(schedule, kind)

    _ask(schedule, order)


def click(schedule: "Schedule") -> None:
    """A person has a trade repaired, whatever its count."""

    def ask(session: WorkSession) -> None:
        anomaly_id = _any_anomaly(schedule, session)
        service.retry_now(session, anomaly_id, Order("click", PERSON, REASON, utc_now()), group_ids=None)

    _work(schedule, ask, "person clicks")


def verify(schedule: "Schedule") -> None:
    """A person has a trade looked at."""

    def ask(session: WorkSession) -> None:
        anomaly = session.get_one(Anomaly, _any_anomaly(schedule, session))
        anomalies.order_verify(session, anomaly, utc_now())

    _work(schedule, ask, "person verifies")


def cancel(schedule: "Schedule") -> None:
    """A person cancels a repair at work."""

    def ask(session: WorkSession) -> bool:
        live = select(Attempt.id).join(Command, Command.id == Attempt.command_id)
        found = session.scalars(live.where(Command.state.in_(LIVE))).first()
        if found is not None:
            service.cancel_attempt(session, found, reason=REASON, actor=PERSON, group_ids=None, now=utc_now())
        return found is not None

    _work(schedule, ask, "person cancels")


def cancel_at_once(schedule: "Schedule") -> None:
    """A person cancels the first repair as soon as an agent has it."""
    at_command(schedule, Command.type == "Repair", lambda: cancel(schedule))


def cancel_between(schedule: "Schedule") -> None:
    """A person cancels a repair that has begun to move money."""
    if wait_long_for_repair(schedule, "AND step.moves_money"):
        schedule.counts["cancels in between"] += 1
        cancel(schedule)


# ---- plans and stops


def disable(schedule: "Schedule") -> None:
    """A person disables the plan of the first trade and enables it again."""

    def ask(session: WorkSession) -> None:
        fixer_code = schedule.loaded[0].case.fixer
        plan_id = session.scalars(select(Plan.id).where(Plan.fixer_code == fixer_code)).one()
        disable_plan(session, plan_id, actor=PERSON, now=utc_now(), reason=REASON)

    _work(schedule, ask, "plan disabled")
    schedule.loom.sleep(DISABLED_SECONDS)
    enable(schedule)


def enable(schedule: "Schedule") -> None:
    """A person enables whatever plan is disabled."""

    def ask(session: WorkSession) -> None:
        for plan_id in session.scalars(select(Plan.id).where(Plan.state == "disabled")).all():
            enable_plan(session, plan_id, actor=PERSON, now=utc_now(), reason=REASON)

    _work(schedule, ask)


def stop(schedule: "Schedule") -> None:
    """A person stops all repairs, and lifts that again."""

    def ask(session: WorkSession) -> None:
        stops.set_stop(session, Target(), reason=REASON, actor=PERSON, group_ids=None, now=utc_now())

    _work(schedule, ask, "repairs stopped")
    schedule.loom.sleep(schedule.chance.choice(STOPPED_SECONDS))
    lift(schedule)


def lift(schedule: "Schedule") -> None:
    """A person lifts whatever stop stands."""

    def ask(session: WorkSession) -> None:
        for stop_id in session.scalars(select(Stop.id).where(Stop.lifted_at.is_(None))).all():
            stops.lift(
                session,
                stop_id,
                reason=REASON,
                actor=PERSON,
                group_ids=None,
                is_admin=True,
                now=utc_now(),
            )

    _work(schedule, ask)


def keep_resetting(schedule: "Schedule") -> None:
    """A person resets whatever breaker has tripped, again and again until the schedule is over. A strand."""

    def ask(session: WorkSession) -> None:
        for breaker in list_tripped(session, None):
            schedule.counts["breaker reset"] += 1
            reset(session, breaker.id, reason=REASON, actor=PERSON, group_ids=None, now=utc_now())

    while True:
        schedule.loom.sleep(schedule.chance.choice(RESET_AFTER))
        _work(schedule, ask)


# ---- money orders


def pay_again(schedule: "Schedule") -> None:
    """Two people have a trade paid again that was debited and finally not paid."""
    _order(schedule, "pay_again")


def reverse(schedule: "Schedule") -> None:
    """Two people have such a trade reversed."""
    _order(schedule, "reverse")


def reverse_when_unpaid(schedule: "Schedule") -> None:
    """The bank refuses the payout for good, and two people have the debit taken back."""
    schedule.line.refuses_payouts = True
    is_ordered = False
    while not is_ordered and schedule.is_rough:
        schedule.loom.sleep(BETWEEN_ORDERS)
        with schedule.workshop.apps[0].app_context():
            is_ordered = db.session.scalars(select(MoneyOrder.id)).first() is not None
            db.session.remove()
        if not is_ordered:
            reverse(schedule)


def _order(schedule: "Schedule", action: Action) -> None:
    """One person proposes what the facts allow as soon as they do, another confirms."""
    kind = ORDERS[action]
    ordered = schedule.counts[kind]
    while schedule.is_rough and schedule.counts[kind] == ordered:
        _work(schedule, lambda session: _propose(schedule, session, action), kind)
        schedule.loom.sleep(CONFIRMED_AFTER)
        _work(schedule, _confirm)
        schedule.loom.sleep(BETWEEN_ORDERS)


def may_order(schedule: "Schedule") -> bool:
    """Whether the facts of a trade allow one of the orders that this schedule has troubles for."""
    actions = [action for action, kind in ORDERS.items() if kind in schedule.drawn.troubles]
    with schedule.workshop.apps[0].app_context():
        try:
            return any(_orderable(db.session, action) is not None for action in actions)
        finally:
            db.session.remove()


def _orderable(session: ReadSession, action: Action) -> Anomaly | None:
    for anomaly in session.scalars(select(Anomaly).where(Anomaly.state.in_(WITH_A_PERSON))).unique():
        facts = facts_of(anomaly)
        if facts is not None and find_obstacle(facts, action) is None:
            return anomaly
    return None


def _propose(schedule: "Schedule", session: WorkSession, action: Action) -> bool:
    anomaly = _orderable(session, action)
    if anomaly is None:
        return False
    schedule.touched[anomaly.trade_no] = schedule.loom.seconds
    schedule.ordered.add(anomaly.trade_no)
    money_orders.propose(
        session,
        anomaly.id,
        action,
        reason=REASON,
        actor=PERSON,
        group_ids=None,
        now=utc_now(),
    )
    return True


def _confirm(session: WorkSession) -> None:
    waiting = select(MoneyOrder.id).where(MoneyOrder.state == "proposed")
    for order_id in session.scalars(waiting).all():
        money_orders.confirm(
            session, order_id, reason=REASON, actor=OTHER_PERSON, group_ids=None, now=utc_now()
        )


# ---- through a server


def _work(schedule: "Schedule", work: Callable[[WorkSession], bool | None], kind: str = "") -> None:
    """Have it done in one unit of work, and counted unless it says that there was nothing to do."""

    def request() -> None:
        with unit_of_work() as session:
            is_done = work(session) is not False
        _count(schedule, kind if is_done else "")

    _ask(schedule, request)


def _count(schedule: "Schedule", kind: str) -> None:
    if kind:
        schedule.counts[kind] += 1


def _ask(schedule: "Schedule", request: Callable[[], None]) -> None:
    """Send a request to the first server that is up; with none up it is lost."""
    server = next((one for one in schedule.servers if not one.is_dead), None)
    if server is not None:
        server.serve(request)


def _any_anomaly(schedule: "Schedule", session: WorkSession) -> int:
    """Return an anomaly's id, 0 where there is none: no such anomaly."""
    ids = list(session.scalars(select(Anomaly.id).order_by(Anomaly.id)))
    return schedule.chance.choice(ids) if ids else 0
