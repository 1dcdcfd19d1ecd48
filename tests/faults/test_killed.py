"""kill -9 of real processes with a payout on its way: the server alone, and the server and its agent at once.

The bank stands behind a gate, so that the moment lasts until the test has killed what it wants.
"""

import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from app.agents.models import Agent, Command
from app.anomalies import collections
from app.anomalies.models import Anomaly
from app.audit.service import SYSTEM
from app.config import Settings
from app.executions.models import Attempt
from app.extensions import db
from app.plans.product_plans import PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from bench.server import register_agents
from chaos.drill.parts import Part
from sandbox.cases import LoadedCase
from sandbox.world import World
from tests.app.live_server import LiveServer, start_server
from tests.faults.test_two_servers import SYS_CODE, agent_at, sandbox
from tests.journey.bank_gate import BankGate, bank_gate

NAME: Final = "pbap-1"
PAYOUTS: Final = "/payouts"
PATIENT_BANK: Final = {"PICULUS_AGENT_BANK__NAMES__TIMEOUT_S": "300"}
EVERY_SECOND: Final = "0/1 * * * * ?"


@dataclass
class Paying:
    """A server, its agent, and a bank whose gate the payout of the only broken trade has come to."""

    server: LiveServer
    agent: Part
    gate: BankGate
    world: World
    case: LoadedCase

    def start_server_again(self) -> None:
        """Where it was before, on the same database."""
        self.server.channel.close()
        self.server = start_server(self.server.settings, port=self.server.port)

    def is_whole(self) -> bool:
        """Whether the server has the trade as repaired, in an application context."""
        return anomaly_state() == "repaired"

    def assert_done_once(self) -> None:
        """One command, one attempt; one posting, one payout, one writing of the row."""
        with self.server.app.app_context():
            assert [one.outcome for one in db.session.scalars(select(Attempt))] == ["repaired"]
            repairs = select(Command.state).where(Command.type == "Repair")
            assert db.session.scalars(repairs).all() == ["finished"]
            db.session.remove()
        trade_no = self.case.trade_no
        assert [payout.status for payout in self.world.payouts(trade_no)] == ["success"]
        assert len(self.world.entries(trade_no)) == 1
        assert self.world.row(trade_no)["VERSION"] == 2
        assert not self.world.report().violations


def anomaly_state() -> str | None:
    """Of the only anomaly, in an application context; None where there is none."""
    return db.session.scalars(select(Anomaly.state)).first()


def sessions(at_least: int) -> bool:
    """Whether the agent has introduced itself so often, and is there; in an application context."""
    agent = db.session.scalars(select(Agent)).one()
    return agent.connected_at is not None and bool(agent.boot_id) and agent.epoch >= at_least


def tell_what_to_repair(server: LiveServer, case: LoadedCase) -> None:
    """A plan that is always due, and a collection that finds the trade."""
    now = datetime.now(UTC)
    with server.app.app_context(), unit_of_work() as session:
        values = PlanValues(SYS_CODE, case.case.fixer, retry_cron=EVERY_SECOND, zone="UTC")
        create_plan(session, values, actor=SYSTEM, now=now - timedelta(seconds=1))
        collections.start_run(
            session,
            group=session.scalars(select(SystemGroup)).one(),
            codes=[case.case.fixer],
            window=(now - timedelta(days=7), now),
            trigger="click",
            actor=SYSTEM,
            reason="",
            now=now,
        )


@pytest.fixture
def paying(tmp_path: Path, settings: Settings) -> Iterator[Paying]:
    for folder in ("secrets", "agents"):
        (tmp_path / folder).mkdir(exist_ok=True)
    with ExitStack() as stack:
        world, case = sandbox(tmp_path, stack)
        gate = stack.enter_context(bank_gate())
        bank = stack.enter_context(world.bank())
        gate.bank_url = bank.url
        (tmp_path / "secrets" / "bank_token").write_text(bank.token)
        server = start_server(settings.model_copy(update={"heartbeat_seconds": 1.0}))
        (token,) = register_agents(server.app, SYS_CODE, (NAME,))
        urls = (world.trade_url(), world.ledger_url(), urllib.parse.urlsplit(gate.url).port or 0)
        agent = agent_at(tmp_path, NAME, token, server, urls)
        agent.environment = PATIENT_BANK
        paying = Paying(server, agent, gate, world, case)
        stack.callback(lambda: paying.server.channel.close())
        stack.callback(lambda: paying.server.stop())
        stack.callback(agent.stop)
        gate.hold(PAYOUTS)
        agent.start()
        server.until(lambda: sessions(1))
        tell_what_to_repair(server, case)
        gate.wait_until_asked(PAYOUTS)
        yield paying


def test_a_server_killed_in_the_middle_of_a_repair_finds_it_and_has_nothing_done_twice(
    paying: Paying,
) -> None:
    """Its agent comes back with the repair in hand, and goes on at it."""
    paying.server.kill()
    paying.start_server_again()
    paying.server.until(lambda: sessions(2))
    paying.gate.open(PAYOUTS)
    paying.server.until(paying.is_whole)
    paying.assert_done_once()


def test_a_server_and_its_agent_killed_at_once_with_a_payout_on_its_way_pay_once(paying: Paying) -> None:
    """What was on its way arrives beside what the agent asks again, under one number."""
    paying.server.kill()
    paying.agent.kill()
    paying.start_server_again()
    paying.agent.start()
    paying.server.until(lambda: sessions(2))
    paying.gate.open(PAYOUTS)
    paying.server.until(paying.is_whole)
    paying.assert_done_once()
