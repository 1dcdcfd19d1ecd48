"""Above which amount a money order takes a second person, group by group."""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.anomalies.service import GroupIds
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import InvalidError
from app.executions.order_models import MoneyOrderLimit
from app.keyset import ReadSession
from app.unit_of_work import WorkSession
from app.users.groups import get_group, list_groups
from app.users.models import SystemGroup

DEFAULT_LIMIT_MINOR: Final = 100_000
"""¥1,000.00: what one slip may cost. Below it one person's word is enough, above it two people look."""
MOST_MINOR: Final = 10**14


def limit_of(session: ReadSession, group_id: int) -> int:
    """Return the group's limit in minor units: an order above it takes a second person."""
    found = session.get(MoneyOrderLimit, group_id)
    return DEFAULT_LIMIT_MINOR if found is None else found.second_person_above_minor


def list_limits(session: ReadSession, group_ids: GroupIds) -> list[tuple[SystemGroup, int]]:
    """Return the groups a person may see, each with its limit, by code."""
    known = {one.group_id: one.second_person_above_minor for one in session.scalars(select(MoneyOrderLimit))}
    groups = list_groups(session, None if group_ids is None else list(group_ids))
    return [(group, known.get(group.id, DEFAULT_LIMIT_MINOR)) for group in groups]


def set_limit(
    session: WorkSession, group_id: int, limit_minor: int | None, *, reason: str, actor: Actor, now: datetime
) -> None:
    """Set a group's limit; 0 asks a second person for every order.

    Raises NotFoundError('group'), InvalidError('required' | 'amount_format') on field limit, for the reason.
    """
    reason = required_reason(reason)
    group = get_group(session, group_id)
    if limit_minor is None:
        raise InvalidError("required", field="limit")
    if not 0 <= limit_minor <= MOST_MINOR:
        raise InvalidError("amount_format", field="limit")
    before = limit_of(session, group_id)
    found = session.get(MoneyOrderLimit, group_id)
    if found is None:
        found = MoneyOrderLimit(group_id=group_id)
        session.add(found)
    found.second_person_above_minor = limit_minor
    found.changed_by, found.changed_at = actor.name, now
    audit.record(
        session,
        actor=actor,
        action="order.limit",
        object_type="group",
        object_id=group.id,
        object_name=group.name,
        sys_code=group.sys_code,
        reason=reason,
        detail={"second_person_above_minor": [before, limit_minor]},
        now=now,
    )
    session.touch("anomalies", "audit")
