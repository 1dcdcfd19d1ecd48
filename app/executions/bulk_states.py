"""The states of a bulk repair: running → paused → running, finished or stopped; each change is audited."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import lazyload

from app.audit import service as audit
from app.audit.service import Actor
from app.executions.bulk_models import BulkRepair
from app.unit_of_work import WorkSession

BulkChanged = Callable[[WorkSession, BulkRepair, Mapping[str, Any], datetime], None]
"""Hears of a bulk repair in its new state, and what the audit tells of the change."""


def lock(session: WorkSession, bulk_id: int) -> BulkRepair | None:
    """Return a bulk repair as it stands now, held until the work is done; None where there is none."""
    held = select(BulkRepair).where(BulkRepair.id == bulk_id).options(lazyload(BulkRepair.group))
    fresh = held.with_for_update().execution_options(populate_existing=True)
    return session.scalars(fresh).one_or_none()


def change(
    session: WorkSession,
    bulk: BulkRepair,
    to: str,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    code: str = "",
    detail: str = "",
    trade_no: str = "",
    told: Mapping[str, str] | None = None,
) -> None:
    """Move a bulk repair to another state and write the change down; ``code`` says why, '' for no cause.

    ``told`` goes into the audit beside it: whose stop it was, or in whose name it had begun.
    """
    before = bulk.state
    bulk.state, bulk.changed_at = to, now
    bulk.pause_code, bulk.pause_detail, bulk.pause_trade_no = code[:40], detail[:500], trade_no
    bulk.finished_at = now if to in ("finished", "stopped") else None
    action = {"paused": "bulk.pause", "running": "bulk.resume", "stopped": "bulk.stop"}.get(to, "bulk.finish")
    known = {"from": before, "to": to, "stage": bulk.stage, "code": code, "trade_no": trade_no}
    known |= dict(told or {})
    write_down(session, bulk, action, actor, reason or detail, known, now)
    listeners: tuple[BulkChanged, ...] = current_app.extensions.get("bulk_changed", ())
    for listener in listeners:
        listener(session, bulk, known, now)


def write_down(
    session: WorkSession,
    bulk: BulkRepair,
    action: str,
    actor: Actor,
    reason: str,
    detail: dict[str, Any],
    now: datetime,
) -> None:
    """Write what happened to a bulk repair into the audit, which is its history."""
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="bulk",
        object_id=bulk.id,
        object_name=f"#{bulk.id}",
        sys_code=bulk.group.sys_code,
        reason=reason[:500],
        detail={name: value for name, value in detail.items() if value != ""},
        now=now,
    )
    session.touch("executions", "audit")
