"""Orders of people that move money (再付, 冲正), and above which amount they take a second person."""

from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from agent.unpaid import ACTIONS
from app.agents.models import BigId
from app.anomalies.models import Anomaly
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

LIVE_STATES: Final = ("proposed", "issued")
"""At most one such order a trade."""
ORDER_STATES: Final = (*LIVE_STATES, "done", "rejected", "withdrawn", "expired")
_live_sql = "state IN ('proposed', 'issued')"


class MoneyOrder(Base):
    """What a person has ordered of a trade debited and finally unpaid. ``action``: pay_again, reverse.

    proposed → issued → done; proposed → rejected | withdrawn | expired. An order that needs no second person
    is issued as it is proposed; another one when somebody else confirms it. It stands on the row of
    ``row_hash`` and the facts of ``facts_hash``: on others it is never confirmed, and no agent carries it
    out. ``limit_minor`` is the limit that held for its proposer. ``outcome`` is how its newest attempt ended;
    ``closed_reason`` a word or, of a person, a sentence.
    """

    __tablename__ = "money_order"
    __table_args__ = (
        CheckConstraint(f"state IN {ORDER_STATES}", name="state"),
        CheckConstraint(f"action IN {ACTIONS}", name="action"),
        CheckConstraint("confirmed_by_id IS NULL OR confirmed_by_id <> proposed_by_id", name="two_people"),
        CheckConstraint(
            "NOT needs_second OR confirmed_by_id IS NOT NULL OR state NOT IN ('issued', 'done')",
            name="confirmed",
        ),
        Index(
            "uq_money_order_live_trade",
            "group_id",
            "trade_no",
            unique=True,
            sqlite_where=text(_live_sql),
            postgresql_where=text(_live_sql),
        ),
        Index("ix_money_order_state_id", "state", "id"),
        Index("ix_money_order_trade_no", "trade_no"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"), index=True)
    trade_no: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="proposed")
    amount_minor: Mapped[int] = mapped_column(BigId)
    currency: Mapped[str] = mapped_column(String(3))
    row_hash: Mapped[str] = mapped_column(String(64))
    facts_hash: Mapped[str] = mapped_column(String(64))
    needs_second: Mapped[bool]
    limit_minor: Mapped[int] = mapped_column(BigId)
    proposed_by_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    proposed_by: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500))
    proposed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    confirmed_by: Mapped[str] = mapped_column(String(80), default="")
    confirm_reason: Mapped[str] = mapped_column(String(500), default="")
    issued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempt_id: Mapped[int | None] = mapped_column(BigId)
    outcome: Mapped[str | None] = mapped_column(String(20))
    outcome_reason: Mapped[str] = mapped_column(String(500), default="")
    closed_by: Mapped[str] = mapped_column(String(80), default="")
    closed_reason: Mapped[str] = mapped_column(String(500), default="")
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    group: Mapped[SystemGroup] = relationship(lazy="joined")
    anomaly: Mapped[Anomaly] = relationship()

    @property
    def waits_for_second(self) -> bool:
        """Whether nothing goes on until a second person has decided, or its time is up."""
        return self.state == "proposed" and self.needs_second and not self.confirmed_by


class MoneyOrderLimit(Base):
    """Above which amount an order of a group takes a second person; a group without one has the default."""

    __tablename__ = "money_order_limit"

    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id", ondelete="CASCADE"), primary_key=True)
    second_person_above_minor: Mapped[int] = mapped_column(BigId)
    changed_by: Mapped[str] = mapped_column(String(80))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
