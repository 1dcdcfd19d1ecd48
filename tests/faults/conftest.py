"""A server to do harm to: a real one on real sockets, or its parts moved by hand."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.agents.conftest import client, connected, live_member
from tests.app.conftest import session
from tests.app.live_server import LiveServer, running_server
from tests.app.machines.pretender import Pretender
from tests.app.machines.stage import Stage
from tests.contract.conftest import sql_ledger, sql_trades, world_of
from tests.factories import FIXER, make_agent, make_anomaly, make_group, make_plan

__all__ = ["client", "connected", "live_member", "session", "sql_ledger", "sql_trades", "world_of"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[LiveServer]:
    """One running server for a module. A minute's heartbeat: a bystander need not answer pings."""
    instance = tmp_path_factory.mktemp("server")
    shutil.copy(migrated_database, instance / "piculus.db")
    with running_server(Settings(instance=instance, heartbeat_seconds=60.0)) as server:
        yield server


@pytest.fixture
def stage(tmp_path: Path, migrated_database: Path) -> Iterator[Stage]:
    """A server's parts, without threads."""
    stage = Stage(tmp_path, migrated_database)
    with stage.curtain():
        stage.begin()
        yield stage


class Scene:
    """One group, two connected agents, a plan of every two minutes."""

    def __init__(self, stage: Stage, **plan_columns: object) -> None:
        self.stage = stage
        found = stage.ask(lambda session: self._found(session, plan_columns))
        assert not isinstance(found, str)
        self.group_id, agent_ids = found
        self.agents = [Pretender(stage, one, self.group_id, (FIXER,)) for one in agent_ids]
        for agent in self.agents:
            agent.connect()

    def _found(self, session: WorkSession, plan_columns: dict[str, object]) -> tuple[int, list[int]]:
        group = make_group(session)
        agents = [make_agent(session, group, codes=(FIXER,), is_online=False) for _ in range(2)]
        make_plan(session, group, retry_cron="0 0/2 * * * ?", **plan_columns)
        return group.id, [agent.id for agent in agents]

    def break_trade(self, **columns: object) -> str:
        """Plant an open anomaly; return its trade number."""

        def work(session: WorkSession) -> str:
            return make_anomaly(session, session.get_one(SystemGroup, self.group_id), **columns).trade_no

        return str(self.stage.ask(work))

    def pass_time(self, seconds: float) -> None:
        """Time goes by; agents that are there say that they live, and the server does what is due."""
        self.stage.clock.advance(seconds)
        for agent in self.agents:
            agent.beat()
        self.go_on()
        self.stage.tick()
        self.go_on()

    def go_on(self) -> None:
        """The server sends and the agents read."""
        self.stage.dispatch()
        for agent in self.agents:
            agent.read()

    def held(self) -> list[tuple[Pretender, str]]:
        """What agents have in hand and have not finished."""
        return [(agent, one) for agent in self.agents for one in agent.unfinished()]

    def state_of(self, trade_no: str) -> str:
        """The anomaly's state as stored."""
        ((state,),) = self.stage.rows("SELECT state FROM anomaly WHERE trade_no = :t", t=trade_no)
        return str(state)


@pytest.fixture
def scene(stage: Stage) -> Scene:
    """An automatic plan without retries."""
    return Scene(stage)
