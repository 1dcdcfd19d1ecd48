"""Bulk repairs: many trades a person has chosen, repaired one first, then ten, then the rest."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    Boolean,
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

from app.agents.models import BigId
from app.anomalies.models import Anomaly
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

BULK_STATES: Final = ("running", "paused", "finished", "stopped")
BY_PERSON: Final = "by_person"
"""The pause_code of one that a person has paused, or stopped."""
GOING_ON: Final = ("running", "paused")
"""A bulk repair that may begin further trades."""
ITEM_STATES: Final = ("pending", "repairing", "verifying", "done", "failed", "skipped")
SHOWN_STATES: Final = ("pending", "repairing", "verifying", "done", "waiting", "failed", "skipped")
"""As people are shown them: what failed as it waits for the bank has not gone wrong."""
AWAITED: Final = ("wait", "unknown")
"""The outcomes after which a trade waits, and is asked about by itself."""
UNDER_WAY: Final = ("repairing", "verifying")
"""An item that has begun and not ended."""
FIRST_STAGE: Final = 1
LAST_STAGE: Final = 3
STAGE_SIZES: Final = {1: 1, 2: 10}
"""How many trades must be repaired in a stage before the next begins; the last takes the rest."""
_live_sql = "state = 'running' OR under_way > 0"
IS_LIVE_BULK: Final[ColumnElement[bool]] = literal_column(f"({_live_sql})", Boolean())
"""It runs, or something of it is still under way, in the words of its partial index."""


class BulkRepair(Base):
    """One selection of one group, never deleted: forms go by the newest id (app.executions.selection).

    ``stage`` 1, 2 or 3: one trade, ten, the rest.

    ``actor_name``: in whose name it goes on: of whoever began it, or has resumed it last.
    ``pause_code`` says why it is paused: ``by_person``, or what a trade came to (``pause_detail``,
    ``pause_trade_no``), or why none can begin. The counts are of its items: ``total`` of all, ``under_way``,
    ``done``, ``failed``, ``skipped``; the others are pending.
    """

    __tablename__ = "bulk_repair"
    __table_args__ = (
        CheckConstraint(f"state IN {BULK_STATES}", name="state"),
        CheckConstraint("stage BETWEEN 1 AND 3", name="stage"),
        Index("ix_bulk_repair_group_id_id", "group_id", "id"),
        Index("ix_bulk_repair_live", "id", sqlite_where=text(_live_sql), postgresql_where=text(_live_sql)),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    state: Mapped[str] = mapped_column(String(8), default="running")
    stage: Mapped[int] = mapped_column(default=FIRST_STAGE)
    trigger: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[int | None]
    actor_name: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500))
    pause_code: Mapped[str] = mapped_column(String(40), default="")
    pause_detail: Mapped[str] = mapped_column(String(500), default="")
    pause_trade_no: Mapped[str] = mapped_column(String(64), default="")
    total: Mapped[int] = mapped_column(default=0)
    under_way: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    group: Mapped[SystemGroup] = relationship(lazy="joined")

    @property
    def pending(self) -> int:
        """How many have not begun."""
        return self.total - self.under_way - self.done - self.failed - self.skipped


class BulkItem(Base):
    """One trade of a bulk repair; begun in ``stage``, None before.

    ``fixer_code``, ``amount_minor``, ``currency``: as a person chose it (app.executions.bulk_choice); empty
    where it was chosen before migration 0016.

    ``done``: it was repaired, and in stages 1 and 2 verified *consistent* afterwards. ``failed``: its
    attempt came to anything else (``outcome``, ``detail``) and it is left to its own course. ``skipped``:
    nothing was repaired; it could not be attempted (``outcome`` is the code why), or was consistent already.
    A ``pending`` one that a Verify keeps busy, or is to tell of first, is tried again at ``ask_at``, since
    ``began_at``.
    ``verified`` is what the last verification said, '' while none has; the next is ordered at ``ask_at``.
    """

    __tablename__ = "bulk_item"
    __table_args__ = (
        CheckConstraint(f"state IN {ITEM_STATES}", name="state"),
        UniqueConstraint("bulk_id", "anomaly_id"),
        Index("ix_bulk_item_bulk_id_state_id", "bulk_id", "state", "id"),
        Index("ix_bulk_item_bulk_id_stage_state", "bulk_id", "stage", "state"),
        Index("ix_bulk_item_anomaly_id", "anomaly_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    bulk_id: Mapped[int] = mapped_column(ForeignKey("bulk_repair.id", ondelete="CASCADE"))
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"))
    trade_no: Mapped[str] = mapped_column(String(64))
    fixer_code: Mapped[str] = mapped_column(String(80), default="")
    amount_minor: Mapped[int | None] = mapped_column(BigId)
    currency: Mapped[str] = mapped_column(String(3), default="")
    stage: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(10), default="pending")
    attempt_id: Mapped[int | None] = mapped_column(BigId)
    verify_command_id: Mapped[str | None] = mapped_column(String(32), index=True)
    outcome: Mapped[str] = mapped_column(String(40), default="")
    detail: Mapped[str] = mapped_column(String(500), default="")
    verified: Mapped[str] = mapped_column(String(12), default="")
    ask_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    began_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    repaired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    bulk: Mapped[BulkRepair] = relationship()
    anomaly: Mapped[Anomaly] = relationship()

    @property
    def shown_state(self) -> str:
        """Its state as it is shown, one of SHOWN_STATES."""
        return "waiting" if self.state == "failed" and self.outcome in AWAITED else self.state
