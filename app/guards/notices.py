"""What the pages of plans and groups say of their breakers."""

from collections import defaultdict
from collections.abc import Sequence

from flask import url_for

from app.guards.breakers import Subject, key_of, subject_of_group, subjects_of, tripped_of
from app.guards.models import Breaker
from app.guards.words import breaker_cause, breaker_title
from app.i18n import translate as _
from app.keyset import ReadSession
from app.notices import NEW, Notice
from app.plans.models import Plan
from app.users.models import SystemGroup


def of_plans(session: ReadSession, plans: Sequence[Plan]) -> dict[int, list[Notice]]:
    """Return by plan what has stopped it: its own breaker, its group's, or both."""
    return _notices(session, {plan.id: subjects_of(plan) for plan in plans})


def of_groups(session: ReadSession, groups: Sequence[SystemGroup]) -> dict[int, list[Notice]]:
    """Return by group what has stopped all its plans."""
    return _notices(session, {group.id: (subject_of_group(group),) for group in groups})


def _notices(session: ReadSession, subjects: dict[int, Sequence[Subject]]) -> dict[int, list[Notice]]:
    asked = {one.key: one for some in subjects.values() for one in some}
    tripped = {key_of(one): one for one in tripped_of(session, asked.values())}
    found: dict[int, list[Notice]] = defaultdict(list)
    for identity, some in subjects.items():
        for one in some:
            breaker = tripped.get(one.key)
            if breaker is not None:
                found[identity].append(_notice(breaker))
    return found


def _notice(breaker: Breaker) -> Notice:
    return Notice(
        color="red",
        icon="lock",
        title=breaker_title(breaker),
        text=_(
            "%(cause)s。不再自动开始新的修复；资金已动的继续到完成，点击仍可执行。",
            cause=breaker_cause(breaker),
        ),
        short=_("已熔断") if breaker.scope == "plan" else _("组别已熔断"),
        url=url_for("guards.show_breaker", breaker_id=breaker.id),
        holds=NEW,
    )
