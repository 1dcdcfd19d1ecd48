"""Writing and reading the audit trail."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.audit.models import AuditEntry

SYSTEM_NAME = "piculus"
"""The actor's name where the server itself acts (a tick, a time limit)."""


@dataclass(frozen=True)
class Actor:
    """Who acts: a person, the command line or the system. ``address``: where the request came from, or ''."""

    id: int | None
    name: str
    address: str = ""


SYSTEM = Actor(id=None, name=SYSTEM_NAME)


def record(
    session: Session,
    *,
    actor: Actor,
    action: str,
    object_type: str,
    object_id: object,
    object_name: str = "",
    sys_code: str | None = None,
    reason: str = "",
    detail: dict[str, Any] | None = None,
    now: datetime,
) -> AuditEntry:
    """Add one entry to the caller's unit of work; ``detail`` must be plain JSON and hold no secret."""
    entry = AuditEntry(
        at=now,
        actor_id=actor.id,
        actor_name=actor.name,
        action=action,
        object_type=object_type,
        object_id=str(object_id),
        object_name=object_name,
        sys_code=sys_code,
        reason=reason,
        detail=detail or {},
        address=actor.address,
    )
    session.add(entry)
    return entry
