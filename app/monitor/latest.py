"""The newest attempts, for home."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.agents.models import Agent
from app.anomalies.models import Anomaly
from app.executions.models import Attempt, Execution
from app.keyset import ReadSession, first_ids
from app.monitor.frames import GroupIds
from app.users.models import SystemGroup

LATEST_LIMIT = 14


@dataclass(frozen=True)
class LatestAttempt:
    """One try, without its evidence. ``outcome`` None while it runs."""

    id: int
    execution_id: int
    trade_no: str
    sys_code: str
    fixer_code: str
    number: int
    trigger: str
    outcome: str | None
    is_confirmed_failed: bool
    amount_minor: int | None
    currency: str
    agent_name: str | None
    created_at: datetime
    started_at: datetime | None
    duration_ms: int | None


def latest_attempts(session: ReadSession, groups: GroupIds) -> list[LatestAttempt]:
    """Return the newest LATEST_LIMIT attempts, newest first."""
    ids = _newest_ids(session, groups)
    statement = (
        select(
            Attempt.id,
            Attempt.execution_id,
            Execution.trade_no,
            SystemGroup.sys_code,
            Execution.fixer_code,
            Attempt.number,
            Attempt.trigger,
            Attempt.outcome,
            Attempt.is_confirmed_failed,
            Anomaly.amount_minor,
            Anomaly.currency,
            Agent.name.label("agent_name"),
            Attempt.created_at,
            Attempt.started_at,
            Attempt.duration_ms,
        )
        .join(Execution, Execution.id == Attempt.execution_id)
        .join(SystemGroup, SystemGroup.id == Attempt.group_id)
        .join(Anomaly, Anomaly.id == Execution.anomaly_id)
        .outerjoin(Agent, Agent.id == Attempt.agent_id)
        .where(Attempt.id.in_(ids))
        .order_by(Attempt.id.desc())
    )
    return [LatestAttempt(**row._mapping) for row in session.execute(statement)]


def _newest_ids(session: ReadSession, groups: GroupIds) -> list[int]:
    newest = select(Attempt.id).order_by(Attempt.id.desc()).limit(LATEST_LIMIT)
    looks = [newest] if groups is None else [newest.where(Attempt.group_id == one) for one in groups]
    return first_ids(session, looks, LATEST_LIMIT)
