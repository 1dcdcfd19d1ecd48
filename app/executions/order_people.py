"""Who may order that money moves, and who is another person than the one who asked."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select

from app.audit.models import AuditEntry
from app.audit.service import Actor
from app.errors import ConflictError, ForbiddenError
from app.executions.order_models import MoneyOrder
from app.keyset import ReadSession
from app.users.models import User
from app.users.service import visible_group_ids

ROLE: Final = "operator"
ACCOUNT_IS_NEW_FOR: Final = timedelta(days=7)
"""So long whoever made an account, or reset its password, may still know it."""
MAKES_ONE_KNOW_IT: Final = ("user.create", "user.reset_password", "user.enable")


def person_of(session: ReadSession, actor: Actor, group_id: int) -> User:
    """Return the person who acts. Raises ForbiddenError for anyone who may not order in this group.

    The command line and the server itself are no persons.
    """
    user = session.get(User, actor.id) if actor.id is not None else None
    if user is None or not may_order(user, group_id):
        raise ForbiddenError
    return user


def may_order(user: User, group_id: int) -> bool:
    """Return whether this person may propose or confirm in a group: enabled, with the role, seeing it."""
    seen = visible_group_ids(user)
    return user.is_enabled and user.may(ROLE) and (seen is None or group_id in seen)


def is_surely_another(session: ReadSession, person_id: int, other_id: int, now: datetime) -> bool:
    """Return whether two accounts are surely those of two people: as require_another holds them."""
    one, other = session.get(User, person_id), session.get(User, other_id)
    if one is None or other is None or one.id == other.id or _names(one) & _names(other):
        return False
    return not _may_know_each_other(session, one, other, now)


def require_another(session: ReadSession, order: MoneyOrder, person: User, now: datetime) -> None:
    """Raise ConflictError unless ``person`` is surely another one than the proposer.

    order_own: the same account, or one whose name or shown name is the same; order_own_account: one of the
    two made the other's account or reset its password lately, and could have used both.
    """
    proposer = session.get(User, order.proposed_by_id)
    if proposer is None or person.id == proposer.id or _names(person) & _names(proposer):
        raise ConflictError("order_own")
    if _may_know_each_other(session, proposer, person, now):
        raise ConflictError("order_own_account", days=ACCOUNT_IS_NEW_FOR.days)


def _may_know_each_other(session: ReadSession, one: User, other: User, now: datetime) -> bool:
    """Whether one of the two may still know the other's password."""
    pairs = ((one.id, other.id), (other.id, one.id))
    known = select(AuditEntry.id).where(
        AuditEntry.action.in_(MAKES_ONE_KNOW_IT),
        AuditEntry.object_type == "user",
        AuditEntry.at > now - ACCOUNT_IS_NEW_FOR,
        or_(*((AuditEntry.actor_id == maker) & (AuditEntry.object_id == str(of)) for maker, of in pairs)),
    )
    return session.scalars(known.limit(1)).first() is not None


def _names(user: User) -> set[str]:
    names = {user.username.strip().casefold(), user.display_name.strip().casefold()}
    return names - {""}
