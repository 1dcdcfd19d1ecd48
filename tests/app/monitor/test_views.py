"""Home, the frame monitor and the search as pages and as fragments."""

import re
from datetime import datetime, time
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app.agents import stops
from app.agents.models import Agent
from app.agents.stops import Target
from app.guards.breakers import subject_of_group, trip
from app.unit_of_work import unit_of_work
from app.users.models import User
from tests.app.monitor.rows import keep_count, make_attempt, make_command, make_frame, make_viewer, sign_in
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

HTMX = {"HX-Request": "true"}
PAGES = ("/", "/menu-counts", "/home/figures", "/frames", "/frames/1", "/frames/commands/c1", "/search?q=CO1")


@pytest.fixture
def agent(app: Flask) -> Agent:
    """An agent of PBAP with one command's conversation; PBMS has an agent and a frame of its own."""
    with unit_of_work() as session:
        group, other = make_group(session), make_group(session, "PBMS", name="代付平台")
        agent = make_agent(session, group, name="pbap-1")
        make_frame(session, agent, type="Repair", direction="out", command_id="c1", trade_no="CO1")
        body = '{"type": "RepairFinished", "reason": "<b>\\"row\\"</b>", "steps": [{"seq": 1}], "after": {}}'
        make_frame(session, agent, type="RepairFinished", command_id="c1", trade_no="CO1", body=body)
        make_frame(session, make_agent(session, other, name="pbms-1"), type="Hello", trade_no="CO2")
        assert agent.group.sys_code == "PBAP"
        return agent


@pytest.fixture
def viewer(client: FlaskClient, agent: Agent) -> User:
    """Sees PBAP only, and is signed in."""
    with unit_of_work() as session:
        user = make_viewer(session, session.merge(agent.group))
    sign_in(client, user)
    return user


def text(client: FlaskClient, url: str, status: int = 200, **options: Any) -> str:
    answer = client.get(url, **options)
    assert answer.status_code == status
    return answer.get_data(as_text=True)


@pytest.mark.parametrize("depth", [300, 10_000])
def test_a_frame_of_values_within_values_is_shown_as_it_came(
    client: FlaskClient, viewer: User, agent: Agent, depth: int
) -> None:
    body = "[" * depth + "]" * depth
    with unit_of_work() as session:
        frame = make_frame(session, agent, type="unreadable", body=body, error="malformed", command_id="c9")
    assert body in text(client, f"/frames/{frame.id}")
    assert body in text(client, "/frames/commands/c9")


@pytest.mark.parametrize("url", PAGES)
def test_every_page_needs_a_login(client: FlaskClient, agent: Agent, url: str) -> None:
    assert client.get(url).location.startswith("/login")


@pytest.mark.parametrize(("role", "may_begin"), [("operator", True), ("viewer", False)])
def test_home_without_anything_says_how_to_begin_to_those_who_may(
    client: FlaskClient, app: Flask, role: str, may_begin: bool
) -> None:
    with unit_of_work() as session:
        user = make_viewer(session, sees_all_groups=True, role=role)
    sign_in(client, user)
    page = text(client, "/")
    assert ("添加客户端" in page) is may_begin
    assert "还没有修复执行" in page
    assert "没有未结异常" in page


def test_home_shows_figures_of_visible_groups_only(client: FlaskClient, viewer: User) -> None:
    with unit_of_work() as session:
        group = session.merge(viewer.groups[0])
        make_anomaly(session, group, trade_no="CO100", state="needs_human", amount_minor=1_234_500)
        make_attempt(session, make_anomaly(session, group, trade_no="CO101"), outcome="repaired")
        hidden = make_group(session, "PBXX")
        make_anomaly(session, hidden, trade_no="CO999", state="needs_human")
        keep_count(session, group, "repaired", 4)
        make_plan(session, group)
    page = text(client, "/")
    assert "CO100" in page
    assert "CO101" in page
    assert "CO999" not in page
    assert "修复为成功 4" in page
    assert "¥12,345.00" in page


def test_the_figure_of_repairs_leads_to_the_repairs_of_the_readers_day(
    client: FlaskClient, viewer: User
) -> None:
    with unit_of_work() as session:
        group = session.merge(viewer.groups[0])
        make_attempt(session, make_anomaly(session, group, trade_no="CO101"), outcome="repaired")
        make_attempt(session, make_anomaly(session, group, trade_no="CO102"), outcome="failed")
    found = re.search(r'href="(/executions\?outcome=repaired[^"]*)"', text(client, "/home/figures"))
    assert found is not None
    url = unescape(found[1])
    assert datetime.fromisoformat(url.partition("start=")[2]).time() == time()
    page = text(client, url.partition("&start")[0])
    assert "CO101" in page
    assert "CO102" not in page
    assert '<option value="repaired" selected>' in page
    text(client, url)


