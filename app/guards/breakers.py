"""Circuit breakers (熔断): tripped by what was counted, found by every tick, reset by a person."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import current_app
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, NotFoundError
from app.guards.models import AMOUNT, Breaker
from app.guards.queries import IS_TRIPPED
from app.guards.times_ahead import bring_back
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.service import GroupIds, find_plan
from app.thresholds import GROUP_DEFAULTS, PLAN_DEFAULTS, Thresholds, thresholds_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

BreakerChanged = Callable[[WorkSession, Breaker, datetime], None]
"""Hears of a breaker that tripped, also for another cause than before, or was reset (``reset_at``); bound by
create_app."""

EARLIER: Final = 10


@dataclass(frozen=True)
class Subject:
    """What a breaker is of: a plan, or a group with all its plans."""

    scope: str
    id: int
    group: SystemGroup
    name: str
    thresholds: Thresholds

    @property
    def is_this(self) -> ColumnElement[bool]:
        """The condition that a breaker is of this: of a plan by its fixer, whichever plan that was."""
        of_group = and_(Breaker.scope == self.scope, Breaker.group_id == self.group.id)
        return of_group if self.scope == "group" else and_(of_group, Breaker.subject_name == self.name)

    @property
    def key(self) -> tuple[str, int, str]:
        """What it has in common with its breakers, as key_of tells."""
        return self.scope, self.group.id, self.name if self.scope == "plan" else ""


def key_of(breaker: Breaker) -> tuple[str, int, str]:
    """Return what a breaker has in common with its subject."""
    return breaker.scope, breaker.group_id, breaker.subject_name if breaker.scope == "plan" else ""


def subject_of_plan(plan: Plan) -> Subject:
    """Return a plan as the subject of its breaker."""
    return Subject("plan", plan.id, plan.group, plan.fixer_code, thresholds_of(plan, PLAN_DEFAULTS))


def subject_of_group(group: SystemGroup) -> Subject:
    """Return a group as the subject of its breaker."""
    return Subject("group", group.id, group, group.sys_code, thresholds_of(group, GROUP_DEFAULTS))


def subjects_of(plan: Plan) -> tuple[Subject, Subject]:
    """Return what may stop a plan: itself and its group."""
    return subject_of_plan(plan), subject_of_group(plan.group)


def trip(session: WorkSession, subject: Subject, code: str, figures: dict[str, Any], now: datetime) -> bool:
    """Stop what a subject repairs by itself; False where it is stopped already.

    One that an hour's amount has stopped is not stopped enough for what else is found: that lets go what was
    queued. Its breaker turns into this one, and is told of as such.
    """
    identity = _turn(session, subject, code, figures, now) or _insert(session, subject, code, figures, now)
    if identity is None:
        return False
    breaker = session.get_one(Breaker, identity, populate_existing=True)
    _tell(session, breaker, "breaker.trip", SYSTEM, "", now)
    return True


def _turn(
    session: WorkSession, subject: Subject, code: str, figures: dict[str, Any], now: datetime
) -> int | None:
    """Return the id of the subject's breaker of an hour's amount, which now stands for this; else None."""
    if code == AMOUNT:
        return None
    statement = (
        update(Breaker)
        .where(subject.is_this, Breaker.reset_at.is_(None), Breaker.code == AMOUNT)
        .values(code=code, figures=figures, tripped_at=now)
        .returning(Breaker.id)
        .execution_options(synchronize_session=False)
    )
    return session.scalars(statement).first()


def _insert(
    session: WorkSession, subject: Subject, code: str, figures: dict[str, Any], now: datetime
) -> int | None:
    """Return the id of a new breaker; None where the subject is stopped already."""
    row = {
        "scope": subject.scope,
        "subject_id": subject.id,
        "group_id": subject.group.id,
        "subject_name": subject.name,
        "code": code,
        "figures": figures,
        "tripped_at": now,
        "reset_by": "",
        "reset_reason": "",
    }
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    # Another server may trip it in the same moment: the partial unique index has the last word.
    statement = insert(Breaker).values(row).on_conflict_do_nothing().returning(Breaker.id)
    return session.scalars(statement).first()


def reset(
    session: WorkSession,
    breaker_id: int,
    *,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
    code: str | None = None,
) -> Breaker:
    """Let a plan or group repair by itself again; from now on is counted anew.

    ``code`` is the cause that was looked into, None for whichever it is. Raises NotFoundError('breaker'),
    InvalidError for the reason, ConflictError: breaker_is_reset, breaker_is_other where it has tripped for
    another cause since.
    """
    reason = required_reason(reason)
    breaker = get_breaker(session, breaker_id, group_ids)
    if breaker.reset_at is not None:
        raise ConflictError("breaker_is_reset", name=breaker.reset_by)
    if code not in (None, breaker.code):
        raise ConflictError("breaker_is_other")
    # Before it, so that what a clock ahead has dated does not count again after it.
    bring_back(session, breaker.group_id, now)
    breaker.reset_at, breaker.reset_by, breaker.reset_reason = now, actor.name, reason
    session.flush()
    _tell(session, breaker, "breaker.reset", actor, reason, now)
    return breaker


def get_breaker(session: ReadSession, breaker_id: int, group_ids: GroupIds) -> Breaker:
    """Return the breaker. Raises NotFoundError('breaker'), also where its group is not to be seen."""
    breaker = session.get(Breaker, breaker_id)
    if breaker is None or (group_ids is not None and breaker.group_id not in group_ids):
        raise NotFoundError("breaker")
    return breaker


def tripped_of(session: ReadSession, subjects: Iterable[Subject]) -> list[Breaker]:
    """Return the breakers that stop any of these; one query."""
    return list(session.scalars(_tripped().where(or_(*(one.is_this for one in subjects)))))


def stops(session: ReadSession, plan: Plan) -> list[Breaker]:
    """Return what stops a plan from beginning by itself: its own breaker, its group's, both or none."""
    return tripped_of(session, subjects_of(plan))


