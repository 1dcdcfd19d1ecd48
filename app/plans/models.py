"""Repair plans, their versions, recurring collections, and the ticks of both."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    String,
    UniqueConstraint,
    and_,
    or_,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.columns import UtcDateTime
from app.extensions import Base
from app.plans.limits import LimitColumns
from app.thresholds import ThresholdColumns
from app.users.models import SystemGroup

DEFAULT_CRON = "0 0/2 * * * ?"
MODES = ("auto", "manual")
STATES = ("normal", "disabled")
LEVELS = (0, 1, 2, 3)
"""不重要, 一般, 重要, 非常重要."""
NO_ID_TWICE: Final = {"sqlite_autoincrement": True}
"""Ticks and repairs outlive what they name; SQLite would give its id to the next plan or schedule."""


class Plan(LimitColumns, ThresholdColumns, Base):
    """How the anomalies of one fixer in one group are repaired. Parameters as the product document has them.

    ``next_due_at`` is None for a plan without ticks (has_ticks). Limits and thresholds bound what it does by
    itself. ``is_shadow`` (影子运行): it foretells and repairs nothing. ``narrowed_seq``: once it was to do
    less, the newest command of then, until none of its repairs up to that one is left.
    """

    __tablename__ = "plan"
    __table_args__ = (
        UniqueConstraint("group_id", "fixer_code"),
        CheckConstraint("max_retries BETWEEN 0 AND 99", name="max_retries"),
        CheckConstraint("mode IN ('auto', 'manual')", name="mode"),
        CheckConstraint("state IN ('normal', 'disabled')", name="state"),
        CheckConstraint("level BETWEEN 0 AND 3", name="level"),
        NO_ID_TWICE,
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    fixer_code: Mapped[str] = mapped_column(String(80))
    max_retries: Mapped[int] = mapped_column(default=0)
    retry_cron: Mapped[str] = mapped_column(String(120), default=DEFAULT_CRON)
    mode: Mapped[str] = mapped_column(String(8), default="auto")
    state: Mapped[str] = mapped_column(String(8), default="normal")
    level: Mapped[int] = mapped_column(default=3)
    description: Mapped[str] = mapped_column(String(500), default="")
    zone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    is_shadow: Mapped[bool] = mapped_column(default=False)
    narrowed_seq: Mapped[int | None] = mapped_column(BigInteger())
    version: Mapped[int] = mapped_column(default=1)
    next_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(80))

    group: Mapped[SystemGroup] = relationship(lazy="joined")

    @property
    def has_ticks(self) -> bool:
        """Whether it goes by its cron: not a disabled one, nor a manual one, unless it is in shadow, for to
        foretell moves nothing.
        """
        return self.state == "normal" and (self.mode == "auto" or self.is_shadow)


HAS_TICKS: Final[ColumnElement[bool]] = and_(Plan.state == "normal", or_(Plan.mode == "auto", Plan.is_shadow))
"""Plan.has_ticks, as a condition."""


class PlanVersion(Base):
    """A plan as it stood after one change."""

    __tablename__ = "plan_version"
    __table_args__ = (UniqueConstraint("plan_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plan.id", ondelete="CASCADE"))
    version: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor_name: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500), default="")
    values: Mapped[dict[str, Any]] = mapped_column(JSON)


class CollectionSchedule(Base):
    """The recurring collection of a group (定时收集). No ``fixer_codes``: all.

    It looks ``window_hours`` back from the tick.
    """

    __tablename__ = "collection_schedule"
    __table_args__ = NO_ID_TWICE

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"), unique=True)
    cron: Mapped[str] = mapped_column(String(120))
    zone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    fixer_codes: Mapped[list[str]] = mapped_column(JSON, default=list)
    window_hours: Mapped[int] = mapped_column(default=168)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    runs_on_first_connect: Mapped[bool] = mapped_column(default=False)
    next_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(80))

    group: Mapped[SystemGroup] = relationship(lazy="joined")


class Tick(Base):
    """One due time of a plan or a schedule, claimed once; ``missed`` due times before it were skipped."""

    __tablename__ = "tick"
    __table_args__ = (UniqueConstraint("subject", "subject_id", "due_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(12))
    subject_id: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    missed: Mapped[int] = mapped_column(default=0)
    commands: Mapped[int] = mapped_column(default=0)
