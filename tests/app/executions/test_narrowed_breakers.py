"""An hour's amount of a breaker that is lowered: what was queued under the earlier one is judged anew."""

from dataclasses import replace

import pytest

from app.agents.models import Agent
from app.plans.models import Plan
from app.plans.service import update_plan, values_of
from app.thresholds import TypedThresholds
from app.unit_of_work import WorkSession
from app.users import groups
from app.users.models import SystemGroup
from tests.app.executions.test_unsent import commanded, sent, states
from tests.app.guards.test_breakers import tripped
from tests.app.guards.test_verdicts import tick
from tests.factories import NOW, PERSON, make_group, make_plan

pytestmark = pytest.mark.each_engine

EACH = pytest.mark.parametrize("scope", ["plan", "group"])


def bound(session: WorkSession, plan: Plan, scope: str, hour_minor: int | None) -> None:
    """Someone gives the plan's breaker, or its group's, this amount an hour."""
    group = plan.group
    if scope == "plan":
        values = replace(values_of(plan), breaker_hour_minor=hour_minor)
        update_plan(session, plan.id, values, actor=PERSON, now=NOW, reason="look first")
    else:
        groups.update_group(
            session,
            group,
            actor=PERSON,
            name=group.name,
            zone=group.zone,
            trade_table=group.trade_table,
            is_enabled=True,
            thresholds=TypedThresholds(breaker_hour_minor=hour_minor),
            now=NOW,
        )


@EACH
@pytest.mark.parametrize("before", [None, 50_000])
def test_what_was_queued_is_withdrawn_and_begun_within_the_lower_amount(
    session: WorkSession, group: SystemGroup, agent: Agent, scope: str, before: int | None
) -> None:
    plan = make_plan(session, group)
    bound(session, plan, scope, before)
    repairs = commanded(session, plan, 5)
    bound(session, plan, scope, 20_000)
    assert (states(repairs), sent(session, agent)) == (["cancelled"] * 5, [])
    tick(session, plan)
    assert [one.trade_no for one in sent(session, agent)] == ["T-0", "T-1"]
    assert tripped(session) == [(scope, "amount")]


@EACH
@pytest.mark.parametrize("after", [60_000, None])
def test_under_a_higher_amount_or_none_what_was_queued_is_sent(
    session: WorkSession, group: SystemGroup, agent: Agent, scope: str, after: int | None
) -> None:
    plan = make_plan(session, group)
    bound(session, plan, scope, 50_000)
    repairs = commanded(session, plan, 5)
    bound(session, plan, scope, after)
    assert sent(session, agent) == repairs


def test_a_group_narrows_none_of_another(session: WorkSession, group: SystemGroup, agent: Agent) -> None:
    repairs = commanded(session, make_plan(session, group), 2)
    bound(session, make_plan(session, make_group(session, "OTHER")), "group", 1)
    assert sent(session, agent) == repairs
