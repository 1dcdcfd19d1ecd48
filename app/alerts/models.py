"""Channels, silences, what waits to be told, and what was sent."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Text,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.agents.models import BigId
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

CHANNEL_KINDS = ("dingtalk", "wecom", "feishu", "mail", "slack", "webhook")
DELIVERY_STATES = ("pending", "sending", "sent", "failed", "silenced", "dropped")
UNDONE_SQL: Final = "state IN ('pending', 'sending')"
IS_UNDONE: Final[ColumnElement[bool]] = literal_column(f"alert_delivery.{UNDONE_SQL}")
"""A message has not ended, in the words of its partial index."""
KEPT_BACK_SQL: Final = "state = 'silenced' AND reviewed_at IS NULL"
IS_KEPT_BACK: Final[ColumnElement[bool]] = literal_column(f"({KEPT_BACK_SQL})")
"""A silence has kept a message back, and was not over when this was last looked at, likewise."""


class AlertChannel(Base):
    """Where alerts go. ``url`` is a secret: it is never logged, audited or put into a page.

    ``group_id`` None: of every group. ``kinds``: the kinds of events wanted. ``least_level``: the least level
    of a trade's plan. ``quiet_from`` and ``quiet_to``: HH:MM in ``zone``, '' for no quiet hours.
    ``rests_until``: nothing is sent before, so that a storm of groups does not exceed what robots take.
    ``failing_since`` and ``last_error`` tell of the newest message alone.
    """

    __tablename__ = "alert_channel"
    __table_args__ = (CheckConstraint(f"kind IN {CHANNEL_KINDS}", name="kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    url: Mapped[str] = mapped_column(Text)
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    kinds: Mapped[list[str]] = mapped_column(JSON)
    least_level: Mapped[int] = mapped_column(default=0)
    language: Mapped[str] = mapped_column(String(2), default="zh")
    grouping_seconds: Mapped[int] = mapped_column(default=60)
    quiet_from: Mapped[str] = mapped_column(String(5), default="")
    quiet_to: Mapped[str] = mapped_column(String(5), default="")
    zone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    tells_recovery: Mapped[bool] = mapped_column(default=True)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    rests_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str] = mapped_column(String(300), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(80))

    group: Mapped[SystemGroup | None] = relationship(lazy="joined")


class AlertSilence(Base):
    """A person wants to hear nothing of a kind (None: of any) in a group (None: in all) until a time."""

    __tablename__ = "alert_silence"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str | None] = mapped_column(String(20))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    until: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    reason: Mapped[str] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(80))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str] = mapped_column(String(80), default="")

    group: Mapped[SystemGroup | None] = relationship(lazy="joined")


class AlertEvent(Base):
    """Something to be told, written in the transaction that made it so, and deleted once it is in deliveries.

    A queue, not a history: whatever is committed here is told or silenced, however often the server dies.
    """

    __tablename__ = "alert_event"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(20))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    key: Mapped[str] = mapped_column(String(120))
    is_recovery: Mapped[bool] = mapped_column(default=False)
    params: Mapped[dict[str, Any]] = mapped_column(JSON)


class AlertCondition(Base):
    """Something told of that has not ended. ``identity`` is kind, group and key in one text."""

    __tablename__ = "alert_condition"

    identity: Mapped[str] = mapped_column(String(180), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), index=True)
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    key: Mapped[str] = mapped_column(String(120))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    params: Mapped[dict[str, Any]] = mapped_column(JSON)


class AlertDelivery(Base):
    """One message to one channel: what gathered for it, and what became of it.

    While ``pending`` and never attempted it still gathers. ``samples`` are the params of the first events,
    ``window_seconds`` how long it gathered. ``reviewed_at``: silenced, and what of it still held has been
    gathered anew since, its silence being over. Channel and texts are kept as values: the row outlives a
    channel.
    """

    __tablename__ = "alert_delivery"
    __table_args__ = (
        CheckConstraint(f"state IN {DELIVERY_STATES}", name="state"),
        Index("ix_alert_delivery_channel_id_kind_group_id_id", "channel_id", "kind", "group_id", "id"),
        Index("ix_alert_delivery_group_id_id", "group_id", "id"),
        Index(
            "ix_alert_delivery_undone",
            "channel_id",
            "due_at",
            sqlite_where=text(UNDONE_SQL),
            postgresql_where=text(UNDONE_SQL),
        ),
        Index(
            "ix_alert_delivery_kept_back",
            "state",
            "id",
            sqlite_where=text(KEPT_BACK_SQL),
            postgresql_where=text(KEPT_BACK_SQL),
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel_id: Mapped[int | None] = mapped_column(ForeignKey("alert_channel.id", ondelete="SET NULL"))
    channel_name: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(20))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("system_group.id"))
    is_recovery: Mapped[bool] = mapped_column(default=False)
    is_test: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(16), default="pending")
    event_count: Mapped[int] = mapped_column(default=0)
    samples: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    window_seconds: Mapped[int] = mapped_column(default=0)
    title: Mapped[str] = mapped_column(String(200), default="")
    body: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str] = mapped_column(String(300), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    group: Mapped[SystemGroup | None] = relationship(lazy="joined")

    @property
    def can_be_sent_again(self) -> bool:
        """Whether a person may have it sent once more: it failed, is no test and has a channel."""
        return self.state == "failed" and not self.is_test and self.channel_id is not None

    @property
    def tells_of_all_groups(self) -> bool:
        """Whether its words may name groups that not everybody sees who sees it: what still holds in each."""
        return self.is_recovery and self.group_id is None
