"""What a round of the dispatcher sends, to sessions whose sockets are stood in for."""

from dataclasses import dataclass, field
from itertools import product

import pytest
from flask import Flask
from msgspec import UNSET
from sqlalchemy import select, update

from agent.message import Message
from agent.protocol import Rejected, Repair, decode_to_agent, encode
from app.agents import commands, dispatcher
from app.agents.claims import REST, Claim, claim
from app.agents.hub import AgentSession
from app.agents.models import Agent, Command, Stop
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.agents.conftest import Member, add_agent, add_group, order, stored
from tests.conftest import HandClock

pytestmark = pytest.mark.each_engine

BY_A_PERSON = {"name": "", "reason": "look first", "set_by": "li.na"}


@dataclass
class Ear:
    """Stands where a session's socket is: keeps what is sent."""

    heard: list[Message] = field(default_factory=list)

    def send(self, frame: bytes) -> None:
        self.heard.append(decode_to_agent(frame))

    def close(self, code: int, reason: str) -> None:
        """Nothing is held."""


def listen(app: Flask, member: Member, *codes: str) -> Ear:
    """Have the member's agent be connected and ready, offering these fixers."""
    hub = app.extensions["runtime"].hub
    session = AgentSession(hub, member.id, member.group_id, "PBAP", "127.0.0.1")
    ear = Ear()
    session.peer = ear  # type: ignore[assignment]
    session.fixer_codes, session.is_ready = frozenset(codes or ("interRecharge",)), True
    hub.register(session)
    return ear


def look(app: Flask) -> None:
    app.extensions["dispatcher"].round()


def test_what_is_pending_is_sent_to_an_agent_that_offers_it(
    app: Flask, member: Member, clock: HandClock
) -> None:
    ear = listen(app, member)
    command_id = order(member, "TRD1", clock())
    look(app)
    assert [message.command_id for message in ear.heard] == [command_id]
    assert stored(command_id).state == "sent"


def test_a_disabled_group_is_sent_nothing(app: Flask, member: Member, clock: HandClock) -> None:
    ear = listen(app, member)
    with unit_of_work() as session:
        session.get_one(SystemGroup, member.group_id).is_enabled = False
    command_id = order(member, "TRD1", clock())
    look(app)
    assert (ear.heard, stored(command_id).state) == ([], "pending")


def test_a_page_of_one_fixers_repairs_hides_no_other_work(
    app: Flask, member: Member, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "PAGE", 4)
    other = add_agent("pbap-2", member.group_id, clock())
    flooded, idle = listen(app, member, "interRecharge"), listen(app, other, "rechargeTimeout")
    monkeypatch.setattr(app.extensions["dispatcher"], "_limit", 3)
    for number in range(9):
        order(member, f"TRD{number}", clock(), priority=3)
    repair = order(other, "OTHER", clock(), code="rechargeTimeout")
    collect = order(other, None, clock(), type="Collect")
    look(app)
    assert [message.command_id for message in idle.heard] == [repair, collect]
    assert len(flooded.heard) == 3


