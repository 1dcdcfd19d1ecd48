"""What time alone ends or gives back: leases, deadlines, sent commands nobody answered, cancels in vain."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, exists, or_, select

from app.agents import commands
from app.agents.models import IS_LIVE, LIVE, Command
from app.agents.recovery import LOST
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession

BATCH: Final = 500
"""At most so many commands of a kind a sweep: the rest waits for the next."""
LONGEST: Final = timedelta(hours=1)
"""No command is given longer to end."""


class _Overdue:
    """The conditions of what time alone decides about live commands, over the values of ``_moments``."""

    def __init__(self) -> None:
        now: BindParameter[datetime] = bindparam("now")
        is_held = Command.state.in_(commands.HELD)
        self.too_long = and_(is_held, Command.lease_until > bindparam("longest_lease"))
        self.too_late = Command.deadline_at > bindparam("longest_deadline")
        self.leases = and_(is_held, Command.lease_until < now)
        self.deadlines = Command.deadline_at < now
        self.silent = and_(Command.state == "sent", Command.sent_at < bindparam("silent_since"))
        self.unwanted = and_(Command.state == "pending", Command.cancel_requested_at.is_not(None))

    @property
    def conditions(self) -> tuple[ColumnElement[bool], ...]:
        """All of them."""
        return self.too_long, self.too_late, self.leases, self.deadlines, self.silent, self.unwanted


_OVERDUE: Final = _Overdue()
_HAS_WORK: Final = select(or_(*(exists().where(IS_LIVE, condition) for condition in _OVERDUE.conditions)))
"""Asked each second, so built once."""


def _moments(now: datetime) -> dict[str, datetime]:
    lease = commands.lease()
    return {
        "now": now,
        "longest_lease": now + 2 * lease,
        "longest_deadline": now + LONGEST + LITTLE,
        "silent_since": now - lease,
    }


def has_work(session: ReadSession, now: datetime) -> bool:
    """Return whether a sweep would change anything; a read that needs no lock, of one statement."""
    return bool(session.scalar(_HAS_WORK, _moments(now)))


def sweep(session: WorkSession, now: datetime) -> int:
    """End what is overdue: leases, deadlines, sent commands never answered, and cancels of what came back.

    Returns how many commands changed.
    """
    due, moments = _OVERDUE, _moments(now)
    for command in _batch(session, due.too_long, moments):
        # The clock was put back: a lease that ends by the old one would outlive its agent.
        command.lease_until = now + commands.lease()
    for command in _batch(session, due.too_late, moments):
        # Likewise: nothing else could be asked of its trade until then.
        command.deadline_at = now + _time_given(command)
    changed = 0
    for command in _still_live(_batch(session, due.leases, moments)):
        _end_lease(session, command, now)
        changed += 1
    for command in _still_live(_batch(session, due.deadlines, moments)):
        outcome = "expired" if command.accepted_at is None else "indeterminate"
        reason = LOST if command.error == LOST else "its deadline passed"
        commands.close(session, command, outcome, now, reason)
        changed += 1
    for command in _batch(session, due.silent, moments):
        command.state, command.sent_at = "pending", None
        changed += 1
    for command in _still_live(_batch(session, due.unwanted, moments)):
        commands.close(session, command, commands.outcome_unsent(command), now, command.error)
        changed += 1
    if changed:
        commands.look_now(session)
    return changed


def _time_given(command: Command) -> timedelta:
    """Return how long a command was given to end: LONGEST where its deadline has begun anew before."""
    given = command.deadline_at - command.created_at
    return given if timedelta(0) < given <= LONGEST else LONGEST


def _still_live(found: Iterable[Command]) -> Iterator[Command]:
    """Return those that are live when their turn comes.

    Closing one may trip a breaker, which withdraws what its plan had queued: others of the same batch.
    """
    return (command for command in found if command.state in LIVE)


def _end_lease(session: WorkSession, command: Command, now: datetime) -> None:
    """A Collect is given to another agent by its run; a repair is commanded again, unless someone wants it
    stopped.
    """
    if command.type == "Collect":
        commands.close(session, command, "superseded", now, "the agent stopped answering")
    elif command.cancel_requested_at is not None:
        commands.close(
            session, command, "indeterminate", now, "the agent stopped answering while it was cancelled"
        )
    else:
        # The fence rises at the next claim (app.agents.claims): until then the agent may come back.
        command.state = "pending"
        command.sent_at = command.lease_until = None


def _batch(
    session: WorkSession, condition: ColumnElement[bool], moments: dict[str, datetime]
) -> list[Command]:
    """Return the live commands of which the condition holds, at most BATCH.

    Ordered by a column of a partial index: by ``seq`` SQLite would read every command there ever was.
    """
    return list(
        session.scalars(
            select(Command).where(IS_LIVE, condition).order_by(Command.deadline_at).limit(BATCH), moments
        ).all()
    )
