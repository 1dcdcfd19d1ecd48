"""A group and agents of it, written as rows."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask

from app.agents import commands, service
from app.agents.models import Agent, Command
from app.audit.service import SYSTEM
from app.config import Settings
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.agents.agent_client import AgentClient
from tests.app.live_server import LiveServer, running_server


@dataclass
class Member:
    """An agent and its token."""

    id: int
    group_id: int
    token: str


def add_group(sys_code: str, now: datetime) -> int:
    """Write a group; return its id."""
    with unit_of_work() as session:
        group = SystemGroup(sys_code=sys_code, name=sys_code, created_at=now)
        session.add(group)
        session.flush()
        return group.id


def add_agent(name: str, group_id: int, now: datetime) -> Member:
    """Register an agent."""
    with unit_of_work() as session:
        agent, token = service.register(session, name=name, group_id=group_id, actor=SYSTEM, now=now)
        return Member(agent.id, group_id, token)


def connect(member: Member, now: datetime, codes: tuple[str, ...] = ("interRecharge",)) -> None:
    """Have the row say that the agent is connected and offers these fixers."""
    with unit_of_work() as session:
        service.mark_connected(session, member.id, "127.0.0.1", now)
        agent = session.get_one(Agent, member.id)
        agent.fixer_codes = list(codes)
        agent.journal_id = "journal"


def order(
    member: Member,
    trade_no: str | None,
    now: datetime,
    *,
    type: str = "Repair",
    priority: int = 0,
    seconds: float = 3600,
    code: str = "interRecharge",
    **fields: object,
) -> str:
    """Issue a command to the member's group, a Collect to the member; return its id.

    ``fields`` are what a Repair says beyond the first protocol.
    """
    message: dict[str, object] = {"trade_no": trade_no}
    if type == "Repair":
        message |= {"fixer_code": code, "row_hash": "hash", **fields}
    if type == "Collect":
        window = {"window_start": now.isoformat(), "window_end": now.isoformat()}
        message = {"run_id": 1, "fixer_codes": [code], "shard": 0, "shards": 1, **window}
    with unit_of_work() as session:
        return commands.issue(
            session,
            type=type,
            group_id=member.group_id,
            message=message,
            deadline=timedelta(seconds=seconds),
            now=now,
            trade_no=trade_no,
            fixer_code=code if type == "Repair" else None,
            agent_id=member.id if type == "Collect" else None,
            priority=priority,
        ).id


def stored(command_id: str) -> Command:
    """Return the command's row as it is now."""
    db.session.expire_all()
    command = commands.find(db.session, command_id)
    assert command is not None
    return command


@pytest.fixture
def member(app: Flask, clock: object) -> Member:
    """An agent of PBAP, not connected."""
    now = app.extensions["clock"]()
    return add_agent("pbap-1", add_group("PBAP", now), now)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[LiveServer]:
    """One running server for the tests of a module; each has agents of its own."""
    instance = tmp_path_factory.mktemp("server")
    shutil.copy(migrated_database, instance / "piculus.db")
    with running_server(Settings(instance=instance, heartbeat_seconds=1.0)) as server:
        yield server


_numbers = itertools.count(1)


@pytest.fixture
def live_member(server: LiveServer) -> Member:
    """An agent of a new group, known to the running server."""
    number = next(_numbers)
    with server.app.app_context():
        now = server.app.extensions["clock"]()
        return add_agent(f"agent-{number}", add_group(f"GROUP{number}", now), now)


@pytest.fixture
def connected(server: LiveServer) -> Iterator[Callable[..., AgentClient]]:
    """A function that connects an agent by its token; every connection is cut at the end."""
    clients: list[AgentClient] = []

    def open_client(token: str, headers: tuple[str, ...] = ()) -> AgentClient:
        clients.append(AgentClient(server, token, headers))
        return clients[-1]

    yield open_client
    for client in clients:
        client.ws.shutdown()


@pytest.fixture
def client(connected: Callable[..., AgentClient], live_member: Member) -> AgentClient:
    """The live member, connected, its Hello said."""
    client = connected(live_member.token)
    client.greet()
    return client
