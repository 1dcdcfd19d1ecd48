"""Collection runs, their tasks, anomalies and their history."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.agents.models import Agent, BigId
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

RUN_STATES = ("waiting", "running", "finished", "incomplete", "failed", "cancelled")
TASK_STATES = ("pending", "running", "finished", "incomplete", "failed", "cancelled")
OPEN_STATES = ("open", "repairing", "waiting", "exhausted", "needs_human")
"""Not terminal: at most one such anomaly a trade."""
TERMINAL_STATES = ("repaired", "healed", "ignored")
ANOMALY_STATES = (*OPEN_STATES, *TERMINAL_STATES)
OPEN_SQL = "state IN ('open', 'repairing', 'waiting', 'exhausted', 'needs_human')"
"""OPEN_STATES as the partial indexes have it: a query must say it word for word to use them."""
HELD_SQL: Final = "hold_code IS NOT NULL"
"""A guard keeps it for a person, in the words of its partial index."""
RETURNED_SQL: Final = "returned_of IS NOT NULL"
"""It was repaired before, in the words of its partial index."""
AMOUNT_SQL: Final = "coalesce(amount_minor, -1)"
"""The amount as lists sort by it, in the words of its index: unknown ones stand below all others."""
_live_run_sql = "state IN ('waiting', 'running')"
_pending_claim_sql = "ended_at IS NULL"
IS_LIVE_RUN: Final[ColumnElement[bool]] = literal_column(f"collection_run.{_live_run_sql}")
"""A run has not ended, in the words of the partial index: ended ones are many, and this is asked often."""


class CollectionRun(Base):
    """One broadcast to one group. ``trigger``: click, command_line, cron, first_start.

    Counts are over all tasks. ``unverified`` (未能核实): rows that do not disagree but whose bank answer is
    unknown. ``absent_up_to``: the id of the last anomaly of which it was seen whether it is absent.
    """

    __tablename__ = "collection_run"
    __table_args__ = (
        CheckConstraint(f"state IN {RUN_STATES}", name="state"),
        Index("ix_collection_run_group_id_id", "group_id", "id"),
        Index("ix_collection_run_state_id", "state", "id"),
        Index("ix_collection_run_trigger_id", "trigger", "id"),
        Index(
            "ix_collection_run_live",
            "group_id",
            sqlite_where=text(_live_run_sql),
            postgresql_where=text(_live_run_sql),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    trigger: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500), default="")
    fixer_codes: Mapped[list[str]] = mapped_column(JSON)
    window_start: Mapped[datetime] = mapped_column(UtcDateTime)
    window_end: Mapped[datetime] = mapped_column(UtcDateTime)
    shards: Mapped[int] = mapped_column(default=0)
    scanned: Mapped[int] = mapped_column(default=0)
    reported: Mapped[int] = mapped_column(default=0)
    new_anomalies: Mapped[int] = mapped_column(default=0)
    unverified: Mapped[int] = mapped_column(default=0)
    verifying: Mapped[int] = mapped_column(default=0)
    absent_up_to: Mapped[int] = mapped_column(BigId, default=0)
    amount_minor: Mapped[int] = mapped_column(BigId, default=0)
    error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    again_of: Mapped[int | None]

    group: Mapped[SystemGroup] = relationship(lazy="joined")
    tasks: Mapped[list["CollectionTask"]] = relationship(
        back_populates="run", order_by="CollectionTask.shard, CollectionTask.id"
    )


class CollectionTask(Base):
    """One agent's shard of a run. A shard given to another agent is a new task; the old one is failed."""

    __tablename__ = "collection_task"
    __table_args__ = (CheckConstraint(f"state IN {TASK_STATES}", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("collection_run.id", ondelete="CASCADE"), index=True)
    agent_id: Mapped[int] = mapped_column(ForeignKey("agent.id"))
    command_id: Mapped[str] = mapped_column(String(32), unique=True)
    shard: Mapped[int]
    shards: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="pending")
    scanned: Mapped[int] = mapped_column(default=0)
    estimated: Mapped[int] = mapped_column(default=0)
    chunks: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    amount_minor: Mapped[int] = mapped_column(BigId, default=0)
    unverified: Mapped[int] = mapped_column(default=0)
    new_anomalies: Mapped[int] = mapped_column(default=0)
    duration_ms: Mapped[int | None]
    error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    run: Mapped[CollectionRun] = relationship(back_populates="tasks")
    agent: Mapped[Agent] = relationship(lazy="joined")


class ReportedChunk(Base):
    """A chunk taken: its rows and amount count once towards the trailer."""

    __tablename__ = "reported_chunk"

    task_id: Mapped[int] = mapped_column(
        ForeignKey("collection_task.id", ondelete="CASCADE"), primary_key=True
    )
    chunk: Mapped[int] = mapped_column(primary_key=True)
    rows: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(BigId)


