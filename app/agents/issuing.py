"""Issuing many commands at once: what a plan's tick and a click on a whole filter need."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from app.agents.commands import look_now
from app.agents.fences import next_fences
from app.agents.models import Command
from app.unit_of_work import WorkSession


@dataclass(frozen=True)
class TradeOrder:
    """What one trade's command says; ``message`` as for commands.issue."""

    trade_no: str
    message: dict[str, Any]


def issue_many(
    session: WorkSession,
    *,
    type: str,
    group_id: int,
    orders: Sequence[TradeOrder],
    deadline: timedelta,
    now: datetime,
    fixer_code: str | None = None,
    priority: int = 0,
    feature: str | None = None,
) -> dict[str, str]:
    """Write a pending command for each trade of the group that has none live, in one statement.

    Returns the command's id by trade number; a trade left out has a live command (commands.issue would raise
    'trade_busy'): the partial unique index decides.
    """
    if not orders:
        return {}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    trade_nos = [order.trade_no for order in orders]
    fences = next_fences(session, group_id, trade_nos, now) if type == "Repair" else {}
    rows = [
        {
            "id": uuid.uuid4().hex,
            "group_id": group_id,
            "is_group_addressed": True,
            "type": type,
            "trade_no": order.trade_no,
            "fixer_code": fixer_code,
            "feature": feature,
            "message": order.message,
            "priority": priority,
            "state": "pending",
            "fence": fences.get(order.trade_no, 1),
            "error": "",
            "created_at": now,
            "deadline_at": now + deadline,
        }
        for order in orders
    ]
    statement = insert(Command).on_conflict_do_nothing().returning(Command.trade_no, Command.id)
    issued = {str(trade_no): command_id for trade_no, command_id in session.execute(statement, rows)}
    look_now(session)
    return issued