@pytest.mark.parametrize("needs", ["a feature of the other", "a fixer of the other"])
def test_a_page_of_what_no_one_agent_can_take_hides_no_other_work(
    app: Flask, member: Member, clock: HandClock, monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    monkeypatch.setattr(dispatcher, "PAGE", 4)
    other = add_agent("pbap-2", member.group_id, clock())
    listen(app, member, "interRecharge")
    newer = listen(app, other, "rechargeTimeout")
    app.extensions["runtime"].hub.find(other.id).features = frozenset({"facts"})
    for number in range(5):
        order(member, f"TRD{number}", clock(), priority=3)
    values: dict[str, object] = {"feature": "facts"}
    if needs == "a fixer of the other":
        values = {"fixer_code": "rechargeTimeout", "agent_id": member.id, "is_group_addressed": False}
    with unit_of_work() as session:
        session.execute(update(Command).values(values))
    repair = order(other, "OTHER", clock(), code="rechargeTimeout")
    look(app)
    assert [message.command_id for message in newer.heard] == [repair]


def test_what_matters_most_and_is_oldest_goes_first(app: Flask, member: Member, clock: HandClock) -> None:
    ear = listen(app, member)
    late = [order(member, f"LATE{number}", clock()) for number in range(2)]
    first = order(member, "FIRST", clock(), priority=3)
    look(app)
    assert [message.command_id for message in ear.heard] == [first, *late]


def test_a_command_that_is_no_message_of_the_protocol_is_refused(
    app: Flask, member: Member, clock: HandClock
) -> None:
    ear = listen(app, member)
    command_id = order(member, "TRD1", clock())
    with unit_of_work() as work:
        work.execute(update(Command).where(Command.id == command_id).values(message={"trade_no": 7}))
    look(app)
    assert (ear.heard, stored(command_id).state) == ([], "rejected")
    assert "trade_no" in stored(command_id).error


def test_one_that_ended_while_others_were_refused_is_left_as_it_is(
    app: Flask, member: Member, clock: HandClock
) -> None:
    def end_the_other(session: WorkSession, command: Command, outcome: str) -> None:
        if command.id == first:
            other = session.scalars(select(Command).where(Command.id == second)).one()
            commands.close(session, other, "expired", clock(), "its deadline passed")

    listen(app, member)
    first, second = order(member, "TRD1", clock()), order(member, "TRD2", clock())
    with unit_of_work() as work:
        work.execute(update(Command).values(message={"trade_no": 7}))
    app.extensions["command_closed"] = (end_the_other,)
    look(app)
    assert [stored(one).state for one in (first, second)] == ["rejected", "expired"]


def test_a_stopped_group_is_sent_what_reads_and_no_repair(
    app: Flask, member: Member, clock: HandClock
) -> None:
    ear = listen(app, member)
    repair = order(member, "TRD1", clock())
    verify = order(member, "TRD2", clock(), type="Verify")
    collect = order(member, None, clock(), type="Collect")
    with unit_of_work() as session:
        session.add(Stop(scope="group", group_id=member.group_id, **BY_A_PERSON, set_at=clock()))
    look(app)
    assert [message.command_id for message in ear.heard] == [verify, collect]
    assert stored(repair).state == "pending"
    with unit_of_work() as session:
        session.execute(update(Stop).values(lifted_at=clock()))
    look(app)
    assert [message.command_id for message in ear.heard] == [verify, collect, repair]


@pytest.mark.parametrize("is_local", [False, True], ids=["by a person", "on its host"])
def test_the_repairs_of_a_stopped_agent_go_to_another(
    app: Flask, member: Member, clock: HandClock, is_local: bool
) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    stopped, free = listen(app, member), listen(app, other)
    with unit_of_work() as session:
        if is_local:
            session.get_one(Agent, member.id).stopped_here = "changing disks"
        else:
            target = {"group_id": member.group_id, "agent_id": member.id}
            session.add(Stop(scope="agent", **target, **BY_A_PERSON, set_at=clock()))
    repairs = [order(member, f"TRD{number}", clock()) for number in range(3)]
    look(app)
    assert stopped.heard == []
    assert [message.command_id for message in free.heard] == repairs


@pytest.mark.parametrize(("scope", "is_ours"), [("all", True), *product(("group", "agent"), (True, False))])
def test_a_stop_set_between_looking_and_claiming_still_holds(
    app: Flask, member: Member, clock: HandClock, scope: str, is_ours: bool
) -> None:
    other = add_agent("pbms-1", add_group("PBMS", clock()), clock())
    listen(app, member)
    order(other, "TRD2", clock())
    command_id = order(member, "TRD1", clock())
    (session_of,) = app.extensions["runtime"].hub.sessions()
    wanted = [Claim(stored(command_id), session_of)]
    target = member if is_ours else other
    of = {"group_id": target.group_id, "agent_id": target.id if scope == "agent" else None}
    with unit_of_work() as session:
        session.add(Stop(scope=scope, **({} if scope == "all" else of), **BY_A_PERSON, set_at=clock()))
    with unit_of_work() as session:
        assert len(claim(session, wanted, clock())) == (not is_ours)
    assert stored(command_id).state == ("pending" if is_ours else "sent")


def refuse(app: Flask, member: Member, command_id: str, code: str) -> None:
    """Have the member's agent refuse a command; what it did to the row is not looked at here."""
    runtime = app.extensions["runtime"]
    session = runtime.hub.find(member.id)
    session.has_said_hello = True
    told = Rejected(id=f"no-{command_id[:20]}", of=command_id, code=code, reason="", command_id=command_id)
    runtime.inbox.receive(session, encode(told).decode())


@pytest.mark.parametrize("type", ["Repair", "Verify"])
def test_what_an_agent_whose_journal_is_full_refuses_goes_to_another(
    app: Flask, member: Member, clock: HandClock, type: str
) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    full, whole = listen(app, member), listen(app, other)
    refused = order(member, "TRD0", clock(), type=type)
    look(app)
    assert [message.command_id for message in full.heard] == [refused]
    refuse(app, member, refused, "journal")
    later = [order(member, f"TRD{number}", clock(), type=type) for number in range(1, 4)]
    look(app)
    assert [message.command_id for message in full.heard] == [refused]
    assert [message.command_id for message in whole.heard] == later


def test_nothing_goes_to_it_though_the_other_has_no_room(
    app: Flask, member: Member, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.extensions["dispatcher"], "_limit", 1)
    other = add_agent("pbap-2", member.group_id, clock())
    full, whole = listen(app, member), listen(app, other)
    refuse(app, member, "none", "journal")
    orders = [order(member, f"TRD{number}", clock()) for number in range(3)]
    look(app)
    assert full.heard == []
    assert [message.command_id for message in whole.heard] == orders[:1]
    assert {stored(one).state for one in orders[1:]} == {"pending"}


@pytest.mark.parametrize("why", ["it is asked by name", "it is alone", "the other offers less", "it is over"])
def test_an_agent_whose_journal_was_full_is_sent_what_no_other_can_take(
    app: Flask, member: Member, clock: HandClock, why: str
) -> None:
    full = listen(app, member)
    if why != "it is alone":
        other = add_agent("pbap-2", member.group_id, clock())
        listen(app, other, "rechargeTimeout" if why == "the other offers less" else "interRecharge")
    refuse(app, member, "none", "journal")
    if why == "it is over":
        clock.advance(REST.total_seconds())
    type = "Collect" if why == "it is asked by name" else "Repair"
    command_id = order(member, None if type == "Collect" else "TRD1", clock(), type=type)
    look(app)
    assert [message.command_id for message in full.heard] == [command_id]


def test_what_an_agent_refuses_for_anything_else_it_is_sent_again(
    app: Flask, member: Member, clock: HandClock
) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    busy = listen(app, member)
    listen(app, other)
    refuse(app, member, "none", "busy")
    command_id = order(member, "TRD1", clock())
    look(app)
    assert [message.command_id for message in busy.heard] == [command_id]


def test_an_agent_that_does_not_name_the_feature_hears_nothing_of_a_person(
    app: Flask, member: Member, clock: HandClock
) -> None:
    ear = listen(app, member)
    (session_of,) = app.extensions["runtime"].hub.sessions()
    for trade_no, features in (("OLD", frozenset()), ("NEW", frozenset({"by_person"}))):
        session_of.features = features
        command_id = order(member, trade_no, clock())
        with unit_of_work() as session:
            values = {"trade_no": trade_no, "fixer_code": "interRecharge", "row_hash": "h", "by_person": True}
            session.execute(update(Command).where(Command.id == command_id).values(message=values))
        look(app)
    old, new = ear.heard
    assert isinstance(old, Repair)
    assert isinstance(new, Repair)
    assert (old.trade_no, old.by_person, new.trade_no, new.by_person) == ("OLD", UNSET, "NEW", True)
