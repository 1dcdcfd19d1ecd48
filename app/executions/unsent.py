"""Repairs that plans began by themselves and no agent has been sent: withdrawn once nothing may begin so.

A tick commands every trade that is open at once, and agents are sent those in turn. A breaker that trips
meanwhile, or a plan that becomes manual or goes into shadow, would else stop only what nobody has commanded
yet. What has moved money, and what people ordered, goes on. Withdrawn, a trade is open again, with no retry
spent. Of one that an agent was sent and has given back, or never acknowledged, the trade is verified first:
that agent may hold the order all the same. It is asked to end it when it says Hello next, and no sooner; what
it does until then its fence bounds, and its late result counts.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select

from app.agents import commands
from app.agents.models import IS_LIVE, IS_PENDING, Command
from app.anomalies.models import Anomaly
from app.executions.models import Attempt
from app.guards.models import AMOUNT, SCOPES, Breaker
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

BATCH: Final = 50
"""So many are withdrawn in one unit of work, a second apart: each is a trade's whole history, and results and
leases wait for the same lock. None of the rest is sent meanwhile."""
TRIPPED: Final = "breaker_tripped"
NOT_BY_ITSELF: Final = "plan_not_by_itself"
NARROWED: Final = "limits_narrowed"
WAS_SENT: Final = "_sent"
"""What the word ends in beside one that came back from an agent, which may hold it."""

_IS_NEW_AND_BY_ITSELF: Final = exists().where(
    Attempt.command_id == Command.id,
    Attempt.trigger == "tick",
    ~Attempt.money_moved,
    Anomaly.id == Attempt.anomaly_id,
    ~Anomaly.has_moved_money,
)
"""Of a Repair: nothing else has an attempt. Its type is not asked, or SQLite would go by that to every Repair
there ever was."""
_STANDS: Final = and_(Breaker.reset_at.is_(None), Breaker.code != AMOUNT)
_IS_NO_LONGER_AUTO: Final = or_(Plan.mode != "auto", Plan.state != "normal", Plan.is_shadow)
_WAS_NARROWED: Final = Plan.narrowed_seq.is_not(None)
_HELD_BACK: Final[dict[str, ColumnElement[bool]]] = {
    TRIPPED: exists().where(
        _STANDS,
        Breaker.group_id == Command.group_id,
        or_(Breaker.scope == "group", Breaker.subject_name == Command.fixer_code),
    ),
    NOT_BY_ITSELF: exists().where(
        _IS_NO_LONGER_AUTO, Plan.group_id == Command.group_id, Plan.fixer_code == Command.fixer_code
    ),
    # What it had commanded by then: its next tick judges that anew.
    NARROWED: exists().where(
        _WAS_NARROWED,
        Plan.narrowed_seq >= Command.seq,
        Plan.group_id == Command.group_id,
        Plan.fixer_code == Command.fixer_code,
    ),
}
"""What keeps a plan from beginning anything new by itself, or what it began before it was narrowed, by the
word that stands beside what it ends."""
_GROUPS: Final[dict[str, Select[int]]] = {
    # By scope, which the partial index of what has tripped begins with.
    TRIPPED: select(Breaker.group_id).where(Breaker.scope.in_(SCOPES), _STANDS),
    NOT_BY_ITSELF: select(Plan.group_id).where(_IS_NO_LONGER_AUTO),
    NARROWED: select(Plan.group_id).where(_WAS_NARROWED),
}
"""In which groups there is any of it: only what pends in these is looked through."""

MAY_GO: Final[ColumnElement[bool]] = or_(
    Command.type != "Repair", ~and_(or_(*_HELD_BACK.values()), _IS_NEW_AND_BY_ITSELF)
)
"""The condition of a claim, in its own statement: none slips out between a trip and its being withdrawn."""


def _pending(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(IS_PENDING, Command.cancel_requested_at.is_(None), condition, _IS_NEW_AND_BY_ITSELF)


_WITHDRAWN: Final[dict[str, ColumnElement[bool]]] = {
    reason: _pending(and_(Command.group_id.in_(_GROUPS[reason]), held)) for reason, held in _HELD_BACK.items()
}
_IS_OVER: Final = and_(
    _WAS_NARROWED,
    ~exists().where(
        IS_LIVE,
        Command.trade_no.is_not(None),
        Command.group_id == Plan.group_id,
        Command.fixer_code == Plan.fixer_code,
        Command.seq <= Plan.narrowed_seq,
    ),
)
"""Nothing is left of what a plan had commanded when it was narrowed, with agents neither, who might give it
back."""
_HAS_WORK: Final = select(
    or_(*(exists().where(wanted) for wanted in _WITHDRAWN.values()), exists().where(_IS_OVER))
)
"""Asked each second, so built once."""


def has_work(session: ReadSession) -> bool:
    """Return whether withdraw may find anything; a read that needs no lock, of one statement."""
    return bool(session.scalar(_HAS_WORK))


def withdraw(session: WorkSession, now: datetime) -> int:
    """Withdraw what is not to begin any more, BATCH at most; return how many.

    Called when a breaker trips or a plan changes, and each second after: the rest, and what a lost socket
    gives back, is withdrawn then, and nothing pends until its deadline.
    """
    withdrawn = 0
    for reason, wanted in _WITHDRAWN.items():
        withdrawn += _end(session, select(Command).where(wanted).limit(BATCH - withdrawn), reason, now)
    for plan in session.scalars(select(Plan).where(_IS_OVER)).unique():
        plan.narrowed_seq = None
    return withdrawn


def breaker_changed(session: WorkSession, breaker: Breaker, now: datetime) -> None:
    """Tripped: what has not been sent does not begin."""
    if breaker.reset_at is None:
        session.flush()
        withdraw(session, now)


def plan_narrowed(session: WorkSession, plan: Plan, now: datetime) -> None:
    """A plan does less by itself than it did: its next tick judges anew what it had commanded."""
    _narrow(session, [plan], now)


def group_narrowed(session: WorkSession, group: SystemGroup, now: datetime) -> None:
    """The plans of a group do less by themselves: as if each of them was narrowed."""
    _narrow(session, session.scalars(select(Plan).where(Plan.group_id == group.id)).unique(), now)


def _narrow(session: WorkSession, plans: Iterable[Plan], now: datetime) -> None:
    newest = session.scalar(select(func.max(Command.seq)))
    for plan in plans:
        plan.narrowed_seq = newest
    session.flush()
    withdraw(session, now)


def _end(session: WorkSession, wanted: Select[Command], reason: str, now: datetime) -> int:
    # Locked, so that on PostgreSQL what another process is just sending is seen as sent.
    found = list(session.scalars(wanted.with_for_update(of=Command)))
    for command in found:
        # Of one that an agent had been sent nobody may say that it never went out.
        was_sent = command.agent_id is not None
        commands.request_cancel(session, command, reason + WAS_SENT if was_sent else reason, now)
    return len(found)
