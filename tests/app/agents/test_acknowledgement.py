"""When an Ack leaves: never before what it acknowledges is durable."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from agent import failpoints
from agent.answers import Cancelled
from agent.protocol import Ack, decode_to_agent, encode
from app import HANDLERS
from app.agents import commands
from app.agents.frames import FrameLog
from app.agents.hub import AgentSession, Hub
from app.agents.inbox import Inbox, Outlets
from app.agents.models import Agent, ReceivedMessage
from app.agents.presence import Presence
from app.agents.writer import Writer
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.conftest import HandClock
from tests.factories import make_agent, make_group


class Peer:
    """The server's end of a socket: keeps of each Ack how many messages were durable when it was sent."""

    def __init__(self) -> None:
        self.durable_at_ack: list[int] = []

    def send(self, frame: bytes) -> None:
        """Look with a connection of its own, which sees what was committed and nothing else."""
        if isinstance(decode_to_agent(frame), Ack):
            with db.engine.connect() as connection:
                stored = select(func.count()).select_from(ReceivedMessage)
                self.durable_at_ack.append(connection.execute(stored).scalar_one())


@pytest.fixture
def agent(app: Flask, clock: HandClock) -> Agent:
    with unit_of_work() as session:
        agent = make_agent(session, make_group(session))
        commands.issue(
            session,
            type="Verify",
            group_id=agent.group_id,
            message={"trade_no": "TRD1"},
            deadline=timedelta(minutes=5),
            now=clock(),
            trade_no="TRD1",
        )
    return agent


def test_no_ack_leaves_before_the_commit(app: Flask, agent: Agent, clock: HandClock) -> None:
    writer, presence, peer = Writer(app), Presence(), Peer()
    frame_log = FrameLog(writer.keep, clock)
    hub = Hub(app.extensions["runtime"].loop, frame_log)
    inbox = Inbox(Outlets(hub, writer, presence, frame_log), HANDLERS, lambda: None, clock, 10.0)
    session = AgentSession(hub, agent.id, agent.group_id, "PBAP", "127.0.0.1")
    session.peer = peer  # type: ignore[assignment]
    session.has_said_hello = True
    command_id = db.session.scalars(select(commands.Command.id)).one()
    inbox.receive(session, encode(Cancelled(id="m1", command_id=command_id)).decode())

    def fail(point: str) -> None:
        if point == "server.work.commit":
            raise LookupError(point)

    with failpoints.armed(fail), pytest.raises(LookupError):
        writer.write_waiting()
    assert peer.durable_at_ack == []
    writer.write_waiting()
    assert peer.durable_at_ack == [1]
