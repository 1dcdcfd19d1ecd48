"""Two server processes on one database, an agent at each: what both want to repair is repaired once."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import pytest
from sqlalchemy import select, update

from agent.adapters.ddl import ddl
from agent.adapters.names import Names, TradeNames
from app.agents.models import Agent, Command, Frame
from app.anomalies import collections
from app.anomalies.models import Anomaly
from app.audit.service import SYSTEM
from app.config import Settings
from app.executions.models import Attempt
from app.extensions import db
from app.plans.models import Plan
from app.plans.product_plans import PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from bench.server import register_agents
from chaos.drill.parts import Part
from deploy.demo import AGENT_TOML
from sandbox.cases import LoadedCase
from sandbox.database import writing
from sandbox.statements import split_statements
from sandbox.world import World
from tests.app.live_server import DEADLINE, LiveServer, running_server
from tests.app.visitor import Visitor, make_person
from tests.contract.racing import race

SYS_CODE: Final = "PBAP"
NAMES: Final = ("north", "south")
NEW_YEAR: Final = "0 0 0 1 1 ?"
CLERK: Final = "li.na"
T = TypeVar("T")


@dataclass
class Two:
    """Two servers, the sandbox they mend, and the one trade of it that is broken."""

    servers: tuple[LiveServer, LiveServer]
    world: World
    case: LoadedCase

    def until(self, look: Callable[[], T]) -> T:
        """Look at each tick of either, since a server ticks for what it writes itself only."""
        for _ in range(int(DEADLINE)):
            for server in self.servers:
                with suppress(AssertionError):
                    return server.channel.until(look, "something at either server", 0.5)
        raise AssertionError("nothing came at either server")

    def button(self, server: LiveServer, anomaly_id: int) -> Callable[[], int]:
        """修复 in a browser at one of them; to press it returns the status of the answer."""
        visitor = Visitor(server.app)
        visitor.log_in(CLERK)
        form = {"csrf_token": visitor.token(), "reason": "the customer called"}
        cookie = visitor.client.get_cookie(server.app.config["SESSION_COOKIE_NAME"])
        assert cookie is not None
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/anomalies/{anomaly_id}/repair",
            urllib.parse.urlencode(form).encode(),
            {"Cookie": f"{cookie.key}={cookie.value}"},
        )

        def press() -> int:
            try:
                with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        return press

    def collect(self) -> None:
        """Have both agents look for what is broken, half of the rows each."""
        now = datetime.now(UTC)
        with self.servers[0].app.app_context(), unit_of_work() as session:
            group = session.scalars(select(SystemGroup)).one()
            collections.start_run(
                session,
                group=group,
                codes=[self.case.case.fixer],
                window=(now - timedelta(days=7), now),
                trigger="click",
                actor=SYSTEM,
                reason="",
                now=now,
            )

    def make_due(self) -> int:
        """Let the plan be due for both; return 0."""
        with self.servers[0].app.app_context(), unit_of_work() as session:
            session.execute(update(Plan).values(next_due_at=datetime.now(UTC)))
        return 0


def anomaly_in(state: str) -> int | None:
    """The anomaly's id once it is so, in an application context."""
    return db.session.scalars(select(Anomaly.id).where(Anomaly.state == state)).first()


def both_online() -> bool:
    """Whether the agents of both servers have introduced themselves, in an application context."""
    known = db.session.scalars(select(Agent).where(Agent.connected_at.is_not(None))).all()
    return len([agent for agent in known if agent.boot_id]) == len(NAMES)


def sandbox(folder: Path, stack: ExitStack) -> tuple[World, LoadedCase]:
    """A production with one broken trade, a payout nobody has asked the bank for, and Piculus's tables."""
    world = World.created(folder / "sandbox", groups=(SYS_CODE,))
    stack.callback(world.close)
    trades = TradeNames(table=f"T{SYS_CODE}_TRD_ACC_TRADE", requests=f"T{SYS_CODE}_BANK_REQUEST")
    with writing(world.production().engine) as connection:
        for statement in split_statements(ddl("sqlite", Names(trades=trades), "")):
            connection.exec_driver_sql(statement)
    return world, world.load_case("S2")


def agent_at(folder: Path, name: str, token: str, server: LiveServer, urls: tuple[str, str, int]) -> Part:
    """An agent process that is to dial this server; ``urls``: trades, ledger, port of the bank."""
    (folder / "secrets" / f"{name}.token").write_text(token)
    path = folder / "agents" / f"{name}.toml"
    path.write_text(
        AGENT_TOML.format(
            name=name,
            sys_code=SYS_CODE,
            instance=folder,
            server_port=server.port,
            trade_url=urls[0],
            ledger_url=urls[1],
            bank_port=urls[2],
        )
    )
    return Part(name, "agent", ("agent", "--config", str(path)), {}, folder / f"{name}.log")


@pytest.fixture
def two(emptied_postgresql: str, tmp_path: Path) -> Iterator[Two]:
    for folder in ("secrets", "agents", *NAMES):
        (tmp_path / folder).mkdir()
    with ExitStack() as stack:
        world, case = sandbox(tmp_path, stack)
        bank = stack.enter_context(world.bank())
        (tmp_path / "secrets" / "bank_token").write_text(bank.token)
        settings = [Settings(instance=tmp_path / name, database_url=emptied_postgresql) for name in NAMES]
        north, south = [stack.enter_context(running_server(one)) for one in settings]
        tokens = register_agents(north.app, SYS_CODE, NAMES)
        with north.app.app_context():
            make_person(CLERK, groups=[SYS_CODE])
            with unit_of_work() as session:
                plan = PlanValues(SYS_CODE, case.case.fixer, retry_cron=NEW_YEAR, zone="UTC")
                create_plan(session, plan, actor=SYSTEM, now=datetime.now(UTC) - timedelta(seconds=1))
        port = urllib.parse.urlsplit(bank.url).port
        assert port is not None
        urls = (world.trade_url(), world.ledger_url(), port)
        for name, token, server in zip(NAMES, tokens, (north, south), strict=True):
            part = agent_at(tmp_path, name, token, server, urls)
            stack.callback(part.stop)
            part.start()
        yield Two((north, south), world, case)


def test_two_server_processes_with_an_agent_each_repair_one_anomaly_once(two: Two) -> None:
    """Both are clicked at and both find the plan due, at once: one command, one posting, one payout."""
    north, _ = two.servers
    two.until(both_online)
    two.collect()
    anomaly_id = two.until(lambda: anomaly_in("open"))
    assert anomaly_id is not None
    buttons = [two.button(server, anomaly_id) for server in two.servers]
    statuses = race(*buttons, two.make_due)
    assert set(statuses) <= {0, 200, 409}
    two.until(lambda: anomaly_in("repaired"))
    with north.app.app_context():
        assert [one.outcome for one in db.session.scalars(select(Attempt))] == ["repaired"]
        repairs = db.session.scalars(select(Command).where(Command.type == "Repair")).all()
        assert [one.state for one in repairs] == ["finished"]
        sent = select(Frame).where(Frame.type == "Repair", Frame.direction == "out")
        assert len(db.session.scalars(sent).all()) == 1
        db.session.remove()
    assert [payout.status for payout in two.world.payouts(two.case.trade_no)] == ["success"]
    assert len(two.world.entries(two.case.trade_no)) == 1
    assert two.world.row(two.case.trade_no)["VERSION"] == 2
    assert not two.world.report().violations
