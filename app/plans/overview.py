"""Plans as a list shows them: what became of their trades in a day, and who can carry them out."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, literal_column, select

from app.agents.queries import offer_counts
from app.anomalies.models import OPEN_SQL, Anomaly
from app.anomalies.states import RESOLUTION_CONFIRMED_FAILED
from app.keyset import ReadSession
from app.plans.models import Plan, PlanVersion
from app.plans.product_plans import PlanValues
from app.plans.service import GroupIds
from app.users.models import SystemGroup

DAY: Final = timedelta(hours=24)
BARE_GROUPS: Final = 10

PairOf = tuple[int, str]
"""A group and a fixer code: what a plan is for."""


@dataclass(frozen=True)
class Activity:
    """What became of a plan's anomalies in 24 hours, and what is open now.

    ``succeeded`` 修复为成功, ``confirmed_failed`` 确认失败, ``healed`` 已自愈; ``for_person`` of those open
    wait for a person: 待人工, 重试耗尽.
    """

    succeeded: int = 0
    confirmed_failed: int = 0
    healed: int = 0
    open: int = 0
    for_person: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tell."""
        return self == Activity()


@dataclass(frozen=True)
class PlanRow:
    """A plan, its activity, and how many online agents of its group offer its fixer.

    ``is_due_soon``: its next due time is within a day, so that the time of day is enough.
    """

    plan: Plan
    activity: Activity
    agents: int
    is_due_soon: bool

    @property
    def is_offered(self) -> bool:
        """Whether anyone could carry it out now."""
        return self.agents > 0


@dataclass(frozen=True)
class VersionChange:
    """A version and what it changed: (parameter, before, after); the first has no changes."""

    version: PlanVersion
    changes: tuple[tuple[str, Any, Any], ...] = field(default=())


def plan_rows(session: ReadSession, plans: Sequence[Plan], now: datetime) -> list[PlanRow]:
    """Return the rows of plans, in their order."""
    group_ids = {plan.group_id for plan in plans}
    activities = activities_of(session, group_ids, now)
    offers = offer_counts(session, sorted(group_ids), now)
    return [
        PlanRow(
            plan=plan,
            activity=activities.get((plan.group_id, plan.fixer_code), Activity()),
            agents=offers.get((plan.group_id, plan.fixer_code), 0),
            is_due_soon=plan.next_due_at is not None and plan.next_due_at - now < DAY,
        )
        for plan in plans
    ]


def activities_of(session: ReadSession, group_ids: Collection[int], now: datetime) -> dict[PairOf, Activity]:
    """Return the activity of each group and fixer that had any."""
    found: dict[PairOf, Activity] = defaultdict(Activity)
    for group_id, code, state, resolution, count in _closed(session, group_ids, now - DAY):
        name = _closed_name(state, resolution)
        if name and code:
            here = found[group_id, code]
            found[group_id, code] = replace(here, **{name: getattr(here, name) + count})
    for group_id, state, _kind, code, count in _open(session, group_ids):
        if code:
            here = found[group_id, code]
            beyond = count if state in ("needs_human", "exhausted") else 0
            found[group_id, code] = replace(here, open=here.open + count, for_person=here.for_person + beyond)
    return dict(found)


def _closed_name(state: str, resolution: str | None) -> str:
    if state == "repaired":
        return "confirmed_failed" if resolution == RESOLUTION_CONFIRMED_FAILED else "succeeded"
    return "healed" if state == "healed" else ""


def _closed(session: ReadSession, group_ids: Collection[int], since: datetime) -> Iterable[Any]:
    keys = (Anomaly.group_id, Anomaly.fixer_code, Anomaly.state, Anomaly.resolution)
    # A sum is in no index: else SQLite reads all the groups ever closed instead of what closed since.
    is_of_groups = (Anomaly.group_id + 0).in_(group_ids)
    statement = select(*keys, func.count()).where(Anomaly.closed_at >= since, is_of_groups)
    return session.execute(statement.group_by(*keys))


def _open(session: ReadSession, group_ids: Collection[int]) -> Iterable[Any]:
    # Word for word and key by key as the partial index has it, which then answers without reading a row.
    keys = (Anomaly.group_id, Anomaly.state, Anomaly.kind, Anomaly.fixer_code)
    statement = select(*keys, func.count()).where(literal_column(OPEN_SQL), Anomaly.group_id.in_(group_ids))
    return session.execute(statement.group_by(*keys))


def changes_of(versions: Sequence[PlanVersion]) -> list[VersionChange]:
    """Return versions, newest first as given, each with what it changed of the one before."""
    older = [*versions, None][1:]
    return [VersionChange(new, _difference(old, new)) for new, old in zip(versions, older, strict=True)]


DEFAULTS: Final = {parameter.name: parameter.default for parameter in fields(PlanValues)}
"""What a version kept before a parameter existed had for it."""


def _difference(old: PlanVersion | None, new: PlanVersion) -> tuple[tuple[str, Any, Any], ...]:
    if old is None:
        return ()
    return tuple(
        (name, old.values.get(name, DEFAULTS.get(name)), value)
        for name, value in new.values.items()
        if old.values.get(name, DEFAULTS.get(name)) != value
    )


def groups_without_plans(session: ReadSession, group_ids: GroupIds) -> list[SystemGroup]:
    """Return the first BARE_GROUPS enabled groups a person may see that have no plan at all, by sysCode."""
    statement = (
        select(SystemGroup)
        .where(SystemGroup.is_enabled, SystemGroup.id.not_in(select(Plan.group_id)))
        .order_by(SystemGroup.sys_code)
        .limit(BARE_GROUPS)
    )
    if group_ids is not None:
        statement = statement.where(SystemGroup.id.in_(list(group_ids)))
    return list(session.scalars(statement))
