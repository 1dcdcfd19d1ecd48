"""A trade whose repair ends without an effect every time: set aside for a person, so that the others go on.

An attempt breaks off when its fixer fails in a way nobody foresaw, or when the agent that had begun it never
came back. It spends no retry, because nobody knows what it did; nor does one that is refused, or whose
production database fails at it, or which no agent's journal can keep. So they are counted by themselves.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, exists, func, or_, select

from agent.answers import BROKE_OFF
from app.agents import commands
from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.executions.models import Attempt
from app.unit_of_work import WorkSession

CRASH_LIMIT: Final = 3
"""So many attempts in a row that broke off are no accident."""
CRASHED: Final = "crashed_too_often"
ALIKE_LIMIT: Final = 6
"""So many attempts in a row that ended alike, refused or unknown, have nothing to wait for; nor have those
that no agent took because its journal keeps nothing, in whatever words it says why."""
ENDED_ALIKE: Final = "ended_alike_too_often"
NOT_KEPT: Final = f"rejected: {commands.NOT_KEPT}:"
"""How the reason of an attempt begins that its agent did not take: its journal is full, or damaged."""
NOT_KEPT_FOR: Final = timedelta(minutes=15)
"""The attempts that no journal kept reach over so long: one that is full for a moment hands no trades to
people, however often their plan ticks meanwhile."""
NO_RESULT: Final = "indeterminate"
"""How the reason of an attempt begins whose command passed its deadline without a result."""
MAY_PASS: Final = frozenset(
    {
        "bank",
        "ledger",
        "read back: bank",
        "read back: ledger",
        "the reply to the payout was lost",
        "the agent stood still before an effect",
    }
)
"""Reasons of unknown attempts that wait for the bank, the ledger or an agent: however often, they pass."""
_WAS_WITHDRAWN: Final = exists().where(
    Command.id == Attempt.command_id, Command.cancel_requested_at == Command.finished_at
)
"""Of an attempt: its command was cancelled while it pended. That a breaker tripped, or a person cancelled it,
tells nothing of the trade."""


def reason_to_set_aside(session: WorkSession, anomaly: Anomaly) -> str | None:
    """Return the code of why the anomaly's newest attempts leave it to a person, None where they do not.

    That its last one was withdrawn leaves it to nobody: it had gone on after those before.
    """
    if _was_last_withdrawn(session, anomaly):
        return None
    if _crashes_every_time(session, anomaly):
        return CRASHED
    is_alike = _ends_alike_every_time(session, anomaly) or _is_never_kept(session, anomaly)
    return ENDED_ALIKE if is_alike else None


def is_unreadable(session: WorkSession, anomaly: Anomaly) -> bool:
    """Return whether its last attempt broke off, and so did each of the last looks, all ordered since.

    What ended the attempt ends every look, too: none will ever say that the next attempt may begin.
    """
    last = select(Attempt).where(Attempt.anomaly_id == anomaly.id, Attempt.number == anomaly.attempts)
    attempt = session.scalars(last).first()
    if attempt is None or not attempt.outcome_reason.startswith(f"{BROKE_OFF}:"):
        return False
    begun = select(Command.seq).where(Command.id == attempt.command_id).scalar_subquery()
    of_trade = Command.group_id == anomaly.group_id, Command.trade_no == anomaly.trade_no
    looks = select(Command.error).where(
        *of_trade, Command.type == "Verify", Command.state == "finished", Command.seq > begun
    )
    errors = session.scalars(looks.order_by(Command.seq.desc()).limit(CRASH_LIMIT)).all()
    return len(errors) == CRASH_LIMIT and all(error.startswith(f"{BROKE_OFF}:") for error in errors)


def _crashes_every_time(session: WorkSession, anomaly: Anomaly) -> bool:
    crashed = or_(
        Attempt.outcome_reason.startswith(f"{BROKE_OFF}:"),
        Attempt.outcome_reason.startswith(f"{NO_RESULT}:") & Attempt.started_at.is_not(None),
    )
    last = select(Attempt.id).where(_is_newest(anomaly, CRASH_LIMIT), Attempt.outcome == "unknown", crashed)
    return len(session.scalars(last).all()) == CRASH_LIMIT


def _ends_alike_every_time(session: WorkSession, anomaly: Anomaly) -> bool:
    last = select(Attempt.outcome, Attempt.outcome_reason).where(_is_newest(anomaly, ALIKE_LIMIT))
    ends = [tuple(row) for row in session.execute(last)]
    if len(ends) < ALIKE_LIMIT or len(set(ends)) > 1:
        return False
    outcome, reason = ends[0]
    return outcome == "refused" or (outcome == "unknown" and reason not in MAY_PASS)


def _is_never_kept(session: WorkSession, anomaly: Anomaly) -> bool:
    of_trade = Attempt.anomaly_id == anomaly.id, ~_WAS_WITHDRAWN
    others = select(func.max(Attempt.number)).where(*of_trade, ~Attempt.outcome_reason.startswith(NOT_KEPT))
    since = Attempt.number > (session.scalar(others) or 0)
    times = func.count(), func.min(Attempt.created_at), func.max(Attempt.created_at)
    count, earliest, latest = session.execute(select(*times).where(*of_trade, since)).one()
    return count >= ALIKE_LIMIT and latest - earliest >= NOT_KEPT_FOR


def _was_last_withdrawn(session: WorkSession, anomaly: Anomaly) -> bool:
    last = select(Attempt.id).where(Attempt.anomaly_id == anomaly.id, Attempt.number == anomaly.attempts)
    return session.scalars(last.where(_WAS_WITHDRAWN)).first() is not None


def _is_newest(anomaly: Anomaly, count: int) -> ColumnElement[bool]:
    """Return the condition of its last ``count`` attempts, not counting those that were withdrawn."""
    of_trade = select(Attempt.id).where(Attempt.anomaly_id == anomaly.id, ~_WAS_WITHDRAWN)
    return Attempt.id.in_(of_trade.order_by(Attempt.number.desc()).limit(count))
