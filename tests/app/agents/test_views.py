"""The agents' pages: who sees which, adding one, taking its token away."""

import re

import pytest
from flask import Flask
from sqlalchemy import select

from agent.protocol import AgentLimits
from app.agents import service
from app.agents.models import Agent
from app.audit.models import AuditEntry
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import hello
from tests.app.monitor.rows import make_command
from tests.app.visitor import Visitor, visitor_of
from tests.factories import NOW, make_agent, make_group


@pytest.fixture
def fleet(app: Flask) -> None:
    """pbap-1 online and pbap-2 offline in PBAP, pbms-1 in PBMS."""
    with unit_of_work() as session:
        group, other = make_group(session), make_group(session, "PBMS")
        make_agent(session, group, name="pbap-1", journal_length=3)
        make_agent(session, group, name="pbap-2", is_online=False)
        make_agent(session, other, name="pbms-1")


@pytest.fixture
def admin(app: Flask, fleet: None) -> Visitor:
    return visitor_of(app, "boss", "admin")


@pytest.fixture
def viewer(app: Flask, fleet: None) -> Visitor:
    return visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])


def stored(name: str) -> Agent:
    db.session.expire_all()
    agent = service.find_by_name(db.session, name)
    assert agent is not None
    return agent


def shown(page: str) -> list[str]:
    """The names in the table, in order."""
    return re.findall(r'class="row-link ?"[^>]*>([^<]+)<', page)


def follow(page: str, direction: str) -> str:
    """Where a page's link to the next or previous one leads."""
    found = re.search(rf'rel="{direction}" href="([^"]+)"', page)
    assert found
    return found[1].replace("&amp;", "&")


def test_a_viewer_sees_the_agents_of_their_groups_and_no_buttons(viewer: Visitor) -> None:
    page = viewer.get("/agents").text
    assert "pbap-1" in page
    assert "pbap-2" in page
    assert "pbms-1" not in page
    assert "/agents/new" not in page
    assert viewer.get(f"/agents/{stored('pbms-1').id}").status_code == 404


def test_a_journal_that_cannot_be_read_or_written_is_told_in_words(viewer: Visitor) -> None:
    with unit_of_work() as session:
        session.get_one(Agent, stored("pbap-1").id).journal_length = -1
    path = f"/agents/{stored('pbap-1').id}"
    assert re.search(r'日志积压">\s*<span class="text-danger">读写失败</span>', viewer.get("/agents").text)
    page = viewer.get(path).text
    assert "日志读不出或写不进，不接新的命令" in page
    assert "检查这台主机的磁盘" in page
    assert "-1</dd>" not in page
    with unit_of_work() as session:
        session.get_one(Agent, stored("pbap-1").id).journal_length = 3
    assert "读写失败" not in viewer.get("/agents").text
    assert "日志读不出" not in viewer.get(path).text


def test_a_new_agent_without_a_group_is_asked_for_one(admin: Visitor) -> None:
    answer = admin.post("/agents/new", {"name": "pbap-9", "group": ""})
    assert answer.status_code == 400
    assert "请选择系统组别。" in answer.text


@pytest.mark.parametrize("path", ["/agents/new", "/agents/1/revoke", "/agents/1/rotate"])
def test_only_an_admin_hands_out_tokens(viewer: Visitor, path: str) -> None:
    assert viewer.get(path).status_code == 403


def test_the_fragment_is_the_table_of_the_page(admin: Visitor) -> None:
    fragment = admin.get("/agents?state=offline", target="agents-table").text
    assert fragment.lstrip().startswith('<div id="agents-table"')
    assert "pbap-2" in fragment
    assert "pbap-1" not in fragment


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["pbap-1", "pbap-2", "pbms-1"]),
        ("group=PBAP", ["pbap-1", "pbap-2"]),
        ("state=online", ["pbap-1", "pbms-1"]),
        ("state=revoked", []),
        ("q=PBMS", ["pbms-1"]),
        ("q=%25", []),
        ("fixer=rechargeTimeout", ["pbap-1", "pbap-2", "pbms-1"]),
        ("fixer=ownFixer&state=online", []),
    ],
)
def test_the_list_narrows_by_what_the_url_says(admin: Visitor, query: str, names: list[str]) -> None:
    assert shown(admin.get(f"/agents?{query}", target="agents-table").text) == names


def test_a_long_list_is_read_page_by_page(app: Flask, admin: Visitor) -> None:
    with unit_of_work() as session:
        group = make_group(session, "LONG")
        for number in range(120):
            make_agent(session, group, name=f"long-{number:03d}")
    first = admin.get("/agents?group=LONG").text
    second = admin.get(follow(first, "next")).text
    third = admin.get(follow(second, "next")).text
    assert shown(first) + shown(second) + shown(third) == [f"long-{number:03d}" for number in range(120)]
    assert 'rel="next"' not in third
    assert shown(admin.get(follow(third, "prev")).text) == shown(second)
    assert admin.get("/agents?after=x").status_code == 400