@pytest.mark.parametrize("part", ["figures", "trend", "kinds", "latest", "urgent"])
def test_each_part_of_home_is_the_fragment_that_refetches_itself(
    client: FlaskClient, viewer: User, part: str
) -> None:
    fragment = text(client, f"/home/{part}", headers=HTMX).strip()
    assert f'id="home-{part}"' in fragment.splitlines()[0]
    assert f'id="home-{part}"' in text(client, "/")
    assert "<html" not in fragment


def test_home_has_no_other_part(client: FlaskClient, viewer: User) -> None:
    text(client, "/home/everything", 404)


def test_the_trend_follows_the_range_and_ignores_nonsense(client: FlaskClient, viewer: User) -> None:
    assert '"has_days": true' in text(client, "/home/trend?range=7d")
    assert '"has_days": false' in text(client, "/home/trend?range=1000y")


def test_only_an_operator_is_offered_a_broadcast(client: FlaskClient, viewer: User) -> None:
    assert 'class="button primary" href="/collections/new"' not in text(client, "/")


def test_the_menu_counts_what_waits_and_who_is_online(client: FlaskClient, viewer: User) -> None:
    with unit_of_work() as session:
        make_anomaly(session, session.merge(viewer.groups[0]), state="needs_human")
    fragment = text(client, "/menu-counts", headers=HTMX)
    assert 'id="count-exceptions" hx-swap-oob="true" title="需人处理">1<' in fragment
    assert ">1/1<" in fragment


def test_the_menu_counts_stops_and_tripped_breakers(client: FlaskClient, viewer: User) -> None:
    assert 'id="count-stops" hx-swap-oob="true"><' in text(client, "/menu-counts", headers=HTMX)
    with unit_of_work() as session:
        group = session.merge(viewer.groups[0])
        stops.set_stop(session, Target(), reason="look first", actor=PERSON, group_ids=None, now=NOW)
        trip(session, subject_of_group(group), "failures", {}, NOW)
    fragment = text(client, "/menu-counts", headers=HTMX)
    assert re.search(r'id="count-stops"[^>]*>1<', fragment)
    assert re.search(r'id="count-breakers"[^>]*>1<', fragment)


def test_the_frame_list_hides_other_groups(client: FlaskClient, viewer: User) -> None:
    page = text(client, "/frames")
    assert "RepairFinished" in page
    assert "pbap-1" in page
    assert "pbms-1" not in page
    assert "CO2" not in page
    assert "5,000,000" in page


def test_the_frame_list_answers_htmx_with_its_table(client: FlaskClient, viewer: User) -> None:
    fragment = text(client, "/frames?type=Repair", headers=HTMX)
    assert fragment.strip().startswith('<div id="frames-table" data-topic="frames"')
    assert 'id="frame-1"' in fragment
    assert 'id="frame-2"' not in fragment


def test_an_older_page_of_frames_does_not_follow_live(client: FlaskClient, viewer: User) -> None:
    fragment = text(client, "/frames?after=2", headers=HTMX)
    assert '<div id="frames-table" data-topic=""' in fragment
    assert 'id="frame-1"' in fragment


@pytest.mark.parametrize(
    ("query", "words", "kept"),
    [
        ("start=yesterday", "时间", 'value="yesterday"'),
        ("agent=abc", "请填写编号", 'name="agent"'),
        ("type=Nonsense", "没有这种消息类型", 'name="type"'),
        ("direction=up", "方向只能是收或发", 'name="direction"'),
        ("start=2026-03-02T10:00&end=2026-03-02T09:00", "结束时间早于开始时间", "2026-03-02T09:00"),
        ("after=x", "分页位置已失效", "frames-table"),
        ("after=99999999999999999999", "分页位置已失效", "frames-table"),
    ],
)
def test_a_wrong_filter_is_told_and_kept(
    client: FlaskClient, viewer: User, query: str, words: str, kept: str
) -> None:
    page = text(client, f"/frames?{query}", 400)
    assert words in page
    assert kept in page


