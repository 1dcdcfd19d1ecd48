"""No page promises a next run of what a breaker or a stop keeps from beginning by itself."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from app.agents import stops
from app.agents.models import Agent
from app.agents.stops import Target
from app.extensions import db
from app.guards import breakers
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

FAILURES = {"failed": 10, "attempts": 12, "threshold": 10}


@pytest.fixture
def groups(app: Flask) -> None:
    """PBAP and PBMS, each with an agent, an automatic plan and a trade; one of PBAP has moved money."""
    with unit_of_work() as session:
        for sys_code in ("PBAP", "PBMS"):
            group = make_group(session, sys_code)
            make_agent(session, group)
            make_plan(session, group)
            make_anomaly(session, group, trade_no=f"{sys_code}-NEW")
            if sys_code == "PBAP":
                make_anomaly(session, group, trade_no="PBAP-HALF", has_moved_money=True)


@pytest.fixture
def operator(app: Flask, groups: None) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP", "PBMS"])


def of_pbap(model: type) -> int:
    """Return the id of PBAP itself, its agent or its plan."""
    statement = db.select(model.id)
    if model is not SystemGroup:
        statement = statement.join(SystemGroup, SystemGroup.id == model.group_id)
    return db.session.scalars(statement.where(SystemGroup.sys_code == "PBAP")).one()


def trip_plan() -> None:
    with unit_of_work() as session:
        plan = session.get_one(Plan, of_pbap(Plan))
        breakers.trip(session, breakers.subject_of_plan(plan), "failures", FAILURES, NOW)


def trip_group() -> None:
    with unit_of_work() as session:
        group = session.get_one(SystemGroup, of_pbap(SystemGroup))
        breakers.trip(session, breakers.subject_of_group(group), "failures", FAILURES, NOW)


def stop(**target: int) -> None:
    with unit_of_work() as session:
        stops.set_stop(session, Target(**target), reason="查账", actor=PERSON, group_ids=None, now=NOW)


def stop_group() -> None:
    stop(group_id=of_pbap(SystemGroup))


def stop_agent() -> None:
    stop(agent_id=of_pbap(Agent))


BREAKERS = [
    pytest.param(trip_plan, "已熔断", id="breaker"),
    pytest.param(trip_group, "组别已熔断", id="breaker of the group"),
]
STOPS = [
    pytest.param(stop_group, "紧急停止中", id="stop of the group"),
    pytest.param(stop_agent, "紧急停止中", id="stop of its only agent"),
]


def rows(visitor: Visitor, url: str, name: str) -> dict[str, str]:
    """Return the rows of a list, by what is first found in each of the pattern."""
    found = re.findall(r"<tr id=.*?</tr>", visitor.get(url).text, re.DOTALL)
    return {re.search(name, row)[0]: row for row in found}  # type: ignore[index]


@pytest.mark.parametrize(("happens", "mark"), [*BREAKERS, *STOPS])
def test_a_row_tells_of_it_instead_of_a_next_run(
    operator: Visitor, happens: Callable[[], None], mark: str
) -> None:
    happens()
    found = rows(operator, "/exceptions", r"PB\w+-\w+")
    assert mark in found["PBAP-NEW"]
    assert "下次执行" not in found["PBAP-NEW"]
    assert "下次执行" in found["PBMS-NEW"]
    assert mark not in found["PBMS-NEW"]


@pytest.mark.parametrize(("happens", "mark"), BREAKERS)
def test_what_has_moved_money_goes_on_behind_a_breaker(
    operator: Visitor, happens: Callable[[], None], mark: str
) -> None:
    happens()
    row = rows(operator, "/exceptions", r"PB\w+-\w+")["PBAP-HALF"]
    assert "下次执行" in row
    assert mark not in row


@pytest.mark.parametrize(("happens", "mark"), STOPS)
def test_nothing_goes_on_under_a_stop(operator: Visitor, happens: Callable[[], None], mark: str) -> None:
    happens()
    row = rows(operator, "/exceptions", r"PB\w+-\w+")["PBAP-HALF"]
    assert mark in row
    assert "下次执行" not in row


@pytest.mark.parametrize(("happens", "mark"), [*BREAKERS, *STOPS])
def test_the_pages_of_a_plan_and_a_trade_promise_none(
    operator: Visitor, happens: Callable[[], None], mark: str
) -> None:
    plan_url = f"/plans/{of_pbap(Plan)}"
    trade_url = re.search(r"/anomalies/\d+(?=[^>]*>PBAP-NEW)", operator.get("/exceptions").text)
    assert trade_url
    happens()
    found = rows(operator, "/plans", "PB\\w+")
    assert "下次" not in found["PBAP"]
    assert mark in found["PBAP"]
    assert "下次" in found["PBMS"]
    text = operator.get(plan_url).text
    assert "现在不自动开始" in text
    assert "接下来" not in text
    due = re.search(r"<dt>下次执行</dt><dd>(.*?)</dd>", operator.get(trade_url[0]).text, re.DOTALL)
    assert due
    assert mark in due[1]
    assert "<time" not in due[1]


@pytest.mark.parametrize(("happens", "_mark"), STOPS)
def test_all_are_offered_but_what_is_stopped(
    operator: Visitor, happens: Callable[[], None], _mark: str
) -> None:
    assert "修复全部 3 笔" in operator.get("/exceptions").text
    assert "修复所选" in operator.get("/exceptions?group=PBAP").text
    happens()
    assert "修复全部 1 笔" in operator.get("/exceptions").text
    assert len(re.findall(r'name="ids"', operator.get("/exceptions").text)) == 1
    text = operator.get("/exceptions?group=PBAP").text
    assert "修复全部" not in text
    assert "修复所选" not in text
    assert 'type="checkbox"' not in text
    assert "紧急停止中，不能修复" in text


def test_nothing_is_offered_while_everything_is_stopped(operator: Visitor) -> None:
    stop()
    text = operator.get("/exceptions").text
    assert "修复全部" not in text
    assert "下次执行" not in text
    assert "紧急停止中，不能修复" in text


@pytest.mark.parametrize(("happens", "_mark"), STOPS)
def test_what_a_stop_would_refuse_is_disabled_and_says_why(
    operator: Visitor, happens: Callable[[], None], _mark: str
) -> None:
    trip_plan()
    happens()
    row = rows(operator, "/exceptions", r"PB\w+-\w+")["PBAP-NEW"]
    trade = re.search(r"/anomalies/\d+", row)
    assert trade
    assert not re.search(r'href="[^"]*/repair"', row)
    assert re.search(r'<span title="[^"]*：查账。解除之后才能执行。"><button[^>]* disabled>', row)
    page = operator.get(trade[0]).text
    assert f'href="{trade[0]}/repair"' not in page
    assert re.search(r'<span title="[^"]*：查账。解除之后才能执行。"><button[^>]* disabled>', page)
    assert f'href="{trade[0]}/verify"' in page


@pytest.mark.parametrize(("happens", "_mark"), STOPS)
@pytest.mark.parametrize("action", ["repair", "retry"])
def test_behind_a_breaker_and_under_a_stop_no_click_is_promised(
    operator: Visitor, happens: Callable[[], None], _mark: str, action: str
) -> None:
    trip_plan()
    trade = re.search(r"/anomalies/\d+(?=[^>]*>PBAP-NEW)", operator.get("/exceptions").text)
    assert trade
    url = f"{trade[0]}/{action}"
    assert "点击仍会执行" in operator.get(url).text
    assert "点击仍可执行" in operator.get(f"/plans/{of_pbap(Plan)}").text
    happens()
    form = operator.get(url).text
    assert "解除之后才能执行" in form
    assert "点击仍会执行" not in form
    assert '<button class="button primary" type="submit" disabled>' in form
    assert "点击仍可执行" not in operator.get(f"/plans/{of_pbap(Plan)}").text
    assert operator.send(url, {"reason": "客户来电"}).status_code == 409
