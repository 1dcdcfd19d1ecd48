"""Reading the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from app.audit.models import AuditEntry
from app.errors import NotFoundError
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of

NO_ID: Final = 2**31 - 1
"""Above every id there is."""


@dataclass(frozen=True)
class Sight:
    """Which entries a person may see. ``sys_codes`` None: all; else those of these groups, and their own."""

    actor_id: int
    sys_codes: Sequence[str] | None


@dataclass(frozen=True)
class AuditFilter:
    """What is looked for; an empty text or None does not narrow."""

    actor_name: str = ""
    action: str = ""
    object_type: str = ""
    object_text: str = ""
    sys_code: str = ""
    start: datetime | None = None
    end: datetime | None = None


def list_entries(
    session: ReadSession, asked: AuditFilter, sight: Sight, cut: Cut
) -> tuple[Page[AuditEntry], CappedCount]:
    """Return a page of entries, the newest first, and how many match."""
    filters = [*_seen(sight), *_filters(asked), *_time_filters(session, asked)]
    order = Order(value=AuditEntry.id, identity=AuditEntry.id)
    return page_of(session, AuditEntry, filters, order, cut), capped_count(session, AuditEntry, filters)


def get_entry(session: ReadSession, entry_id: int, sight: Sight) -> AuditEntry:
    """Return the entry. Raises NotFoundError where it is absent or not to be seen."""
    entry = session.get(AuditEntry, entry_id)
    is_seen = entry is not None and (
        sight.sys_codes is None or entry.sys_code in sight.sys_codes or entry.actor_id == sight.actor_id
    )
    if entry is None or not is_seen:
        raise NotFoundError
    return entry


def names_group(session: ReadSession, sys_code: str, sight: Sight) -> bool:
    """Return whether any entry a person may see is of this group; making a group is one."""
    found = select(AuditEntry.id).where(AuditEntry.sys_code == sys_code, *_seen(sight)).limit(1)
    return session.scalars(found).first() is not None


def _seen(sight: Sight) -> list[ColumnElement[bool]]:
    if sight.sys_codes is None:
        return []
    return [or_(AuditEntry.sys_code.in_(sight.sys_codes), AuditEntry.actor_id == sight.actor_id)]


def _filters(asked: AuditFilter) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if asked.actor_name:
        filters.append(AuditEntry.actor_name == asked.actor_name)
    if asked.action:
        filters.append(AuditEntry.action == asked.action)
    if asked.object_type:
        filters.append(AuditEntry.object_type == asked.object_type)
    if asked.object_text:
        text = asked.object_text
        filters.append(
            or_(AuditEntry.object_id == text, AuditEntry.object_name.startswith(text, autoescape=True))
        )
    if asked.sys_code:
        filters.append(AuditEntry.sys_code == asked.sys_code)
    return filters


def _time_filters(session: ReadSession, asked: AuditFilter) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if asked.start is not None:
        filters.append(AuditEntry.id >= _first_id_since(session, asked.start))
    if asked.end is not None:
        filters.append(AuditEntry.id < _first_id_since(session, asked.end))
    return filters


def _first_id_since(session: ReadSession, moment: datetime) -> int:
    """Return the lowest id of an entry made at ``moment`` or later, NO_ID for none: ids rise with ``at``."""
    statement = (
        select(AuditEntry.id).where(AuditEntry.at >= moment).order_by(AuditEntry.at, AuditEntry.id).limit(1)
    )
    return session.scalars(statement).first() or NO_ID