def test_a_filter_that_finds_nothing_offers_to_clear_it(client: FlaskClient, viewer: User) -> None:
    assert "清除筛选" in text(client, "/frames?trade_no=NONE")


def test_a_frame_opens_as_page_and_as_drawer(client: FlaskClient, viewer: User) -> None:
    page = text(client, "/frames/2")
    drawer = text(client, "/frames/2", headers={**HTMX, "HX-Target": "drawer"})
    assert "<html" in page
    assert "<html" not in drawer
    for shape in (page, drawer):
        assert '<span class="key">steps</span>' in shape
        assert "&lt;b&gt;" in shape
        assert "<b>\\" not in shape


def test_a_frame_that_is_no_json_is_shown_as_it_came(client: FlaskClient, viewer: User, agent: Agent) -> None:
    with unit_of_work() as session:
        frame = make_frame(session, agent, type="unreadable", body="{<oops", error="Invalid JSON")
    page = text(client, f"/frames/{frame.id}")
    assert "{&lt;oops" in page
    assert "Invalid JSON" in page


def test_a_frame_of_another_group_is_not_found(client: FlaskClient, viewer: User) -> None:
    text(client, "/frames/3", 404)


def test_a_conversation_shows_each_turn(client: FlaskClient, viewer: User) -> None:
    page = text(client, "/frames/commands/c1")
    assert page.index('id="turn-1"') < page.index('id="turn-2"')
    assert "命令记录已清理" in page
    fragment = text(client, "/frames/commands/c1", headers=HTMX)
    assert fragment.strip().startswith('<div id="conversation"')
    text(client, "/frames/commands/unknown", 404)


def test_a_command_tells_its_states(client: FlaskClient, viewer: User) -> None:
    with unit_of_work() as session:
        command = make_command(session, session.merge(viewer.groups[0]), state="rejected", error="fence")
    page = text(client, f"/frames/commands/{command.id}")
    assert "被拒绝" in page
    assert "fence" in page


def test_the_search_opens_the_only_hit(client: FlaskClient, viewer: User) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.merge(viewer.groups[0]), trade_no="CO77")
        command = make_command(session, session.merge(viewer.groups[0]), id="ab" * 16, trade_no="XX1")
    assert client.get("/search?q=CO77").location == f"/anomalies/{anomaly.id}"
    assert client.get("/search?q=abab").location == f"/frames/commands/{command.id}"
    assert client.get("/search?q=pbap-1").location.startswith("/agents/")


def test_the_search_groups_what_it_finds(client: FlaskClient, viewer: User) -> None:
    with unit_of_work() as session:
        for number in (1, 2):
            make_anomaly(session, session.merge(viewer.groups[0]), trade_no=f"CO7{number}")
    page = text(client, "/search?q=CO7")
    assert "CO71" in page
    assert "CO72" in page
    fragment = text(client, "/search?q=CO7", headers=HTMX)
    assert fragment.strip().startswith('<div id="search-results"')


def test_the_search_says_what_to_do_when_nothing_is_found(client: FlaskClient, viewer: User) -> None:
    assert "没有找到“&lt;i&gt;”" in text(client, "/search?q=<i>")
    assert "输入要查的内容" in text(client, "/search")


def test_home_shows_the_amount_of_each_kind(client: FlaskClient, viewer: User, agent: Agent) -> None:
    with unit_of_work() as session:
        make_anomaly(session, session.merge(agent.group), trade_no="CO100", amount_minor=1_234_500)
    kinds = text(client, "/home/kinds", headers=HTMX)
    assert "¥12,345.00</span>" in kinds


def test_frames_are_found_by_the_beginning_of_their_commands_number(
    client: FlaskClient, viewer: User
) -> None:
    with unit_of_work() as session:
        agent = session.scalars(select(Agent).where(Agent.name == "pbap-1")).unique().one()
        for name in ("abcdef01" + "0" * 24, "abcdef02" + "0" * 24):
            make_command(session, agent.group, id=name)
            make_frame(session, agent, type="Verify", command_id=name)
        other = session.scalars(select(Agent).where(Agent.name == "pbms-1")).unique().one()
        make_command(session, other.group, id="abcdef01" + "1" * 24)
    shown = text(client, "/frames?command_id=ABCDEF01")
    assert "/frames/commands/abcdef01" in shown
    assert "/frames/commands/abcdef02" not in shown
    assert "不止一条" in text(client, "/frames?command_id=abcdef0", 400)
    assert "没有符合条件" in text(client, "/frames?command_id=abcdef03")
