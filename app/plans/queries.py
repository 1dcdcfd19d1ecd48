"""Reading plans and their versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, select

from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.plans.models import LEVELS, Plan, PlanVersion, Tick
from app.plans.service import GroupIds
from app.users.models import SystemGroup

BY_GROUP_AND_LEVEL: Final = Order(Plan.group_id * len(LEVELS) - Plan.level, Plan.id, is_descending=False)
"""Group by group, the most important first."""


@dataclass(frozen=True)
class PlanFilter:
    """What the list shows; an empty field does not narrow. ``group_ids`` None: all groups."""

    group_ids: GroupIds = None
    fixer_code: str = ""
    mode: str = ""
    state: str = ""
    level: int | None = None


def page_plans(session: ReadSession, wanted: PlanFilter, cut: Cut) -> Page[Plan]:
    """Return one page of plans. Raises InvalidError('cursor')."""
    return page_of(session, Plan, _conditions(wanted), BY_GROUP_AND_LEVEL, cut)


def count_plans(session: ReadSession, wanted: PlanFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, Plan, _conditions(wanted))


def _conditions(wanted: PlanFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(Plan.group_id.in_(list(wanted.group_ids)))
    if wanted.level is not None:
        found.append(Plan.level == wanted.level)
    for column, value in (
        (Plan.fixer_code, wanted.fixer_code),
        (Plan.mode, wanted.mode),
        (Plan.state, wanted.state),
    ):
        if value:
            found.append(column == value)
    return found


def list_plans(
    session: ReadSession,
    group_ids: GroupIds,
    *,
    mode: str = "",
    state: str = "",
    level: int | None = None,
    is_shadow: bool | None = None,
) -> list[Plan]:
    """Return plans by group, the most important first, then by fixer. Empty arguments do not narrow."""
    statement = select(Plan).join(SystemGroup)
    if group_ids is not None:
        statement = statement.where(Plan.group_id.in_(list(group_ids)))
    if level is not None:
        statement = statement.where(Plan.level == level)
    if mode:
        statement = statement.where(Plan.mode == mode)
    if state:
        statement = statement.where(Plan.state == state)
    if is_shadow is not None:
        statement = statement.where(Plan.is_shadow.is_(is_shadow))
    statement = statement.order_by(SystemGroup.sys_code, Plan.level.desc(), Plan.id)
    return list(session.scalars(statement).unique())


def list_versions(
    session: ReadSession, plan_id: int, *, below: int | None = None, count: int | None = None
) -> list[PlanVersion]:
    """Return a plan's versions, newest first: ``count`` of those lower than ``below``; None: all."""
    statement = select(PlanVersion).where(PlanVersion.plan_id == plan_id).order_by(PlanVersion.version.desc())
    if below is not None:
        statement = statement.where(PlanVersion.version < below)
    return list(session.scalars(statement.limit(count)))


def pairs(
    session: ReadSession, group_ids: GroupIds, *, mode: str = "", is_shadow: bool | None = None
) -> tuple[tuple[int, str], ...]:
    """Return (group id, fixer code) of plans in state normal, for anomalies.queries.AnomalyFilter."""
    statement = select(Plan.group_id, Plan.fixer_code).where(Plan.state == "normal")
    if group_ids is not None:
        statement = statement.where(Plan.group_id.in_(list(group_ids)))
    if mode:
        statement = statement.where(Plan.mode == mode)
    if is_shadow is not None:
        statement = statement.where(Plan.is_shadow.is_(is_shadow))
    return tuple((group_id, fixer_code) for group_id, fixer_code in session.execute(statement))


def plans_by_pair(session: ReadSession) -> dict[tuple[int, str], Plan]:
    """Return every plan by (group id, fixer code): for work on a whole selection, not for a page."""
    return {(plan.group_id, plan.fixer_code): plan for plan in session.scalars(select(Plan))}


def plans_of(session: ReadSession, wanted: Iterable[tuple[int, str | None]]) -> dict[tuple[int, str], Plan]:
    """Return the plans of (group id, fixer code) pairs by pair; those without a plan are absent."""
    pairs = {(group_id, code) for group_id, code in wanted if code is not None}
    statement = select(Plan).where(
        Plan.group_id.in_({group_id for group_id, _code in pairs}),
        Plan.fixer_code.in_({code for _group_id, code in pairs}),
    )
    found = {(plan.group_id, plan.fixer_code): plan for plan in session.scalars(statement)}
    return {pair: found[pair] for pair in pairs & found.keys()}


def list_ticks(session: ReadSession, subject: str, subject_id: int, count: int) -> list[Tick]:
    """Return the newest ``count`` ticks of a ``plan`` or a ``schedule``."""
    statement = (
        select(Tick)
        .where(Tick.subject == subject, Tick.subject_id == subject_id)
        .order_by(Tick.due_at.desc())
        .limit(count)
    )
    return list(session.scalars(statement))
