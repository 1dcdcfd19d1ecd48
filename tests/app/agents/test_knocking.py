"""``agent check`` asks a real server whether a token is taken, beside the agent that runs under it."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from agent.check import knock
from agent.errors import PortError
from app.agents.models import Agent
from app.extensions import db
from tests.app.agents.agent_client import AgentClient
from tests.app.agents.conftest import Member
from tests.app.live_server import LiveServer

Connect = Callable[..., AgentClient]


def test_a_good_token_is_taken_and_the_running_agent_keeps_its_session(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    client = connected(live_member.token)
    client.greet()
    with server.app.app_context():
        epoch = db.session.scalars(select(Agent.epoch)).one()
    assert "takes the token" in knock(server.agent_url, live_member.token)
    with server.app.app_context():
        assert db.session.scalars(select(Agent.epoch)).one() == epoch
    client.close()


def test_a_token_that_is_unknown_is_said_so(server: LiveServer) -> None:
    with pytest.raises(PortError, match="refuses the token"):
        knock(server.agent_url, "pcl_wrong")


def test_another_web_server_is_no_server_of_ours(server: LiveServer) -> None:
    with pytest.raises(PortError, match="is no Piculus server: HTTP"):
        knock(server.agent_url.replace("/agent", "/login"), "pcl_any")
