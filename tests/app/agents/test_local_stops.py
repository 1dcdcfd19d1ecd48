"""An agent's local stop leaves a trace: that it stood, when, why, and when it was over."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from agent.protocol import Heartbeat
from app.agents import local_stops, service
from app.agents.models import Agent, Stop
from app.agents.presence import Beat, Gathered
from app.audit.models import AuditEntry
from app.unit_of_work import WorkSession, unit_of_work
from tests.app.agents.agent_client import hello
from tests.app.visitor import visitor_of
from tests.factories import NOW, PERSON, make_agent, make_group

pytestmark = pytest.mark.each_engine


@pytest.fixture
def agent(session: WorkSession) -> Agent:
    return make_agent(session, make_group(session), name="pbap-1")


def after(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def beat(session: WorkSession, agent: Agent, stopped: str | None, at: datetime, epoch: int) -> None:
    heartbeat = Heartbeat(id="b", stopped=stopped, agent_time=at.isoformat())
    Gathered({agent.id: at}, {agent.id: Beat(heartbeat, at, epoch)}).write(session)
    session.flush()
    session.expire_all()


def audited(session: WorkSession) -> list[tuple[str, str, str, datetime]]:
    found = session.scalars(
        select(AuditEntry).where(AuditEntry.action.contains("local_stop")).order_by(AuditEntry.id)
    )
    return [(one.action.removeprefix("agent."), one.actor_name, one.reason, one.at) for one in found]


def history(session: WorkSession) -> list[tuple[str, str, datetime, str | None, datetime | None]]:
    found = session.scalars(select(Stop).where(Stop.scope == "here").order_by(Stop.id))
    return [(one.name, one.reason, one.set_at, one.lifted_by, one.lifted_at) for one in found]


def test_a_local_stop_is_audited_when_it_begins_changes_and_ends_once_each(
    session: WorkSession, agent: Agent
) -> None:
    for seconds, why in (
        (1, "disks"),
        (2, "disks"),
        (3, "more disks"),
        (4, "more disks"),
        (5, None),
        (6, None),
    ):
        local_stops.keep(session, agent, why, after(seconds))
    session.flush()
    assert audited(session) == [
        ("local_stop", "pbap-1", "disks", after(1)),
        ("local_stop_reason", "pbap-1", "more disks", after(3)),
        ("local_stop_end", "pbap-1", "", after(5)),
    ]
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "agent.local_stop_end")).one()
    assert (entry.object_type, entry.object_id, entry.object_name) == ("agent", str(agent.id), "pbap-1")
    assert (entry.sys_code, entry.actor_id) == (agent.group.sys_code, None)
    assert entry.detail == {"set_for": "more disks", "set_at": after(1).isoformat()}


def test_one_that_is_over_is_in_the_history_of_stops(session: WorkSession, agent: Agent) -> None:
    local_stops.keep(session, agent, "disks", after(1))
    session.flush()
    assert history(session) == []
    local_stops.keep(session, agent, None, after(5))
    local_stops.keep(session, agent, "disks again", after(7))
    session.flush()
    assert history(session) == [("pbap-1", "disks", after(1), "pbap-1", after(5))]


def test_what_an_older_session_said_undoes_nothing_that_a_newer_one_told(
    session: WorkSession, agent: Agent
) -> None:
    """Each of two servers writes once a second what it has heard: the older one last."""
    older = service.mark_connected(session, agent.id, "10.0.0.1", after(1))
    assert older is not None
    beat(session, agent, "disks", after(2), older)
    newer = service.mark_connected(session, agent.id, "10.0.0.1", after(3))
    assert newer is not None
    service.introduce(session, agent, hello(stopped=None), after(3))
    beat(session, agent, "disks", after(2), older)
    assert agent.stopped_here is None
    beat(session, agent, None, after(4), newer)
    assert [action for action, *_ in audited(session)] == ["local_stop", "local_stop_end"]
    assert audited(session)[0][1] == "pbap-1"
    assert len(history(session)) == 1


def test_revoking_the_agent_ends_it_in_the_name_of_who_revokes(session: WorkSession, agent: Agent) -> None:
    local_stops.keep(session, agent, "disks", after(1))
    service.revoke(session, agent.id, actor=PERSON, reason="replaced", now=after(2))
    local_stops.keep(session, agent, "disks", after(3))
    session.flush()
    assert audited(session)[1:] == [("local_stop_end", PERSON.name, "replaced", after(2))]
    assert history(session) == [("pbap-1", "disks", after(1), PERSON.name, after(2))]


def test_a_local_stop_never_stands_among_the_stops_of_people(session: WorkSession, agent: Agent) -> None:
    stop = Stop(scope="here", group_id=agent.group_id, agent_id=agent.id, name="pbap-1", reason="disks")
    stop.set_by, stop.set_at = "pbap-1", NOW
    session.add(stop)
    with pytest.raises(IntegrityError):
        session.flush()
    session.rollback()


def test_the_pages_of_stops_and_of_the_audit_trail_show_it(app: Flask) -> None:
    with unit_of_work() as session:
        one = make_agent(session, make_group(session), name="pbap-1")
        local_stops.keep(session, one, "换磁盘", after(1))
        local_stops.keep(session, one, None, after(5))
    operator = visitor_of(app, "li.na", "operator", groups=["PBAP"])
    stranger = visitor_of(app, "wang.wu", "viewer", groups=[])
    page = operator.get("/stops").text
    row = page[page.index('id="stop-1"') :].partition("</tr>")[0]
    for words in (
        "客户端 pbap-1 · 本地停止",
        "已解除",
        "换磁盘",
        "服务端得知",
        f"{after(5):%Y-%m-%dT%H:%M:%S}",
    ):
        assert words in row, words
    assert "换磁盘" not in stranger.get("/stops").text
    trail = operator.get("/audit?action=agent.local_stop").text
    assert ("客户端本地停止" in trail, "换磁盘" in trail, "pbap-1" in trail) == (True, True, True)
    assert "pbap-1" in operator.get("/audit?action=agent.local_stop_end").text
