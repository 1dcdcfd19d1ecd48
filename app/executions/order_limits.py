"""Above which amount a money order takes a second person, group by group."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.anomalies.service import GroupIds
from app.audit import service as audit
from app.audit.models import AuditEntry
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError
from app.executions.order_models import MoneyOrderLimit
from app.executions.order_people import is_surely_another
from app.keyset import ReadSession
from app.unit_of_work import WorkSession
from app.users.groups import get_group, list_groups
from app.users.models import SystemGroup

DEFAULT_LIMIT_MINOR: Final = 100_000
"""¥1,000.00: what one slip may cost. Below it one person's word is enough, above it two people look."""
MOST_MINOR: Final = 10**14
CHANGED: Final = "order.limit"
CHANGES_READ: Final = 50
"""So many changes in a row by one person are looked at; before that many, nothing is taken as agreed."""


@dataclass(frozen=True)
class LimitFor:
    """The limit that holds for one person; ``group_minor`` is the group's, which they raised themselves."""

    minor: int
    group_minor: int

    @property
    def is_own_change(self) -> bool:
        """Whether the person's own change of the limit does not count for their own orders."""
        return self.minor < self.group_minor


def limit_of(session: ReadSession, group_id: int) -> int:
    """Return the group's limit in minor units: an order above it takes a second person."""
    found = session.get(MoneyOrderLimit, group_id)
    return DEFAULT_LIMIT_MINOR if found is None else found.second_person_above_minor


def limit_for(session: ReadSession, group_id: int, person_id: int | None, now: datetime) -> LimitFor:
    """Return the limit for an order of this person: what they have raised themselves, nobody has agreed to.

    The changes since another person last set the limit do not count, nor do those of an account that may be
    theirs (app.executions.order_people); the lowest limit that stood meanwhile holds. ``person_id`` None: the
    command line, which orders nothing.
    """
    limit = lowest = limit_of(session, group_id)
    changes = select(AuditEntry).where(
        AuditEntry.action == CHANGED,
        AuditEntry.object_type == "group",
        AuditEntry.object_id == str(group_id),
    )
    newest = session.scalars(changes.order_by(AuditEntry.id.desc()).limit(CHANGES_READ)).all()
    for change in newest:
        setter = change.actor_id
        if person_id is None or setter is None or is_surely_another(session, person_id, setter, now):
            return LimitFor(lowest, limit)
        lowest = min(lowest, change.detail["second_person_above_minor"][0])
    return LimitFor(0 if len(newest) == CHANGES_READ else lowest, limit)


def list_limits(session: ReadSession, group_ids: GroupIds) -> list[tuple[SystemGroup, int]]:
    """Return the groups a person may see, each with its limit, by code."""
    known = {one.group_id: one.second_person_above_minor for one in session.scalars(select(MoneyOrderLimit))}
    groups = list_groups(session, None if group_ids is None else list(group_ids))
    return [(group, known.get(group.id, DEFAULT_LIMIT_MINOR)) for group in groups]


def shown_by_form(limit_minor: int) -> str:
    """Return what the form of a limit carries of the one that it showed."""
    return str(limit_minor)


def set_limit(
    session: WorkSession,
    group_id: int,
    limit_minor: int | None,
    *,
    reason: str,
    actor: Actor,
    now: datetime,
    seen: str | None = None,
) -> None:
    """Set a group's limit; 0 asks a second person for every order.

    ``seen``: what the form carries (shown_by_form), None where nobody decided by one. Raises
    NotFoundError('group'), InvalidError('required' | 'amount_format') on field limit, for the reason,
    ConflictError('limit_changed') where the form showed another limit.
    """
    reason = required_reason(reason)
    group = get_group(session, group_id)
    if limit_minor is None:
        raise InvalidError("required", field="limit")
    if not 0 <= limit_minor <= MOST_MINOR:
        raise InvalidError("amount_format", field="limit")
    before = limit_of(session, group_id)
    if seen is not None and seen != shown_by_form(before):
        raise ConflictError("limit_changed")
    found = session.get(MoneyOrderLimit, group_id)
    if found is None:
        found = MoneyOrderLimit(group_id=group_id)
        session.add(found)
    found.second_person_above_minor = limit_minor
    found.changed_by, found.changed_at = actor.name, now
    audit.record(
        session,
        actor=actor,
        action=CHANGED,
        object_type="group",
        object_id=group.id,
        object_name=group.name,
        sys_code=group.sys_code,
        reason=reason,
        detail={"second_person_above_minor": [before, limit_minor]},
        now=now,
    )
    session.touch("anomalies", "audit")
