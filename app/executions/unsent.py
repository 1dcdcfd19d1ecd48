"""Repairs that plans began by themselves and no agent has been sent: withdrawn once nothing may begin so.

A tick commands every trade that is open at once, and agents are sent those in turn. A breaker that trips
meanwhile, or a plan that becomes manual or goes into shadow, would else stop only what nobody has commanded
yet. What has moved money, and what people ordered, goes on. Withdrawn, a trade is open again, with no retry
spent; an agent that may hold the order all the same is asked to end it, and the trade is verified first.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select

from app.agents import commands
from app.agents.models import IS_LIVE, Command
from app.anomalies.models import Anomaly
from app.executions.models import Attempt
from app.guards.models import SCOPES, Breaker
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession

BATCH: Final = 500
"""So many are withdrawn in one unit of work; none is sent meanwhile."""
AMOUNT: Final = "amount"
"""The breaker of an hour's amount trips before it is passed: what was commanded by then lies within it."""
TRIPPED: Final = "breaker_tripped"
NOT_BY_ITSELF: Final = "plan_not_by_itself"
NARROWED: Final = "limits_narrowed"

_IS_NEW_AND_BY_ITSELF: Final = and_(
    Command.type == "Repair",
    exists().where(
        Attempt.command_id == Command.id,
        Attempt.trigger == "tick",
        ~Attempt.money_moved,
        Anomaly.id == Attempt.anomaly_id,
        ~Anomaly.has_moved_money,
    ),
)
_STANDS: Final = and_(Breaker.reset_at.is_(None), Breaker.code != AMOUNT)
_IS_NO_LONGER_AUTO: Final = or_(Plan.mode != "auto", Plan.state != "normal", Plan.is_shadow)
_HELD_BACK: Final[dict[str, ColumnElement[bool]]] = {
    TRIPPED: exists().where(
        _STANDS,
        Breaker.group_id == Command.group_id,
        or_(Breaker.scope == "group", Breaker.subject_name == Command.fixer_code),
    ),
    NOT_BY_ITSELF: exists().where(
        _IS_NO_LONGER_AUTO, Plan.group_id == Command.group_id, Plan.fixer_code == Command.fixer_code
    ),
}
"""What keeps a plan from beginning anything new by itself, by the word that stands beside what it ends."""

MAY_GO: Final[ColumnElement[bool]] = ~and_(or_(*_HELD_BACK.values()), _IS_NEW_AND_BY_ITSELF)
"""The condition of a claim, in its own statement: none slips out between a trip and its being withdrawn."""


def has_work(session: ReadSession) -> bool:
    """Return whether withdraw may find anything; a read that needs no lock."""
    # By scope, which the partial index of what has tripped begins with.
    is_tripped = exists().where(Breaker.scope.in_(SCOPES), _STANDS)
    if not session.scalar(select(or_(is_tripped, exists().where(_IS_NO_LONGER_AUTO)))):
        return False
    return any(session.scalar(_pending(held).limit(1)) is not None for held in _HELD_BACK.values())


def withdraw(session: WorkSession, now: datetime) -> int:
    """Withdraw what is not to begin any more, BATCH at most; return how many.

    Called when a breaker trips or a plan changes, and each second after: what a lost socket gives back
    is withdrawn then, and nothing pends until its deadline.
    """
    withdrawn = 0
    for reason, held in _HELD_BACK.items():
        withdrawn += _end(session, _pending(held).limit(BATCH - withdrawn), reason, now)
    return withdrawn


def breaker_changed(session: WorkSession, breaker: Breaker, now: datetime) -> None:
    """Tripped: what has not been sent does not begin."""
    if breaker.reset_at is None:
        session.flush()
        withdraw(session, now)


def plan_narrowed(session: WorkSession, plan: Plan, now: datetime) -> None:
    """A plan does less by itself than it did: its next tick judges anew what it had commanded."""
    withdraw(session, now)
    of_plan = and_(Command.group_id == plan.group_id, Command.fixer_code == plan.fixer_code)
    _end(session, _pending(of_plan), NARROWED, now)


def _pending(condition: ColumnElement[bool]) -> Select[Command]:
    is_pending = and_(IS_LIVE, Command.state == "pending", Command.cancel_requested_at.is_(None))
    wanted = select(Command).where(is_pending, condition, _IS_NEW_AND_BY_ITSELF)
    return wanted.order_by(Command.priority.desc(), Command.seq)


def _end(session: WorkSession, wanted: Select[Command], reason: str, now: datetime) -> int:
    # Locked, so that on PostgreSQL what another process is just sending is seen as sent.
    found = list(session.scalars(wanted.with_for_update(of=Command)))
    for command in found:
        commands.request_cancel(session, command, reason, now)
    return len(found)
