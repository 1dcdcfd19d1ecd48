"""Reading collection runs and their tasks."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, select

from app.anomalies.models import CollectionRun, CollectionTask
from app.anomalies.service import GroupIds
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of

NEWEST_FIRST: Final = Order(CollectionRun.id, CollectionRun.id)
BY_SHARD: Final = Order(CollectionTask.shard, CollectionTask.id, is_descending=False)
NO_ID: Final = 2**31 - 1
"""Greater than any id."""


@dataclass(frozen=True)
class RunFilter:
    """What the list of runs shows; an empty field does not narrow. ``group_ids`` None: all groups."""

    group_ids: GroupIds = None
    states: tuple[str, ...] = ()
    trigger: str = ""
    created_from: datetime | None = None
    created_to: datetime | None = None


def _conditions(session: ReadSession, wanted: RunFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(CollectionRun.group_id.in_(list(wanted.group_ids)))
    if wanted.states:
        found.append(CollectionRun.state.in_(wanted.states))
    if wanted.trigger:
        found.append(CollectionRun.trigger == wanted.trigger)
    if wanted.created_from is not None:
        found.append(CollectionRun.id >= _first_id_since(session, wanted.created_from))
    if wanted.created_to is not None:
        found.append(CollectionRun.id < _first_id_since(session, wanted.created_to))
    return found


def _first_id_since(session: ReadSession, moment: datetime) -> int:
    """Return the lowest id of a run made at ``moment`` or later, NO_ID for none: ids rise with created_at."""
    statement = (
        select(CollectionRun.id)
        .where(CollectionRun.created_at >= moment)
        .order_by(CollectionRun.created_at, CollectionRun.id)
        .limit(1)
    )
    return session.scalars(statement).first() or NO_ID


def list_runs(session: ReadSession, wanted: RunFilter, cut: Cut) -> Page[CollectionRun]:
    """Return one page of runs, newest first. Raises InvalidError('cursor')."""
    return page_of(session, CollectionRun, _conditions(session, wanted), NEWEST_FIRST, cut)


def count_runs(session: ReadSession, wanted: RunFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, CollectionRun, _conditions(session, wanted))


def list_tasks(session: ReadSession, run_id: int, cut: Cut) -> Page[CollectionTask]:
    """Return a page of a run's tasks, by shard; a shard given on has several, the last one counts.

    Raises InvalidError('cursor').
    """
    of_run = [CollectionTask.run_id == run_id]
    return page_of(session, CollectionTask, of_run, BY_SHARD, cut)
