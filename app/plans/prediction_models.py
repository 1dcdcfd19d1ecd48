"""Predictions: what a plan would have done with an anomaly, kept beside what then happened."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.agents.models import BigId
from app.columns import UtcDateTime
from app.extensions import Base
from app.users.models import SystemGroup

PREDICTED: Final = ("repair", "wait", "human", "consistent")
RESULTS: Final = ("matched", "differs")
OTHER_ENDS: Final = {
    "repair": ("needs_human", "exhausted", "ignored"),
    "human": ("repaired",),
}
"""What foretells an end, and the states of an anomaly that are another one."""
NEWEST_SQL: Final = "is_newest"
VOUCHER_OF: Final = {"ACC_TRD_NUM": "ACC_TRD_STATUS", "E_ACC_TRD_NUM": "E_ACC_TRD_STATUS"}
"""The cell that says whether a leg's voucher number is there, by the cell that holds it."""


def is_number_to_come(column: str, before: Mapping[str, Any], predicted: Mapping[str, Any]) -> bool:
    """Return whether a prediction leaves this cell to the ledger: its leg becomes booked, its number is not
    known yet."""
    status = VOUCHER_OF.get(column)
    if status is None or predicted.get(column) is not None:
        return False
    return bool(predicted.get(status) != before.get(status))


class Prediction(Base):
    """What one look foretold of one anomaly; nothing was written in production.

    ``trigger``: ``shadow``, a tick of a plan in shadow, or ``dry_run``, a person's (``actor_name``).
    ``plan_id`` None: no plan covered it. ``outcome`` is what a repair would have come to (PREDICTED), by
    ``fixer_code`` and ``steps`` (none where the agent names none), from ``row`` to ``after``; ``digest`` is
    of all that, so that a look that finds nothing new is counted in ``looks`` and makes no row.
    ``result`` (RESULTS) is set when the anomaly closed or was left to a person; ``ended`` is the state that
    told, None where it was compared before migration 0025. ``actual`` is the row it closed with, by
    ``actual_by`` (``piculus`` or ``outside``), None where none was read; ``differing`` names the columns. At
    most one is compared (app.plans.comparisons), and at most one the newest of its anomaly.
    """

    __tablename__ = "prediction"
    __table_args__ = (
        CheckConstraint(f"outcome IN {PREDICTED}", name="outcome"),
        CheckConstraint(f"result IN {RESULTS}", name="result"),
        Index("ix_prediction_anomaly_id_id", "anomaly_id", "id"),
        Index(
            "uq_prediction_newest",
            "anomaly_id",
            unique=True,
            sqlite_where=text(NEWEST_SQL),
            postgresql_where=text(NEWEST_SQL),
        ),
        Index("ix_prediction_plan_id_id", "plan_id", "id"),
        Index("ix_prediction_plan_id_outcome_id", "plan_id", "outcome", "id"),
        Index("ix_prediction_plan_id_result_id", "plan_id", "result", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    group_id: Mapped[int] = mapped_column(ForeignKey("system_group.id"))
    anomaly_id: Mapped[int] = mapped_column(ForeignKey("anomaly.id", ondelete="CASCADE"))
    trade_no: Mapped[str] = mapped_column(String(64))
    plan_id: Mapped[int | None]
    plan_version: Mapped[int | None]
    trigger: Mapped[str] = mapped_column(String(8))
    actor_name: Mapped[str] = mapped_column(String(80))
    fixer_code: Mapped[str | None] = mapped_column(String(80))
    outcome: Mapped[str] = mapped_column(String(12))
    reason: Mapped[str] = mapped_column(String(200), default="")
    steps: Mapped[list[str]] = mapped_column(JSON, default=list)
    row: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    row_hash: Mapped[str] = mapped_column(String(64), default="")
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    digest: Mapped[str] = mapped_column(String(64))
    is_newest: Mapped[bool] = mapped_column(default=True)
    looks: Mapped[int] = mapped_column(default=1)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    looked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    result: Mapped[str | None] = mapped_column(String(8))
    ended: Mapped[str | None] = mapped_column(String(12))
    differing: Mapped[list[str] | None] = mapped_column(JSON)
    actual: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    actual_by: Mapped[str | None] = mapped_column(String(8))
    compared_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    group: Mapped[SystemGroup] = relationship(lazy="joined")

    @property
    def amount_minor(self) -> int | None:
        """The trade's amount as the look read it; None where it could not."""
        return (self.facts or {}).get("amount_minor")

    @property
    def currency(self) -> str:
        """The currency of the amount."""
        return str((self.facts or {}).get("currency", ""))

    @property
    def other_end(self) -> str | None:
        """The state it ended in where that alone is not as foretold; None where it is, or its row tells."""
        return self.ended if self.ended in OTHER_ENDS.get(self.outcome, ()) else None

    @property
    def numbers_to_come(self) -> list[str]:
        """The cells whose voucher number the ledger had yet to give."""
        if self.row is None or self.after is None:
            return []
        return [column for column in VOUCHER_OF if is_number_to_come(column, self.row, self.after)]
