"""What the pages of plans and groups say of their breakers."""

from collections import defaultdict
from collections.abc import Sequence

from flask import url_for

from app.agents.standing import Block, find_block, find_blocks, find_group_block
from app.agents.stop_notices import notice_of
from app.agents.stops import has_work
from app.clock import current_time
from app.guards.breakers import (
    Subject,
    key_of,
    plan_of,
    stops,
    subject_of_group,
    subjects_of,
    tripped_of,
)
from app.guards.models import Breaker
from app.guards.words import breaker_cause, breaker_title
from app.i18n import translate as _
from app.keyset import ReadSession
from app.notices import ALL, NEW, Notice
from app.plans.models import Plan
from app.users.models import SystemGroup


def of_plans(session: ReadSession, plans: Sequence[Plan]) -> dict[int, list[Notice]]:
    """Return by plan what has stopped it: its own breaker, its group's, or both."""
    found = _tripped(session, {plan.id: subjects_of(plan) for plan in plans})
    blocks = _blocks(session, [plan for plan in plans if plan.id in found])
    return {
        plan.id: [
            _notice(
                one,
                is_stopped=(plan.group_id, plan.fixer_code) in blocks or _repairs_nothing(plan) is not None,
            )
            for one in found[plan.id]
        ]
        for plan in plans
        if plan.id in found
    }


def of_groups(session: ReadSession, groups: Sequence[SystemGroup]) -> dict[int, list[Notice]]:
    """Return by group what has stopped all its plans."""
    found = _tripped(session, {group.id: (subject_of_group(group),) for group in groups})
    return {
        group_id: [_notice(one, is_stopped=block_over(session, one) is not None) for one in some]
        for group_id, some in found.items()
    }


def block_over(session: ReadSession, breaker: Breaker) -> Block | None:
    """Return the stop that holds back clicks on what a breaker has stopped, too; None where none does."""
    if not has_work(session):
        return None
    now = current_time()
    if breaker.scope == "group":
        return find_group_block(session, breaker.group_id, now)
    return find_block(session, breaker.group_id, breaker.subject_name, now)


def besides(session: ReadSession, breaker: Breaker) -> list[Notice]:
    """Return what else keeps from beginning what a breaker has stopped: the plan's other breaker, a stop, a
    plan in shadow or disabled."""
    block, plan = block_over(session, breaker), plan_of(session, breaker)
    others = [] if plan is None else [one for one in stops(session, plan) if one.id != breaker.id]
    idle = None if plan is None else _repairs_nothing(plan)
    told = [_notice(one, is_stopped=block is not None or idle is not None) for one in others]
    told += [] if block is None else [notice_of(block)]
    return told if idle is None else [*told, idle]


def _repairs_nothing(plan: Plan) -> Notice | None:
    """Return why a plan repairs nothing, not by a click either; None where it does."""
    is_disabled = plan.state != "normal"
    if not (plan.is_shadow or is_disabled):
        return None
    return Notice(
        color="amber" if is_disabled else "blue",
        icon="ban" if is_disabled else "eye-check",
        title=_("方案已失效") if is_disabled else _("方案为影子运行，只预测"),
        text=_("设为正常之前不执行，也不能点击执行。")
        if is_disabled
        else _("取消影子运行之前，定时与点击都不修复。"),
        short=_("失效") if is_disabled else _("影子"),
        url=url_for("plans.show_plan", plan_id=plan.id),
        holds=ALL,
    )


def _blocks(session: ReadSession, plans: Sequence[Plan]) -> dict[tuple[int, str], Block]:
    """Return the stops that hold back clicks on these plans too."""
    if not plans or not has_work(session):
        return {}
    return find_blocks(session, {(plan.group_id, plan.fixer_code) for plan in plans}, current_time())


def _tripped(session: ReadSession, subjects: dict[int, Sequence[Subject]]) -> dict[int, list[Breaker]]:
    asked = {one.key: one for some in subjects.values() for one in some}
    tripped = {key_of(one): one for one in tripped_of(session, asked.values())}
    found: dict[int, list[Breaker]] = defaultdict(list)
    for identity, some in subjects.items():
        for one in some:
            breaker = tripped.get(one.key)
            if breaker is not None:
                found[identity].append(breaker)
    return found


def _notice(breaker: Breaker, *, is_stopped: bool) -> Notice:
    """``is_stopped``: a click repairs nothing either, for a stop stands over it too or its plan is idle."""
    cause = breaker_cause(breaker)
    return Notice(
        color="red",
        icon="lock",
        title=breaker_title(breaker),
        text=_("%(cause)s。不再自动开始新的修复。", cause=cause)
        if is_stopped
        else _("%(cause)s。不再自动开始新的修复；资金已动的继续到完成，点击仍可执行。", cause=cause),
        short=_("已熔断") if breaker.scope == "plan" else _("组别已熔断"),
        url=url_for("guards.show_breaker", breaker_id=breaker.id),
        holds=NEW,
    )
