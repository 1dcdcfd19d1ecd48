"""Who may order that money moves, and who is another person than the one who asked."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select

from app.audit.models import AuditEntry
from app.audit.service import Actor
from app.errors import ConflictError, ForbiddenError
from app.executions.order_models import MoneyOrder
from app.keyset import ReadSession
from app.users.models import ROLES, User
from app.users.service import visible_group_ids

ROLE: Final = "operator"
ACCOUNT_IS_NEW_FOR: Final = timedelta(days=7)
"""So long whoever made an account, let it in again, raised it or reset its password may be behind it."""
LINKS: Final = ("user.create", "user.reset_password", "user.enable", "user.update")


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
    makers = _makers(session, now)
    return not _behind(one.id, makers) & _behind(other.id, makers)


def require_another(session: ReadSession, order: MoneyOrder, person: User, now: datetime) -> None:
    """Raise ConflictError unless ``person`` is surely another one than the proposer.

    order_own: the same account, or one whose name or shown name is the same; order_own_account: somebody, one
    of the two or a third one, could have used both, through accounts made, let in again, raised, or given a
    new password lately.
    """
    refusal = _why_the_same(session, order, person, _makers(session, now))
    if refusal is not None:
        raise refusal


def refused_seconds(
    session: ReadSession, orders: Iterable[MoneyOrder], person_id: int | None, now: datetime
) -> dict[int, ConflictError]:
    """Return by order why this person may not confirm it, as require_another says; their own are left out,
    since those they withdraw.
    """
    person = None if person_id is None else session.get(User, person_id)
    others = [one for one in orders if one.state == "proposed" and one.proposed_by_id != person_id]
    if person is None or not others:
        return {}
    makers = _makers(session, now)
    refusals = {one.id: _why_the_same(session, one, person, makers) for one in others}
    return {order_id: refusal for order_id, refusal in refusals.items() if refusal is not None}


def _why_the_same(
    session: ReadSession, order: MoneyOrder, person: User, makers: Mapping[int, Collection[int]]
) -> ConflictError | None:
    proposer = session.get(User, order.proposed_by_id)
    if proposer is None or person.id == proposer.id or _names(person) & _names(proposer):
        return ConflictError("order_own")
    both = _behind(proposer.id, makers) & _behind(person.id, makers)
    if not both:
        return None
    names = session.scalars(select(User.username).where(User.id.in_(both)).order_by(User.id))
    return ConflictError("order_own_account", days=ACCOUNT_IS_NEW_FOR.days, who=", ".join(names))


def _makers(session: ReadSession, now: datetime) -> dict[int, set[int]]:
    """Return by account the accounts whose holders could have used it lately: one step back."""
    makers: dict[int, set[int]] = defaultdict(set)
    links = select(AuditEntry).where(
        AuditEntry.action.in_(LINKS),
        AuditEntry.object_type == "user",
        AuditEntry.at > now - ACCOUNT_IS_NEW_FOR,
        AuditEntry.actor_id.is_not(None),
    )
    for entry in session.scalars(links):
        if entry.actor_id is not None and (entry.action != "user.update" or _is_raise(entry.detail)):
            makers[int(entry.object_id)].add(entry.actor_id)
    return makers


def _behind(account_id: int, makers: Mapping[int, Collection[int]]) -> set[int]:
    """Return the account, those whose holders could have used it, those behind these, and so on."""
    found, left = set[int](), [account_id]
    while left:
        account = left.pop()
        if account not in found:
            found.add(account)
            left.extend(makers.get(account, ()))
    return found


def _is_raise(changed: Mapping[str, Any]) -> bool:
    """Whether a change of an account lets it do or see more: a higher role, another group, or all of them."""
    before, after = changed.get("role", (ROLES[0], ROLES[0]))
    groups_before, groups_after = changed.get("groups", ((), ()))
    _, sees_all = changed.get("sees_all_groups", (False, False))
    is_higher = ROLES.index(after) > ROLES.index(before)
    return is_higher or bool(sees_all) or bool({*groups_after} - {*groups_before})


def _names(user: User) -> set[str]:
    names = {user.username.strip().casefold(), user.display_name.strip().casefold()}
    return names - {""}
