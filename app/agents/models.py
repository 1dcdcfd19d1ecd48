"""Agents, commands and frames."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

BigId = BigInteger().with_variant(Integer, "sqlite")

LIVE = ("pending", "sent", "accepted", "running")
"""Command states in which the command still holds its trade."""

COMMAND_STATES = (
    *LIVE,
    "finished",
    "rejected",
    "cancelled",
    "expired",
    "indeterminate",
    "superseded",
)
_live_sql = "state IN ('pending', 'sent', 'accepted', 'running')"
_ended_sql = "state IN ('finished', 'rejected', 'cancelled', 'expired', 'indeterminate', 'superseded')"
IS_LIVE: Final[ColumnElement[bool]] = literal_column(f"command.{_live_sql}")
"""A command is live, in the words of the partial indexes: by a list of bound values SQLite would not know
them again and read every command there ever was. A query narrows further by ``state`` as it likes."""
IS_PENDING: Final[ColumnElement[bool]] = literal_column("command.state = 'pending'")
"""A command waits to be sent, likewise."""
IS_ENDED: Final[ColumnElement[bool]] = literal_column(f"command.{_ended_sql}")
"""A command holds its trade no longer, in the words of its partial index."""


class Agent(Base):
    """A client beside a production system. Its token is kept as SHA-256 only; its group comes from here,
    never a frame.

    ``epoch`` rises with each session. Online means ``connected_at`` is set and ``last_seen_at`` is fresh.
    ``features``: what it can be asked beyond the first protocol. ``stopped_here``: why its local stop stands,
    ``stopped_here_at``: since when the server knows of it; both None where there is none. ``limits``: what
    its own configuration lets it do at most (agent.protocol.AgentLimits), None where it has not told.
    """

    __tablename__ = "agent"
    __table_args__ = (
        Index(
            "ix_agent_stopped_here",
            "id",
            sqlite_where=text("stopped_here IS NOT NULL"),
            postgresql_where=text("stopped_here IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    token_hint: Mapped[str] = mapped_column(String(12), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    epoch: Mapped[int] = mapped_column(default=0)
    connected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disconnected_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    boot_id: Mapped[str] = mapped_column(String(40), default="")
    journal_id: Mapped[str] = mapped_column(String(40), default="")
    journal_length: Mapped[int] = mapped_column(default=0)
    version: Mapped[str] = mapped_column(String(40), default="")
    host: Mapped[str] = mapped_column(String(120), default="")
    address: Mapped[str] = mapped_column(String(64), default="")
    fixer_codes: Mapped[list[str]] = mapped_column(JSON, default=list)
    features: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    stopped_here: Mapped[str | None] = mapped_column(String(300))
    stopped_here_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    limits: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    skew_ms: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(String(500), default="")

    group: Mapped[SystemGroup] = relationship(lazy="joined")


class Command(Base):
    """A command: committed here before it is a frame. A Repair or Verify is addressed to the group, a Collect
    to an agent.

    ``id`` is a UUID hex, the ``command_id`` of its frames. ``message`` is the frame's content without id and
    fence. Transitions are timestamp columns. At most one live command a trade (partial unique index).
    ``priority`` is the plan's level, above all levels for a look at what waits, and above that where a person
    asks: higher is sent first.
    ``feature``: what an agent must have named in its Hello to be sent it, None for nothing.
    """

    __tablename__ = "command"
    __table_args__ = (
        CheckConstraint(f"state IN {COMMAND_STATES}", name="state"),
        CheckConstraint("type IN ('Collect', 'Repair', 'Verify')", name="type"),
        Index(
            "uq_command_live_trade",
            "group_id",
            "trade_no",
            unique=True,
            sqlite_where=text(f"{_live_sql} AND trade_no IS NOT NULL"),
            postgresql_where=text(f"{_live_sql} AND trade_no IS NOT NULL"),
        ),
        Index("ix_command_type_seq", "type", "seq"),
        Index(
            "ix_command_live_agent",
            "agent_id",
            "state",
            sqlite_where=text(_live_sql),
            postgresql_where=text(_live_sql),
        ),
        # Of ended ones only, so that what is live is never looked for among all there ever were.
        Index(
            "ix_command_ended_agent",
            "agent_id",
            "seq",
            sqlite_where=text(_ended_sql),
            postgresql_where=text(_ended_sql),
        ),
        Index(
            "ix_command_live_deadline",
            "deadline_at",
            sqlite_where=text(_live_sql),
            postgresql_where=text(_live_sql),
        ),
    )

    seq: Mapped[int] = mapped_column(BigId, primary_key=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    is_group_addressed: Mapped[bool] = mapped_column(default=True)
    type: Mapped[str] = mapped_column(String(10))
    trade_no: Mapped[str | None] = mapped_column(String(64), index=True)
    fixer_code: Mapped[str | None] = mapped_column(String(80))
    feature: Mapped[str | None] = mapped_column(String(40))
    message: Mapped[dict[str, Any]] = mapped_column(JSON)
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default="pending")
    fence: Mapped[int] = mapped_column(default=1)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deadline_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    agent: Mapped[Agent | None] = relationship(viewonly=True)


# In the order in which it is sent, so that of a long queue no more is read than is looked for.
Index(
    "ix_command_pending",
    Command.group_id,
    Command.priority.desc(),
    Command.seq,
    sqlite_where=text("state = 'pending'"),
    postgresql_where=text("state = 'pending'"),
)


STOP_SCOPES = ("all", "group", "agent", "here")
_standing_sql = "lifted_at IS NULL"
IS_STANDING: Final[ColumnElement[bool]] = literal_column(f"stop.{_standing_sql}")
"""A stop holds repairs back, in the words of its partial index."""


class Stop(Base):
    """A stop of repairs: of everything, a group, or one agent (whose group it carries). It is never deleted.

    ``name``: the group's code or the agent's name, '' for everything. At most one stands for a target.
    ``here``: an agent's local stop that is over, as told last; while it stands the agent's row holds it.
    """

    __tablename__ = "stop"
    __table_args__ = (
        CheckConstraint(f"scope IN {STOP_SCOPES}", name="scope"),
        CheckConstraint("scope != 'here' OR lifted_at IS NOT NULL", name="here_is_over"),
        Index(
            "uq_stop_standing",
            "scope",
            text("coalesce(group_id, 0)"),
            text("coalesce(agent_id, 0)"),
            unique=True,
            sqlite_where=text(_standing_sql),
            postgresql_where=text(_standing_sql),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(String(8))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agent.id"))
    name: Mapped[str] = mapped_column(String(80), default="")
    reason: Mapped[str] = mapped_column(String(500))
    set_by: Mapped[str] = mapped_column(String(80))
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(80))
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lift_reason: Mapped[str | None] = mapped_column(String(500))


class Frame(Base):
    """One WebSocket message, either way, masked.

    ``latency_ms``: from the command's sending to this answer.
    """

    __tablename__ = "frame"
    __table_args__ = (
        Index("ix_frame_agent_id_id", "agent_id", "id"),
        Index("ix_frame_group_id_id", "group_id", "id"),
        Index("ix_frame_type_id", "type", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    group_id: Mapped[int]
    agent_id: Mapped[int]
    direction: Mapped[str] = mapped_column(String(3))
    type: Mapped[str] = mapped_column(String(24))
    size: Mapped[int]
    message_id: Mapped[str] = mapped_column(String(40), default="")
    command_id: Mapped[str | None] = mapped_column(String(32), index=True)
    trade_no: Mapped[str | None] = mapped_column(String(64), index=True)
    latency_ms: Mapped[int | None]
    body: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(String(300), default="")


class ReceivedMessage(Base):
    """The ids of durable messages taken from agents: a repeated one is acknowledged and not applied again."""

    __tablename__ = "received_message"

    agent_id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