class Anomaly(Base):
    """A disagreement of one trade.

    ``row`` is the last row read, ``facts`` what it rests on (agent.facts.Facts as JSON). ``fixer_code``
    None: a row that makes no sense. ``resolution`` is set with state repaired: ``success`` (修复为成功) or
    ``confirmed_failed`` (确认失败). ``failed_attempts`` counts only outcome ``failed``.
    ``has_moved_money``: a repair has posted or paid, or may have, and is resumed, never exhausted;
    ``money_moved_at`` begins its 24 hours. ``unknown_since``: an attempt ended and nobody knows what it did;
    until a Verify ordered after that says repair or resume, no attempt starts by itself. ``returned_of``: the
    repaired anomaly of the same trade before it. ``hold_code``: the guard that leaves an open or waiting one
    to a click (app.guards), ``hold_detail`` its figures, ``hold_terms`` the limits it was held against; None:
    nothing holds it.
    """

    __tablename__ = "anomaly"
    __table_args__ = (
        CheckConstraint(f"state IN {ANOMALY_STATES}", name="state"),
        Index(
            "uq_anomaly_open_trade",
            "group_id",
            "trade_no",
            unique=True,
            sqlite_where=text(OPEN_SQL),
            postgresql_where=text(OPEN_SQL),
        ),
        Index("ix_anomaly_group_id_state_id", "group_id", "state", "id"),
        Index("ix_anomaly_state_fixer_code_id", "state", "fixer_code", "id"),
        # Each state in the order of a sort; group and fixer with it, by which lists narrow without the row.
        Index("ix_anomaly_state_amount", "state", text(AMOUNT_SQL), "id", "group_id", "fixer_code"),
        Index("ix_anomaly_state_last_seen_at", "state", "last_seen_at", "id", "group_id", "fixer_code"),
        Index(
            # Covers the figures of home: open anomalies are counted without reading a row.
            "ix_anomaly_open_figures",
            "group_id",
            "state",
            "kind",
            "fixer_code",
            "amount_minor",
            sqlite_where=text(OPEN_SQL),
            postgresql_where=text(OPEN_SQL),
        ),
        Index("ix_anomaly_trade_no", "trade_no"),
        # Covers what plans tell of a day: closed anomalies are counted without reading a row.
        Index("ix_anomaly_closed_at", "closed_at", "group_id", "fixer_code", "state", "resolution"),
        Index("ix_anomaly_first_seen_at", "first_seen_at"),
        Index(
            "ix_anomaly_held",
            "group_id",
            "fixer_code",
            sqlite_where=text(HELD_SQL),
            postgresql_where=text(HELD_SQL),
        ),
        Index(
            "ix_anomaly_returned",
            "group_id",
            "first_seen_at",
            "fixer_code",
            sqlite_where=text(RETURNED_SQL),
            postgresql_where=text(RETURNED_SQL),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    trade_no: Mapped[str] = mapped_column(String(64))
    trade_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str | None] = mapped_column(String(16))
    bookkeeping: Mapped[str | None] = mapped_column(String(16))
    channel: Mapped[str | None] = mapped_column(String(32))
    amount_minor: Mapped[int | None] = mapped_column(BigId)
    currency: Mapped[str] = mapped_column(String(3), default="CNY")
    fixer_code: Mapped[str | None] = mapped_column(String(80))
    outcome: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(200), default="")
    state: Mapped[str] = mapped_column(String(16), default="open")
    resolution: Mapped[str | None] = mapped_column(String(20))
    row: Mapped[dict[str, Any]] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    row_hash: Mapped[str] = mapped_column(String(64), default="")
    row_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_attempts: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    has_moved_money: Mapped[bool] = mapped_column(default=False)
    money_moved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    waiting_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    unknown_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    first_run_id: Mapped[int | None]
    last_run_id: Mapped[int | None] = mapped_column(index=True)
    times_seen: Mapped[int] = mapped_column(default=1)
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    returned_of: Mapped[int | None] = mapped_column(BigId)
    hold_code: Mapped[str | None] = mapped_column(String(20))
    hold_detail: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    hold_terms: Mapped[str | None] = mapped_column(String(120))
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    group: Mapped[SystemGroup] = relationship(lazy="joined")

    @property
    def has_own_number(self) -> bool:
        """Whether ``trade_no`` is what production stores, not one made up for a row without a usable one."""
        stored = self.row.get("TRD_NUM")
        return stored is not None and str(stored).rstrip(" ") == self.trade_no


class AnomalyEvent(Base):
    """One change of state, or one thing that happened: from, to, why, who, when."""

    __tablename__ = "anomaly_event"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(String(500), default="")
    actor_name: Mapped[str] = mapped_column(String(80))
    command_id: Mapped[str | None] = mapped_column(String(32))


class OutsideClaim(Base):
    """A person's word that a trade was healed outside, and what a Verify made of it (app.anomalies.claims).

    ``outcome`` None while it is verified; ``held``: closed as healed; ``refuted``: the facts say otherwise,
    ``told`` what; ``unanswered``: nobody verified it; ``overtaken``: the anomaly was closed meanwhile.
    """

    __tablename__ = "outside_claim"
    __table_args__ = (
        Index(
            "uq_outside_claim_pending",
            "anomaly_id",
            unique=True,
            sqlite_where=text(_pending_claim_sql),
            postgresql_where=text(_pending_claim_sql),
        ),
        Index("ix_outside_claim_anomaly_id_id", "anomaly_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"))
    command_id: Mapped[str] = mapped_column(String(32), unique=True)
    reference: Mapped[str] = mapped_column(String(120))
    reason: Mapped[str] = mapped_column(String(500))
    actor_id: Mapped[int | None]
    actor_name: Mapped[str] = mapped_column(String(80))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(16))
    told: Mapped[str] = mapped_column(String(200), default="")


class QuarterCount(Base):
    """Kept counts for the home page: what happened in a group in a quarter of an hour, by name.

    Every zone's midnight is the beginning of a quarter, so that a day's sum is exact.
    """

    __tablename__ = "quarter_count"
    __table_args__ = (UniqueConstraint("group_id", "quarter", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int]
    quarter: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    name: Mapped[str] = mapped_column(String(40))
    count: Mapped[int] = mapped_column(default=0)
    amount_minor: Mapped[int] = mapped_column(BigId, default=0)
