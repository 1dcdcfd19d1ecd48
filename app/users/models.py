"""People and the system groups (sysCode) they may see."""

from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, Column, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.columns import UtcDateTime
from app.extensions import Base
from app.thresholds import ThresholdColumns

ROLES = ("viewer", "operator", "admin")
"""Each role may do all that the one before it may."""

user_group = Table(
    "user_group",
    Base.metadata,
    Column("user_id", ForeignKey("user.id", ondelete="CASCADE"), primary_key=True),
    Column("group_id", ForeignKey("system_group.id", ondelete="CASCADE"), primary_key=True),
)


class SystemGroup(ThresholdColumns, Base):
    """A group of production systems (系统组别): ``sys_code`` such as PBAP, shown beside ``name``.

    ``zone`` is the IANA time zone its crons default to. A disabled group is neither collected nor repaired.
    The thresholds are those of its breaker, over all its plans. ``version`` rises with each change.
    """

    __tablename__ = "system_group"

    id: Mapped[int] = mapped_column(primary_key=True)
    sys_code: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(80), default="")
    zone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    trade_table: Mapped[str] = mapped_column(String(80), default="TPBAP_TRD_ACC_TRADE")
    is_enabled: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EndedLogin(Base):
    """A login somebody logged out of: a copy of its cookie opens nothing more.

    Kept as long as a login lasts.
    """

    __tablename__ = "ended_login"

    login_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class User(UserMixin, Base):  # type: ignore[misc]  # Flask-Login has no types
    """A person. ``session_version`` rises when all sessions of theirs must end (reset, disabling)."""

    __tablename__ = "user"
    __table_args__ = (CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    display_name: Mapped[str] = mapped_column(String(80), default="")
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16), default="viewer")
    sees_all_groups: Mapped[bool] = mapped_column(default=False)
    locale: Mapped[str] = mapped_column(String(8), default="zh")
    zone: Mapped[str] = mapped_column(String(40), default="Asia/Shanghai")
    is_enabled: Mapped[bool] = mapped_column(default=True)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    session_version: Mapped[int] = mapped_column(default=1)
    failed_logins: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_login_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    groups: Mapped[list[SystemGroup]] = relationship(secondary=user_group, lazy="selectin")

    @property
    def is_active(self) -> bool:
        """Flask-Login's word for: may log in."""
        return self.is_enabled

    def get_id(self) -> str:
        """Return the session key: the id and the session version, so that a reset ends old sessions."""
        return f"{self.id}:{self.session_version}"

    @property
    def sees_no_group(self) -> bool:
        """Whether this person was given no group yet, so that every list is empty to them."""
        return not (self.sees_all_groups or self.groups or self.may("admin"))

    def may(self, role: str) -> bool:
        """Return whether this person's role includes ``role``."""
        return ROLES.index(self.role) >= ROLES.index(role)
