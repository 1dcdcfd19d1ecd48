"""The page of a plan shows what is used of its limits, and what its breaker counts, as the guards count."""

import re
from datetime import timedelta

import pytest
from flask import Flask

from app.agents.models import Agent
from app.guards import breakers
from app.guards.usage import Use, usage_of
from app.plans.models import Plan
from app.unit_of_work import WorkSession, unit_of_work
from tests.app.guards.test_breakers import attempt, attempts, closed, report
from tests.app.visitor import visitor_of
from tests.factories import NOW, PERSON, make_agent, make_group, make_plan

LIMITS = {
    "limit_trade_minor": 50_000,
    "limit_hour_minor": 40_000,
    "limit_hour_count": 2,
    "limit_day_minor": 100_000,
    "limit_day_count": 9,
    "breaker_hour_minor": 70_000,
}


@pytest.fixture
def plan(session: WorkSession) -> Plan:
    """Of PBAP, with every limit."""
    return make_plan(session, make_group(session), **LIMITS)


@pytest.fixture
def agent(session: WorkSession, plan: Plan) -> Agent:
    return make_agent(session, plan.group)


@pytest.fixture
def no_limits(plan: Plan, session: WorkSession) -> Plan:
    for name in LIMITS:
        setattr(plan, name, None)
    return plan


def test_what_was_begun_counts_in_hour_and_day(session: WorkSession, plan: Plan, agent: Agent) -> None:
    attempts(session, plan, agent, ["repaired", "repaired"])
    found = usage_of(session, plan, NOW)
    assert found.limits == {
        "limit_hour_minor": [Use(20_000, 20_000, "CNY")],
        "limit_hour_count": [Use(2, 0)],
        "limit_day_minor": [Use(20_000, 80_000, "CNY")],
        "limit_day_count": [Use(2, 7)],
    }
    assert found.hour == [Use(20_000, 50_000, "CNY")]
    later = usage_of(session, plan, NOW + timedelta(hours=2))
    assert later.limits["limit_hour_count"] == [Use(0, 2)]
    assert later.limits["limit_day_count"] == [Use(2, 7)]


def test_clicks_use_up_nothing(session: WorkSession, plan: Plan, agent: Agent) -> None:
    attempt(session, plan, agent, "failed", NOW, trigger="click")
    found = usage_of(session, plan, NOW)
    assert found.limits["limit_hour_minor"] == [Use(0, 40_000, "CNY")]
    assert (found.failed, found.attempts) == (0, 0)


def test_a_limit_below_what_is_used_leaves_nothing(session: WorkSession, plan: Plan, agent: Agent) -> None:
    attempts(session, plan, agent, ["repaired", "repaired"])
    plan.limit_hour_minor = 10_000
    assert usage_of(session, plan, NOW).limits["limit_hour_minor"] == [Use(20_000, 0, "CNY")]


def test_failures_count_as_they_do_for_the_breaker(
    session: WorkSession, no_limits: Plan, agent: Agent
) -> None:
    attempts(session, no_limits, agent, ["failed", "repaired", "needs_human", "unknown"])
    found = usage_of(session, no_limits, NOW + timedelta(minutes=1))
    assert (found.failed, found.attempts, found.limits, found.hour) == (3, 4, {}, [])
    gone = usage_of(session, no_limits, NOW + timedelta(hours=2))
    assert (gone.failed, gone.attempts) == (0, 0)


def test_a_reset_begins_anew(session: WorkSession, no_limits: Plan, agent: Agent) -> None:
    no_limits.breaker_failures = 2
    attempts(session, no_limits, agent, ["failed", "failed"])
    assert usage_of(session, no_limits, NOW).failed == 2
    (breaker,) = breakers.stops(session, no_limits)
    now = NOW + timedelta(minutes=5)
    breakers.reset(session, breaker.id, reason="已查明", actor=PERSON, group_ids=None, now=now)
    assert usage_of(session, no_limits, now).failed == 0


def test_trades_that_came_back_count_for_the_plan_whose_repair_did_not_last(
    session: WorkSession, no_limits: Plan, agent: Agent
) -> None:
    closed(session, no_limits.group, "T-1")
    report(session, agent, NOW, "T-1")
    assert usage_of(session, no_limits, NOW).returned == 1
    other = make_plan(session, no_limits.group, fixer_code="interWithdrawFixServiceImpl")
    assert usage_of(session, other, NOW).returned == 0


def test_the_page_of_a_plan_shows_both(app: Flask) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        agent = make_agent(session, group)
        plan = make_plan(session, group, **LIMITS)
        attempts(session, plan, agent, ["failed", "repaired"])
    text = visitor_of(app, "li.na", "operator", groups=["PBAP"]).get(f"/plans/{plan.id}").text
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    assert "每小时笔数上限 2 近 60 分钟 已用 2，还可 0" in told
    assert "每小时金额上限 400.00 近 60 分钟 已用 ¥200.00，还可 ¥200.00" in told
    assert "每日笔数上限 9 今日 已用 2，还可 7" in told
    assert "现在失败 1/10，计 2 次执行" in told
    assert "现在复发 0/3" in told
    assert "每小时金额超过 700.00 近 60 分钟 已用 ¥200.00，还可 ¥500.00" in told


def test_where_no_breaker_has_tripped_no_more_than_that_is_said(app: Flask) -> None:
    with unit_of_work() as session:
        make_group(session)
    text = visitor_of(app, "li.na", "operator", groups=["PBAP"]).get("/breakers").text
    assert "没有熔断过" in text
    assert "正常" not in re.sub(r"<option[^>]*>[^<]*", "", text)