def test_an_agent_shows_its_newest_commands_and_what_it_holds(app: Flask, admin: Visitor) -> None:
    agent = stored("pbap-1")
    with unit_of_work() as session:
        for number in range(25):
            state = "running" if number == 0 else "finished"
            make_command(session, agent.group, agent_id=agent.id, trade_no=f"CO{number:04d}", state=state)
    page = admin.get(f"/agents/{agent.id}").text
    assert [number for number in range(25) if f"CO{number:04d}" in page] == [0, *range(5, 25)]
    assert page.count(">修复</a></td>") == 21
    assert ">Repair<" not in page


def test_a_new_agent_gets_a_token_shown_once(admin: Visitor) -> None:
    page = admin.post("/agents/new", {"name": "pbap-3", "group": "PBAP"}).text
    token = page.split('id="agent-token">')[1].split("<")[0]
    found = service.authenticate(db.session, token)
    assert found is not None
    assert found.name == "pbap-3"
    assert token not in admin.get(f"/agents/{found.id}").text


@pytest.mark.parametrize(
    ("typed", "words", "status"),
    [
        ({"name": "", "group": "PBAP"}, "name-error", 400),
        ({"name": "pbap-1", "group": "PBAP"}, "name-error", 409),
        ({"name": "a b", "group": "PBAP"}, "name-error", 400),
        ({"name": "pbap-9", "group": "NONE"}, "group-error", 400),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_kept(
    admin: Visitor, typed: dict[str, str], words: str, status: int
) -> None:
    answer = admin.post("/agents/new", typed)
    assert answer.status_code == status
    assert f'id="{words}"' in answer.text
    assert f'value="{typed["name"]}"' in answer.text


def test_a_revoked_agent_leaves_the_list_and_its_token_dies(admin: Visitor) -> None:
    answer = admin.post(f"/agents/{stored('pbap-1').id}/revoke", {"reason": "主机下线"})
    assert answer.status_code == 303
    assert stored("pbap-1").revoked_at is not None
    assert "pbap-1" not in admin.get("/agents", target="agents-table").text
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "agent.revoke")).one()
    assert entry.reason == "主机下线"


def test_revoking_twice_is_told(admin: Visitor) -> None:
    url = f"/agents/{stored('pbap-1').id}/revoke"
    admin.post(url, {"reason": "主机下线"})
    assert admin.post(url, {"reason": "主机下线"}).status_code == 409


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_taking_a_token_away_takes_a_reason(admin: Visitor, action: str) -> None:
    before = stored("pbap-1").token_hash
    answer = admin.post(f"/agents/{stored('pbap-1').id}/{action}", {"reason": ""})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert (stored("pbap-1").token_hash, stored("pbap-1").revoked_at) == (before, None)


def test_a_rotated_token_replaces_the_old_one(admin: Visitor) -> None:
    first = admin.post("/agents/new", {"name": "pbap-3", "group": "PBAP"}).text
    old = first.split('id="agent-token">')[1].split("<")[0]
    admin.post(f"/agents/{stored('pbap-3').id}/rotate", {"reason": "定期更换"})
    assert service.authenticate(db.session, old) is None


def test_the_notice_turns_green_when_the_agent_is_online(admin: Visitor) -> None:
    online = admin.get(f"/agents/{stored('pbap-1').id}/connection", target="agent-connection").text
    offline = admin.get(f"/agents/{stored('pbap-2').id}/connection", target="agent-connection").text
    assert "evidence green" in online
    assert "evidence amber" in offline


def test_the_connection_line_read_as_a_page_leads_to_the_agent(admin: Visitor) -> None:
    answer = admin.get(f"/agents/{stored('pbap-1').id}/connection")
    assert answer.location == f"/agents/{stored('pbap-1').id}"


LIMITS = AgentLimits(
    max_age_days=90,
    max_trades_per_hour=100,
    max_amount_minor={"CNY": 5_000_000, "USD": 0},
    max_amount_minor_per_hour={"CNY": 50_000_000},
)


def facts_of(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]+)</dt><dd>([^<]*)</dd>", page))


def introduce(name: str, **values: object) -> str:
    """Let the agent say Hello; return where its page is."""
    with unit_of_work() as session:
        agent = session.scalars(select(Agent).where(Agent.name == name)).one()
        service.introduce(session, agent, hello(**values), NOW)  # type: ignore[arg-type]
        return f"/agents/{agent.id}"


def test_an_agents_page_tells_what_its_own_configuration_lets_it_do_at_most(viewer: Visitor) -> None:
    url = introduce("pbap-1", limits=LIMITS)
    page = viewer.get(url).text
    told = facts_of(page)
    assert told["单笔金额"] == "至多 ¥50,000.00、至多 USD 0.00、其他币种不修复"
    assert told["最近 60 分钟"] == "至多 100 笔、至多 ¥500,000.00、其他币种不修复"
    assert told["最近 24 小时"] == "不限"
    assert told["交易时间"] == "早于 90 天的只由人点击修复"
    assert "人点击也越不过" in page


def test_of_an_agent_that_does_not_tell_its_limits_none_are_made_up(viewer: Visitor) -> None:
    url = introduce("pbap-1", limits=LIMITS)
    introduce("pbap-1")
    page = viewer.get(url).text
    assert ("没有报告自己的限额" in page, "不限" in page, stored("pbap-1").limits) == (True, False, None)
