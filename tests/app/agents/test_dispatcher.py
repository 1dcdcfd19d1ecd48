"""What a round of the dispatcher sends, to sessions whose sockets are stood in for."""

from dataclasses import dataclass, field

import pytest
from flask import Flask
from sqlalchemy import update

from agent.protocol import Message, decode_to_agent
from app.agents import dispatcher
from app.agents.hub import AgentSession
from app.agents.models import Command
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.agents.conftest import Member, add_agent, order, stored
from tests.conftest import HandClock

pytestmark = pytest.mark.each_engine


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
