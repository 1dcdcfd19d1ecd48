"""Repairs that plans began by themselves, as limits and breakers count them; and breakers that tripped."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.agents.models import BigId
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

SCOPES = ("plan", "group")
AMOUNT: Final = "amount"
"""Trips before an hour's amount is passed: what was commanded by then lies within it, and is sent."""
CODES = ("failures", "returns", AMOUNT)
TRIPPED_SQL = "reset_at IS NULL"


class BegunRepair(Base):
    """An attempt that a plan began by itself, kept for a few days to be counted.

    It counts for its group and fixer: a plan made anew for these goes on counting.
    ``is_new`` is false where it goes on with a repair that has moved money, for its amount counts once, and
    where its command closed before any agent had taken it.
    ``amount_minor`` and ``currency`` are as known when it began. ``outcome`` None while it runs.
    """

    __tablename__ = "begun_repair"
    __table_args__ = (
        # The first two cover what limits and breakers sum up.
        Index(
            "ix_begun_repair_fixer_code_begun_at",
            "group_id",
            "fixer_code",
            "begun_at",
            "is_new",
            "currency",
            "amount_minor",
        ),
        Index(
            "ix_begun_repair_group_id_begun_at", "group_id", "begun_at", "is_new", "currency", "amount_minor"
        ),
        Index("ix_begun_repair_fixer_code_ended_at", "group_id", "fixer_code", "ended_at", "outcome"),
        Index("ix_begun_repair_group_id_ended_at", "group_id", "ended_at", "outcome"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    group_id: Mapped[int]
    plan_id: Mapped[int]
    fixer_code: Mapped[str] = mapped_column(String(80))
    command_id: Mapped[str] = mapped_column(String(32), unique=True)
    is_new: Mapped[bool]
    amount_minor: Mapped[int | None] = mapped_column(BigId)
    currency: Mapped[str] = mapped_column(String(3))
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(20))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Breaker(Base):
    """One trip of a plan's or a group's circuit breaker; until it is reset nothing new is repaired by itself.

    ``subject_id`` is the plan's id or the group's, ``subject_name`` the plan's fixer or the group's code. A
    plan's breaker goes by group and fixer: it holds for a plan made anew. ``code``: one of CODES, ``figures``
    what it tripped on. At most one of a subject is not reset: where an hour's amount has stopped it, and what
    that had let go fails or comes back, the row turns into that one.
    """

    __tablename__ = "breaker"
    __table_args__ = (
        CheckConstraint(f"scope IN {SCOPES}", name="scope"),
        CheckConstraint(f"code IN {CODES}", name="code"),
        Index("ix_breaker_group_id_scope_subject_name_id", "group_id", "scope", "subject_name", "id"),
        Index("ix_breaker_group_id_reset_at", "group_id", "reset_at"),
        Index(
            "uq_breaker_tripped",
            "scope",
            "subject_id",
            unique=True,
            sqlite_where=text(TRIPPED_SQL),
            postgresql_where=text(TRIPPED_SQL),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(String(8))
    subject_id: Mapped[int]
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    subject_name: Mapped[str] = mapped_column(String(80))
    code: Mapped[str] = mapped_column(String(16))
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)
    tripped_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reset_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reset_by: Mapped[str] = mapped_column(String(80), default="")
    reset_reason: Mapped[str] = mapped_column(String(500), default="")

    group: Mapped[SystemGroup] = relationship(lazy="joined")
