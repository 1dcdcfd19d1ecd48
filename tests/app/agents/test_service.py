"""Registering, revoking and knowing agents."""

import pytest
from flask import Flask
from sqlalchemy import select

from app.agents import service
from app.agents.models import Agent
from app.agents.presence import Presence
from app.alerts import watching
from app.audit.models import AuditEntry
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError
from app.executions import scheduler
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import hello
from tests.app.agents.conftest import Member, add_agent, connect
from tests.conftest import HandClock

LI = Actor(id=7, name="li")


def presence(member: Member, clock: HandClock) -> str:
    db.session.expire_all()
    return service.presence_of(db.session.get_one(Agent, member.id), clock())


def test_a_token_is_kept_as_a_hash_only(member: Member) -> None:
    agent = db.session.get_one(Agent, member.id)
    assert member.token not in (agent.token_hash, agent.token_hint)
    assert len(agent.token_hash) == 64
    assert member.token.endswith(agent.token_hint)


def test_a_token_opens_its_agent_and_nothing_else_does(member: Member) -> None:
    found = service.authenticate(db.session, member.token)
    assert found is not None
    assert found.id == member.id
    for wrong in ("", "pcl_", member.token[:-1], member.token + "x", member.token.removeprefix("pcl_")):
        assert service.authenticate(db.session, wrong) is None


@pytest.mark.parametrize(("boot_id", "told"), [("boot", "database or disk is full"), ("later", "")])
def test_what_ailed_an_earlier_start_is_not_told_of_the_next(
    member: Member, clock: HandClock, boot_id: str, told: str
) -> None:
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        service.introduce(session, agent, hello(), clock())
        agent.last_error = "database or disk is full"
        service.introduce(session, agent, hello(boot_id=boot_id), clock())
        assert agent.last_error == told


def test_registering_is_audited_without_the_token(member: Member) -> None:
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "agent.register")).one()
    assert (entry.object_name, entry.sys_code) == ("pbap-1", "PBAP")
    assert member.token not in repr(vars(entry))


def test_names_are_unique_and_needed(member: Member, clock: HandClock) -> None:
    with pytest.raises(ConflictError, match="agent_exists"):
        add_agent("pbap-1", member.group_id, clock())
    for name in ("", "   ", "x" * 81):
        with pytest.raises(InvalidError):
            add_agent(name, member.group_id, clock())
    with pytest.raises(InvalidError, match="unknown_group"):
        add_agent("other", 999, clock())


@pytest.mark.parametrize("name", ["a b", "客户端", "a/b", "a\nb", "é"])
def test_a_name_is_of_letters_digits_and_marks(member: Member, clock: HandClock, name: str) -> None:
    with pytest.raises(InvalidError, match="agent_name_format") as refused:
        add_agent(name, member.group_id, clock())
    assert refused.value.field == "name"
    add_agent("Host-1.pbap_A", member.group_id, clock())


def test_a_revoked_token_opens_nothing(member: Member, clock: HandClock) -> None:
    with unit_of_work() as session:
        service.revoke(session, member.id, actor=LI, reason="lost", now=clock())
    assert service.authenticate(db.session, member.token) is None
    assert presence(member, clock) == "revoked"
    with pytest.raises(ConflictError, match="agent_revoked"), unit_of_work() as session:
        service.revoke(session, member.id, actor=LI, reason="again", now=clock())


def test_a_new_token_replaces_the_old_one(member: Member, clock: HandClock) -> None:
    with unit_of_work() as session:
        _, token = service.rotate(session, member.id, actor=LI, reason="regular", now=clock())
    assert service.authenticate(db.session, member.token) is None
    assert service.authenticate(db.session, token) is not None


def test_an_agent_is_online_stale_or_offline(member: Member, clock: HandClock) -> None:
    assert presence(member, clock) == "offline"
    connect(member, clock())
    assert presence(member, clock) == "online"
    clock.advance(26)
    assert presence(member, clock) == "stale"
    with unit_of_work() as session:
        assert service.mark_disconnected(session, member.id, 1, clock())
    assert presence(member, clock) == "offline"


def test_an_old_session_does_not_end_a_newer_one(member: Member, clock: HandClock) -> None:
    connect(member, clock())
    connect(member, clock())
    with unit_of_work() as session:
        assert not service.mark_disconnected(session, member.id, 1, clock())
    assert presence(member, clock) == "online"


def test_only_online_agents_of_the_group_are_listed_as_such(
    app: Flask, member: Member, clock: HandClock
) -> None:
    add_agent("pbap-2", member.group_id, clock())
    connect(member, clock())
    assert [one.id for one in service.list_online(db.session, member.group_id, clock())] == [member.id]
    assert service.list_online(db.session, member.group_id + 1, clock()) == []


def test_a_starting_server_forgets_the_sessions_of_the_one_before(member: Member, clock: HandClock) -> None:
    connect(member, clock())
    with unit_of_work() as session:
        assert service.forget_connections(session, clock()) == [member.id]
    assert presence(member, clock) == "offline"


@pytest.mark.each_engine
def test_an_agent_heard_by_a_clock_ahead_is_not_online_until_that_is_caught_up(
    member: Member, clock: HandClock
) -> None:
    clock.advance(86_400)
    connect(member, clock())
    clock.advance(-86_400)
    scheduler.bring_back_times(clock())
    assert presence(member, clock) == "stale"
    assert service.list_online(db.session, member.group_id, clock()) == []
    assert member.id in watching.lost_agents(db.session, clock())
    with unit_of_work() as session:
        heard = Presence()
        heard.note(member.id, clock(), None, 1)
        gathered = heard.take()
        assert gathered is not None
        gathered.write(session)
    assert presence(member, clock) == "online"


@pytest.mark.parametrize(
    ("told", "skew"),
    [
        ("2026-03-02T12:00:01.500Z", 1500),
        ("2026-03-02T11:59:00Z", -60_000),
        ("soon", None),
        ("2026-03-02", None),
    ],
)
def test_an_agents_clock_is_compared(clock: HandClock, told: str, skew: int | None) -> None:
    assert service.skew_ms(told, clock()) == skew
