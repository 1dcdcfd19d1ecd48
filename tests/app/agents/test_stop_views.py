"""The stop switch on its pages: one click and a reason, a red banner for whoever it concerns."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import select

from app.agents import local_stops, service
from app.agents.models import Agent, Stop
from app.executions.starting import Order, start_attempt
from app.extensions import db
from app.guards import breakers
from app.told import told_words
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

WHY = "金额异常，先停下"


@pytest.fixture
def fleet(app: Flask) -> dict[str, int]:
    """pbap-1 in PBAP, pbms-1 in PBMS; ids by name."""
    with unit_of_work() as session:
        group, other = make_group(session), make_group(session, "PBMS")
        one, two = make_agent(session, group, name="pbap-1"), make_agent(session, other, name="pbms-1")
        return {"PBAP": group.id, "PBMS": other.id, "pbap-1": one.id, "pbms-1": two.id}


@pytest.fixture
def admin(app: Flask, fleet: dict[str, int]) -> Visitor:
    return visitor_of(app, "boss", "admin")


@pytest.fixture
def operator(app: Flask, fleet: dict[str, int]) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def stored() -> list[tuple[str, str, str, bool]]:
    db.session.expire_all()
    rows = db.session.scalars(select(Stop).order_by(Stop.id))
    return [(stop.scope, stop.name, stop.reason, stop.lifted_at is None) for stop in rows]


def banner(page: str) -> str:
    """The words of the banner, empty where none stands."""
    found = re.search(r'<div id="stop-banner".*?\n</div>', page, re.DOTALL)
    assert found
    return html.unescape(re.sub(r"<[^>]+>", " ", found[0])).strip()


def stop(visitor: Visitor, target: str, reason: str = WHY) -> int:
    return visitor.post("/stops/new", {"target": target, "reason": reason}).status_code


def test_one_click_and_a_reason_stop_a_group(operator: Visitor, fleet: dict[str, int]) -> None:
    assert stop(operator, f"group:{fleet['PBAP']}") == 303
    assert stored() == [("group", "PBAP", WHY, True)]
    for path in ("/", "/anomalies", "/stops", "/settings", "/nonesuch"):
        text = banner(operator.get(path).text)
        assert "已紧急停止" in text, path
        assert ("系统组别 PBAP" in text, f"li.na：{WHY}" in text) == (True, True), path


def test_the_banner_is_for_those_who_see_the_group(app: Flask, admin: Visitor, fleet: dict[str, int]) -> None:
    stranger = visitor_of(app, "wang.wu", "viewer", groups=["PBMS"])
    stop(admin, f"agent:{fleet['pbap-1']}")
    assert "客户端 pbap-1" in banner(admin.get("/").text)
    assert banner(stranger.get("/").text) == ""
    assert "pbap-1" not in stranger.get("/stops").text
    stop(admin, "all")
    assert "全部修复" in banner(stranger.get("/").text)


def test_the_banner_refetches_itself(admin: Visitor) -> None:
    assert banner(admin.get("/stops/banner", target="stop-banner").text) == ""
    stop(admin, "all")
    assert "全部修复" in banner(admin.get("/stops/banner", target="stop-banner").text)
    assert admin.get("/stops/banner").status_code == 302


def test_what_opens_the_form_and_what_stops_have_names_of_their_own(operator: Visitor) -> None:
    assert re.findall(r'type="submit">([^<]+)<', operator.get("/stops/new").text)[-1] == "立即停止"


def test_without_a_reason_or_a_scope_nothing_is_stopped(admin: Visitor) -> None:
    assert stop(admin, "all", "") == 400
    page = admin.post("/stops/new", {"target": "", "reason": WHY})
    assert (page.status_code, 'id="target-error"' in page.text) == (400, True)
    for nonsense in ("group:x", "agent:", "world", "group:99"):
        assert stop(admin, nonsense) in (400, 404)
    assert stored() == []


def test_who_sees_one_group_stops_that_and_no_more(operator: Visitor, fleet: dict[str, int]) -> None:
    page = operator.get("/stops/new").text
    offered = re.findall(r'<option value="((?:all|group|agent)[^"]*)"', page)
    assert offered == [f"group:{fleet['PBAP']}", f"agent:{fleet['pbap-1']}"]
    assert stop(operator, "all") == 403
    assert stop(operator, f"group:{fleet['PBMS']}") == 400
    assert stop(operator, f"agent:{fleet['pbms-1']}") == 400
    assert stored() == []


def test_the_form_says_what_the_chosen_stop_would_reach(operator: Visitor, fleet: dict[str, int]) -> None:
    with unit_of_work() as session:
        group = session.get_one(SystemGroup, fleet["PBAP"])
        anomaly = make_anomaly(session, group)
        start_attempt(session, anomaly, make_plan(session, group), Order("click", PERSON, WHY, NOW))
    chosen = f"group:{fleet['PBAP']}"
    assert "1 笔待发送的修复" in operator.get(f"/stops/reach?target={chosen}", target="stop-reach").text
    assert "1 笔待发送的修复" in operator.get(f"/stops/new?target={chosen}").text
    for nothing in ("", "nonsense", "all", f"group:{fleet['PBMS']}"):
        page = operator.get(f"/stops/reach?target={nothing}", target="stop-reach")
        assert (page.status_code, "待发送" in page.text) == (200, False), nothing
    assert operator.get(f"/stops/reach?target={chosen}").status_code == 302


def test_a_viewer_looks_only(app: Flask, fleet: dict[str, int]) -> None:
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert viewer.get("/stops").status_code == 200
    assert viewer.get("/stops/new").status_code == 403
    assert stop(viewer, f"group:{fleet['PBAP']}") == 403


def test_a_stop_is_lifted_with_a_reason_and_stays_in_the_history(
    operator: Visitor, fleet: dict[str, int]
) -> None:
    stop(operator, f"group:{fleet['PBAP']}")
    assert operator.post("/stops/1/lift", {"reason": ""}).status_code == 400
    assert operator.post("/stops/1/lift", {"reason": "核查完毕"}).status_code == 303
    assert operator.post("/stops/1/lift", {"reason": "核查完毕"}).status_code == 409
    assert stored() == [("group", "PBAP", WHY, False)]
    page = operator.get("/stops").text
    assert ("核查完毕" in page, "已解除" in page, banner(page)) == (True, True, "")
    # On a phone label and value stand side by side: the value is one.
    assert re.search(
        r'data-label="已解除"><span>li.na · <time[^>]*>[^<]*</time><br>核查完毕</span></td>', page
    )


def test_a_lift_promises_nothing_that_another_stop_holds_back(
    operator: Visitor, admin: Visitor, fleet: dict[str, int]
) -> None:
    stop(operator, f"group:{fleet['PBAP']}")
    assert "仍然有效" not in operator.get("/stops/1/lift").text
    stop(admin, "all")
    assert "另有 1 个停止仍然有效" in operator.get("/stops/1/lift").text
    operator.post("/stops/1/lift", {"reason": "核查完毕"})
    after = operator.get("/stops").text
    assert ("其余的停止仍然有效" in after, "修复照常进行" in after) == (True, False)
    admin.post("/stops/2/lift", {"reason": "核查完毕"})
    assert "修复照常进行" in admin.get("/stops").text


def test_nor_what_a_breaker_holds_back_that_they_may_see(
    operator: Visitor, admin: Visitor, fleet: dict[str, int]
) -> None:
    with unit_of_work() as session:
        for code in ("PBAP", "PBMS"):
            group = session.get_one(SystemGroup, fleet[code])
            breakers.trip(session, breakers.subject_of_group(group), "failures", {"threshold": 3}, NOW)
    stop(operator, f"group:{fleet['PBAP']}")
    assert "另有 1 处熔断" in operator.get("/stops/1/lift").text
    operator.post("/stops/1/lift", {"reason": "核查完毕"})
    after = operator.get("/stops").text
    assert ("另有 1 处熔断，复位之前它停下的仍不自动开始" in after, "修复照常进行" in after) == (True, False)
    stop(admin, "all")
    assert "另有 2 处熔断" in admin.get("/stops/2/lift").text


def test_what_is_wrong_with_the_form_of_a_stop_is_said_at_once(operator: Visitor) -> None:
    page = operator.post("/stops/new", {"target": "", "reason": " "})
    assert page.status_code == 400
    assert ("必填" in page.text, "请写明原因" in page.text) == (True, True)


def test_an_administrator_lifts_the_stop_of_everything(
    app: Flask, admin: Visitor, fleet: dict[str, int]
) -> None:
    chief = visitor_of(app, "chief", "operator", sees_all_groups=True)
    assert stop(chief, "all") == 303
    page = chief.get("/stops").text
    assert ("/stops/1/lift" in page, "由管理员解除" in page) == (False, True)
    assert chief.post("/stops/1/lift", {"reason": "well"}).status_code == 403
    assert "/stops/1/lift" in admin.get("/stops").text
    assert admin.post("/stops/1/lift", {"reason": "well"}).status_code == 303
    assert stored() == [("all", "", WHY, False)]


def test_the_same_stop_twice_is_said_with_who_and_why(admin: Visitor) -> None:
    stop(admin, "all")
    page = admin.post("/stops/new", {"target": "all", "reason": "again"})
    assert (page.status_code, f"boss：{WHY}" in page.text) == (409, True)


def test_an_agent_s_page_says_that_it_is_stopped_and_stops_it(
    app: Flask, operator: Visitor, fleet: dict[str, int]
) -> None:
    url = f"/agents/{fleet['pbap-1']}"
    assert f"/stops/new?target=agent:{fleet['pbap-1']}" in html.unescape(operator.get(url).text)
    page = operator.get(f"/stops/new?target=agent:{fleet['pbap-1']}").text
    assert f'<option value="agent:{fleet["pbap-1"]}" selected' in page
    stop(operator, f"agent:{fleet['pbap-1']}")
    with unit_of_work() as session:
        service.get(session, fleet["pbap-1"]).stopped_here = "换磁盘"
    page = operator.get(url).text
    assert ("本地已停止" in page, "换磁盘" in page, WHY in page) == (True, True, True)
    assert "换磁盘" in operator.get("/agents").text
    assert "换磁盘" in operator.get("/stops").text


def stop_here(name: str, why: str | None) -> None:
    with unit_of_work() as session:
        local_stops.keep(session, session.scalars(select(Agent).where(Agent.name == name)).one(), why, NOW)


def test_an_agent_stopped_on_its_host_stands_in_the_banner_of_those_who_see_it(
    app: Flask, operator: Visitor, fleet: dict[str, int]
) -> None:
    stranger = visitor_of(app, "wang.wu", "viewer", groups=["PBMS"])
    stop_here("pbap-1", "换磁盘")
    text = banner(operator.get("/").text)
    assert ("本地已停止" in text, "客户端 pbap-1" in text, "换磁盘" in text) == (True, True, True)
    assert banner(stranger.get("/").text) == ""
    stop_here("pbap-1", None)
    assert banner(operator.get("/stops/banner", target="stop-banner").text) == ""


def test_the_banner_counts_stops_on_hosts_among_what_it_has_no_room_for(
    admin: Visitor, fleet: dict[str, int]
) -> None:
    for name in ("pbap-1", "pbms-1"):
        stop_here(name, "换磁盘")
    stop(admin, f"group:{fleet['PBAP']}")
    stop(admin, f"group:{fleet['PBMS']}")
    text = banner(admin.get("/").text)
    assert ("pbap-1" in text, "pbms-1" in text, "另有 1 处紧急停止" in text) == (True, False, True)


def test_the_list_of_stops_counts_what_stands_and_says_since_when_a_local_one_is_known(
    operator: Visitor, fleet: dict[str, int]
) -> None:
    stop(operator, f"agent:{fleet['pbap-1']}")
    operator.post("/stops/1/lift", {"reason": "核查完毕"})
    stop(operator, f"group:{fleet['PBAP']}")
    stop_here("pbap-1", "换磁盘")
    page = operator.get("/stops").text
    assert "共 3 条 · 本页 3 条" in page
    row = page[page.index(f'id="stopped-agent-{fleet["pbap-1"]}"') :].partition("</tr>")[0]
    command = "python -m agent --config agent.toml start"
    assert (command in row, command in operator.get(f"/agents/{fleet['pbap-1']}").text) == (True, True)
    assert (f'datetime="{NOW:%Y-%m-%dT%H:%M:%S}' in row, "服务端得知" in row) == (True, True)


@pytest.mark.parametrize(("how", "words"), [("here", "本地已停止"), ("group", "紧急停止中")])
def test_an_agent_that_is_stopped_is_not_plainly_online(
    operator: Visitor, fleet: dict[str, int], how: str, words: str
) -> None:
    pages = ("/agents", f"/agents/{fleet['pbap-1']}")
    dot = re.compile(r'"dot (\w+)"></span>\s*(?:<[^>]*>)?pbap-1')
    for path in pages:
        assert dot.findall(operator.get(path).text) == ["live"], path
    if how == "here":
        stop_here("pbap-1", "换磁盘")
    else:
        stop(operator, f"group:{fleet['PBAP']}")
    for path in pages:
        page = operator.get(path).text
        assert dot.findall(page) == ["warn"], path
        assert re.search(rf"{words}</span> <span class=\"state green\">", page), path


def test_the_groups_page_shows_and_offers_the_switch(admin: Visitor, fleet: dict[str, int]) -> None:
    page = html.unescape(admin.get("/users/groups").text)
    assert f"/stops/new?target=group:{fleet['PBMS']}" in page
    assert "紧急停止中" not in page
    stop(admin, f"group:{fleet['PBMS']}")
    page = html.unescape(admin.get("/users/groups").text)
    assert ("紧急停止中" in page, "/stops/1/lift" in page) == (True, True)


def test_a_click_on_repair_is_refused_in_words(operator: Visitor, fleet: dict[str, int]) -> None:
    with unit_of_work() as session:
        group = service.get(session, fleet["pbap-1"]).group
        make_plan(session, group)
        anomaly_id = make_anomaly(session, group).id
    stop(operator, f"group:{fleet['PBAP']}")
    page = operator.send(f"/anomalies/{anomaly_id}/repair", {"reason": "已核对三方事实"})
    assert page.status_code == 409
    assert f"li.na 已紧急停止系统组别 PBAP：{WHY}。解除之后才能执行。" in page.text
    foreseen = operator.get(f"/exceptions/repair?ids={anomaly_id}").text
    assert "系统组别已紧急停止。" in foreseen


def test_what_is_told_of_a_withdrawn_command_is_worded(app: Flask, fleet: dict[str, int]) -> None:
    assert told_words(f"cancelled: stopped by li.na: {WHY}") == f"已取消（li.na 紧急停止：{WHY}）"
    assert told_words("local stop of pbap-1: disks") == "客户端本地已停止：pbap-1（disks）"
    assert told_words("rejected: stopped: disks") == "客户端拒绝了命令（客户端本地已停止（disks））"


def test_the_banner_counts_what_it_has_no_room_for(app: Flask, admin: Visitor, fleet: dict[str, int]) -> None:
    with unit_of_work() as session:
        group = service.get(session, fleet["pbap-1"]).group
        agents: list[Agent] = [make_agent(session, group) for _each in range(5)]
        for agent in agents:
            target = {"group_id": group.id, "agent_id": agent.id, "name": agent.name}
            session.add(Stop(scope="agent", **target, reason=WHY, set_by="boss", set_at=NOW))
    assert "另有 2 处紧急停止" in banner(admin.get("/").text)


def test_a_stop_of_everything_stands_in_the_banner_for_the_others(
    admin: Visitor, fleet: dict[str, int]
) -> None:
    for target in (f"group:{fleet['PBAP']}", f"agent:{fleet['pbms-1']}", "all"):
        stop(admin, target)
    text = banner(admin.get("/").text)
    assert ("全部修复" in text, "PBAP" in text, "另有 2 处紧急停止" in text) == (True, False, True)


def test_the_audit_names_a_stop_of_everything(admin: Visitor) -> None:
    stop(admin, "all")
    text = re.sub(r"<[^>]+>", " ", admin.get("/audit?action=stop.set").text)
    assert re.search(r"紧急停止\s+全部修复", text)