def refuse_standing(session: ReadSession, plan: Plan) -> None:
    """Raise ConflictError('plan_tripped') while the plan's own breaker stands: it is to be reset."""
    for breaker in tripped_of(session, [subject_of_plan(plan)]):
        raise ConflictError("plan_tripped", plan=plan.fixer_code, breaker_id=breaker.id)


def list_tripped(session: ReadSession, group_ids: Collection[int] | None) -> list[Breaker]:
    """Return every breaker that stops something, the newest first; ``group_ids`` None: of all groups."""
    statement = _tripped().where(IS_TRIPPED)
    if group_ids is not None:
        statement = statement.where(Breaker.group_id.in_(group_ids))
    return list(session.scalars(statement))


def count_tripped(session: ReadSession, group_ids: Collection[int] | None) -> int:
    """Return how many there are of those."""
    return len(list_tripped(session, group_ids))


def plan_of(session: ReadSession, breaker: Breaker) -> Plan | None:
    """Return the plan a breaker is of; None for a group's, or where the plan is gone."""
    return find_plan(session, breaker.group_id, breaker.subject_name) if breaker.scope == "plan" else None


def list_earlier(session: ReadSession, breaker: Breaker) -> list[Breaker]:
    """Return the last EARLIER trips of the same subject before this one."""
    statement = (
        select(Breaker)
        .where(
            Breaker.group_id == breaker.group_id,
            Breaker.scope == breaker.scope,
            Breaker.subject_name == breaker.subject_name,
            Breaker.id < breaker.id,
        )
        .order_by(Breaker.id.desc())
    )
    return list(session.scalars(statement.limit(EARLIER)))


def counts_from(session: WorkSession, subject: Subject, since: datetime, now: datetime) -> datetime:
    """Return from when on a subject is counted: ``since``, or its last reset where that came later.

    What a clock that was put back had dated ahead is brought back first.
    """
    bring_back(session, subject.group.id, now)
    return read_counts_from(session, subject, since)


def read_counts_from(session: ReadSession, subject: Subject, since: datetime) -> datetime:
    """Return the same without writing; a reset that is dated ahead lets nothing count yet."""
    last = session.scalars(select(func.max(Breaker.reset_at)).where(subject.is_this)).first()
    return since if last is None else max(since, last)


def _tripped() -> Select[Breaker]:
    return select(Breaker).where(Breaker.reset_at.is_(None)).order_by(Breaker.id.desc())


def _tell(
    session: WorkSession, breaker: Breaker, action: str, actor: Actor, reason: str, now: datetime
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="breaker",
        object_id=breaker.id,
        object_name=breaker.subject_name,
        sys_code=breaker.group.sys_code,
        reason=reason,
        detail={"scope": breaker.scope, "code": breaker.code, "figures": breaker.figures},
        now=now,
    )
    session.touch("plans", "users", "home", "audit")
    listeners: tuple[BreakerChanged, ...] = current_app.extensions.get("breaker_changed", ())
    for listener in listeners:
        listener(session, breaker, now)
