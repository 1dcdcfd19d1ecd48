"""The figures of home beside what is open: today, repair times, the trend, what waits for a person.

All come from kept counts or from a bounded number of newest rows. ``groups`` None means every group.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from app.anomalies.models import Anomaly, QuarterCount
from app.keyset import ReadSession, first_ids
from app.monitor.frames import GroupIds
from app.users.models import SystemGroup

TIMED_REPAIRS = 1_000
"""Repair times are over the newest so many repairs of the day."""
URGENT_LIMIT = 6
GOOD_OUTCOMES = ("repaired", "already_consistent")
BAD_OUTCOMES = ("failed", "needs_human", "refused")


@dataclass(frozen=True)
class Today:
    """What happened since the person's midnight. ``success_percent`` None while no attempt was conclusive."""

    found: int
    repaired: int
    confirmed_failed: int
    healed: int
    amount_minor: int
    success_percent: float | None


@dataclass(frozen=True)
class RepairTime:
    """From first sight to repaired, in seconds, over ``sample`` repairs; None without any."""

    mean: float | None
    p95: float | None
    sample: int


@dataclass(frozen=True)
class Trend:
    """Counts per hour, oldest first; the last hour is the current one."""

    hours: list[datetime]
    found: list[int]
    repaired: list[int]
    for_person: list[int]
    found_amount_minor: list[int]

    @property
    def seconds(self) -> list[int]:
        """The hours as seconds since 1970, for the chart."""
        return [int(hour.timestamp()) for hour in self.hours]


@dataclass(frozen=True)
class Urgent:
    """An anomaly that waits for a person."""

    id: int
    trade_no: str
    sys_code: str
    state: str
    reason: str
    amount_minor: int | None
    currency: str
    changed_at: datetime


def midnight(now: datetime, zone: str) -> datetime:
    """Return the beginning of the current day in ``zone``."""
    return now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)


def today(session: ReadSession, groups: GroupIds, since: datetime) -> Today:
    """Return what the kept counts say since ``since``, the beginning of a quarter of an hour."""
    statement = (
        select(QuarterCount.name, func.sum(QuarterCount.count), func.sum(QuarterCount.amount_minor))
        .where(QuarterCount.quarter >= since)
        .group_by(QuarterCount.name)
    )
    if groups is not None:
        statement = statement.where(QuarterCount.group_id.in_(groups))
    sums = {name: (int(count), int(amount)) for name, count, amount in session.execute(statement)}

    def count(*names: str) -> int:
        return sum(sums.get(name, (0, 0))[0] for name in names)

    good = count(*(f"attempt_{outcome}" for outcome in GOOD_OUTCOMES))
    bad = count(*(f"attempt_{outcome}" for outcome in BAD_OUTCOMES))
    return Today(
        found=count("new"),
        repaired=count("repaired"),
        confirmed_failed=count("confirmed_failed"),
        healed=count("healed"),
        amount_minor=sum(sums.get(name, (0, 0))[1] for name in ("repaired", "confirmed_failed")),
        success_percent=round(100 * good / (good + bad), 1) if good + bad else None,
    )


def repair_time(session: ReadSession, groups: GroupIds, since: datetime) -> RepairTime:
    """Return how long the newest repairs since ``since`` took."""
    statement = (
        select(Anomaly.first_seen_at, Anomaly.closed_at)
        .where(Anomaly.closed_at >= since, Anomaly.state.concat("") == "repaired")
        .order_by(Anomaly.closed_at.desc())
        .limit(TIMED_REPAIRS)
    )
    if groups is not None:
        statement = statement.where((Anomaly.group_id + 0).in_(groups))
    spans = sorted(
        (closed - first).total_seconds() for first, closed in session.execute(statement) if closed is not None
    )
    if not spans:
        return RepairTime(mean=None, p95=None, sample=0)
    # The nearest rank: the smallest that 95 of a hundred do not pass.
    rank = (95 * len(spans) + 99) // 100
    return RepairTime(mean=sum(spans) / len(spans), p95=spans[rank - 1], sample=len(spans))


def trend(session: ReadSession, groups: GroupIds, now: datetime, hours: int) -> Trend:
    """Return the kept counts of the last ``hours`` hours."""
    last = now.replace(minute=0, second=0, microsecond=0)
    moments = [last - timedelta(hours=back) for back in reversed(range(hours))]
    statement = (
        select(
            QuarterCount.quarter,
            QuarterCount.name,
            func.sum(QuarterCount.count),
            func.sum(QuarterCount.amount_minor),
        )
        .where(QuarterCount.quarter >= moments[0])
        .group_by(QuarterCount.quarter, QuarterCount.name)
    )
    if groups is not None:
        statement = statement.where(QuarterCount.group_id.in_(groups))
    kept: Counter[tuple[datetime, str]] = Counter()
    amounts: Counter[tuple[datetime, str]] = Counter()
    for quarter, name, count, amount in session.execute(statement):
        kept[quarter.replace(minute=0), name] += int(count)
        amounts[quarter.replace(minute=0), name] += int(amount)

    def line(names: Iterable[str], of: Counter[tuple[datetime, str]] = kept) -> list[int]:
        return [sum(of[hour, name] for name in names) for hour in moments]

    return Trend(
        hours=moments,
        found=line(["new"]),
        repaired=line(["repaired", "confirmed_failed"]),
        for_person=line(["needs_human", "exhausted"]),
        found_amount_minor=line(["new"], amounts),
    )


def list_urgent(session: ReadSession, groups: GroupIds) -> list[Urgent]:
    """Return the newest anomalies that wait for a person, one bounded look for each group and state."""
    group_ids = list(session.scalars(select(SystemGroup.id))) if groups is None else list(groups)
    looks = [
        select(Anomaly.id)
        .where(Anomaly.group_id == group_id, Anomaly.state == state)
        .order_by(Anomaly.id.desc())
        .limit(URGENT_LIMIT)
        for group_id in group_ids
        for state in ("needs_human", "exhausted")
    ]
    statement = (
        select(
            Anomaly.id,
            Anomaly.trade_no,
            SystemGroup.sys_code,
            Anomaly.state,
            Anomaly.reason,
            Anomaly.amount_minor,
            Anomaly.currency,
            Anomaly.changed_at,
        )
        .join(SystemGroup, SystemGroup.id == Anomaly.group_id)
        .where(Anomaly.id.in_(first_ids(session, looks, URGENT_LIMIT)))
        .order_by(Anomaly.id.desc())
    )
    return [Urgent(*row) for row in session.execute(statement)]
