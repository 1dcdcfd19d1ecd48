"""Executions (one anomaly's repair), attempts (one try), steps (one outside effect)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.agents.models import Agent, BigId
from app.anomalies.models import Anomaly
from app.columns import UtcDateTime
from app.extensions import Base

OUTCOMES = (
    "repaired",
    "already_consistent",
    "failed",
    "unknown",
    "wait",
    "refused",
    "needs_human",
    "cancelled",
    "rejected",
    "expired",
    "superseded",
)


class Execution(Base):
    """The repair of one anomaly, over all its attempts. ``state`` mirrors the anomaly while it lives.

    ``before`` is the row the first attempt found, ``after`` the row the repair left.
    """

    __tablename__ = "execution"
    __table_args__ = (Index("ix_execution_group_id_id", "group_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"), unique=True)
    plan_id: Mapped[int | None]
    plan_version: Mapped[int | None]
    fixer_code: Mapped[str] = mapped_column(String(80))
    trade_no: Mapped[str] = mapped_column(String(64), index=True)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    anomaly: Mapped[Anomaly] = relationship(lazy="joined")
    attempts: Mapped[list["Attempt"]] = relationship(back_populates="execution", order_by="Attempt.number")


class Attempt(Base):
    """One try. ``trigger``: tick, click, command_line. ``outcome`` None while it runs.

    ``money_moved``: this attempt or one before it has posted or paid.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("execution_id", "number"),
        Index("ix_attempt_group_id_id", "group_id", "id"),
        Index("ix_attempt_outcome_execution_id", "outcome", "execution_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    execution_id: Mapped[int] = mapped_column(ForeignKey("execution.id", ondelete="CASCADE"))
    anomaly_id: Mapped[int] = mapped_column(BigId, index=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    number: Mapped[int]
    command_id: Mapped[str] = mapped_column(String(32), unique=True)
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    trigger: Mapped[str] = mapped_column(String(16))
    actor_name: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500), default="")
    outcome: Mapped[str | None] = mapped_column(String(20))
    outcome_reason: Mapped[str] = mapped_column(String(500), default="")
    is_confirmed_failed: Mapped[bool] = mapped_column(default=False)
    money_moved: Mapped[bool] = mapped_column(default=False)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    facts_before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    facts_after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None]

    execution: Mapped[Execution] = relationship(back_populates="attempts")
    agent: Mapped[Agent | None] = relationship(lazy="joined")
    steps: Mapped[list["Step"]] = relationship(order_by="Step.seq")


class Step(Base):
    """One step of an attempt, as the agent told it (agent.answers.StepRecord)."""

    __tablename__ = "step"
    __table_args__ = (UniqueConstraint("attempt_id", "seq"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id", ondelete="CASCADE"))
    seq: Mapped[int]
    name: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(String(160))
    state: Mapped[str] = mapped_column(String(12))
    moves_money: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int] = mapped_column(default=0)
    detail: Mapped[str] = mapped_column(String(500), default="")
