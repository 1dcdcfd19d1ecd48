"""Everything a drill runs over: a sandbox, a server, agents and a bank, with bad wires between them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flask import Flask
from flask_migrate import upgrade

from agent.adapters.ddl import ddl
from agent.adapters.names import Names, TradeNames
from app import create_app
from app.audit.service import SYSTEM
from app.config import Settings
from app.extensions import db
from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.product_plans import PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from bench.server import free_port, register_agents, wait_for
from chaos.drill import bank_faults, terms
from chaos.drill.databases import production_databases
from chaos.drill.parts import Part
from chaos.drill.proxy import Proxy
from chaos.drill.terms import AGENTS, SYS_CODE, Terms
from chaos.drill.wire_faults import seeded
from deploy.child import answers
from deploy.demo import AGENT_TOML
from sandbox.bank.client import BankClient
from sandbox.database import writing
from sandbox.settings import GroupUrls, bank_token
from sandbox.statements import split_statements
from sandbox.world import World

START_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Field:
    """``app`` is an application on the server's database in this process, ``world`` the sandbox itself.

    ``wires``: agents to server, agents to bank.
    """

    terms: Terms
    folder: Path
    app: Flask
    world: World
    parts: tuple[Part, ...]
    wires: tuple[Proxy, ...]
    bank_port: int

    def part(self, name: str) -> Part:
        """The process of that name."""
        return next(part for part in self.parts if part.name == name)

    @property
    def agents(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.kind == "agent")

    def journal(self, name: str) -> Path:
        """Where an agent's journal lies."""
        return self.folder / "agents" / f"{name}.journal"

    def bank(self) -> BankClient:
        """The bank by its own port: what the drill asks of it passes no bad wire."""
        return BankClient(f"http://127.0.0.1:{self.bank_port}", self.world.bank_token, timeout_seconds=5)

    def start(self, part: Part) -> None:
        """Start a process; a bank begins with its faults on."""
        part.start()
        if part.kind == "bank":
            client = self.bank()
            wait_for(lambda: bank_faults.switch_on(client), "the bank to answer", START_SECONDS, part.process)
            client.close()

    def heal(self) -> None:
        """No more faults: wires carry what they are given, the bank does what it says."""
        for wire in self.wires:
            wire.heal()
        client = self.bank()
        wait_for(lambda: bank_faults.switch_off(client), "the bank to heal", START_SECONDS)
        client.close()

    def weigh(self) -> None:
        for part in self.parts:
            part.weigh()


@contextmanager
def laid_out(asked: Terms, folder: Path) -> Iterator[Field]:
    """The whole field, running, for the length of the block; nothing of it is left afterwards.

    Raises NoServerError, BenchError when something does not come up.
    """
    with ExitStack() as stack:
        urls = stack.enter_context(production_databases(asked.engine, folder / "sandbox", SYS_CODE))
        world = _world(folder, urls)
        stack.callback(world.close)
        world.create()
        world.load_healthy(asked.healthy, group=SYS_CODE, seed=asked.seed)
        app = _server_instance(folder)
        stack.callback(_dispose, app)
        server_port, bank_port = free_port(), free_port()
        wires = (
            Proxy("server", server_port, seeded(f"{asked.seed}:server", terms.SOCKET_MIX)),
            Proxy("bank", bank_port, seeded(f"{asked.seed}:bank", asked.bank_mix)),
        )
        for wire in wires:
            stack.callback(wire.close)
        _configure_agents(folder, app, urls, wires)
        create_repair_tables(world)
        parts = _parts(folder, asked, server_port, bank_port)
        field = Field(asked, folder, app, world, parts, wires, bank_port)
        stack.callback(_kill_all, parts)
        _start_all(field, server_port)
        yield field


def _world(folder: Path, urls: GroupUrls) -> World:
    return World(
        folder / "sandbox",
        groups=(SYS_CODE,),
        urls={SYS_CODE: urls},
        day_seconds=terms.BANK_DAY_S,
        bank_token=bank_token(folder),
    )


def _server_instance(folder: Path) -> Flask:
    (folder / "server").mkdir()
    app = create_app(Settings(instance=folder / "server"))
    with app.app_context():
        upgrade()
    return app


def _configure_agents(folder: Path, app: Flask, urls: GroupUrls, wires: tuple[Proxy, ...]) -> None:
    """Register the agents, write configuration and token of each, and make a quick plan for each fixer."""
    for name in ("agents", "logs"):
        (folder / name).mkdir()
    tokens = register_agents(app, SYS_CODE, AGENTS)
    for name, token in zip(AGENTS, tokens, strict=True):
        (folder / "secrets" / f"{name}.token").write_text(token)
        text = AGENT_TOML.format(
            name=name,
            sys_code=SYS_CODE,
            instance=folder,
            server_port=wires[0].port,
            bank_port=wires[1].port,
            trade_url=urls.trade,
            ledger_url=urls.ledger,
        )
        (folder / "agents" / f"{name}.toml").write_text(text)
    with app.app_context(), unit_of_work() as session:
        for code in KNOWN_FIXERS:
            values = PlanValues(
                SYS_CODE, code, max_retries=terms.MAX_RETRIES, retry_cron=terms.RETRY_CRON, zone="UTC"
            )
            create_plan(session, values, actor=SYSTEM, now=datetime.now(UTC))


def create_repair_tables(world: World) -> None:
    """Run the agents' DDL on the trade database, as a DBA does."""
    engine = world.production(SYS_CODE).engine
    trades = TradeNames(table=f"T{SYS_CODE}_TRD_ACC_TRADE", requests=f"T{SYS_CODE}_BANK_REQUEST")
    names = Names(trades=trades)
    for statement in split_statements(ddl(engine.dialect.name, names, "")):
        with writing(engine) as connection:
            connection.exec_driver_sql(statement)


def _parts(folder: Path, asked: Terms, server_port: int, bank_port: int) -> tuple[Part, ...]:
    told = {
        "PICULUS_AGENT_TRADES__NAMES__ISOLATION": asked.isolation,
        "PICULUS_AGENT_LEDGER__NAMES__ISOLATION": asked.isolation,
        "PICULUS_AGENT_BANK__NAMES__DEDUPLICATES": str(asked.deduplicates).lower(),
        "PICULUS_AGENT_AGENT__POOL": asked.pool,
    }
    days = ("--day-seconds", str(terms.BANK_DAY_S), "--processing-seconds", str(terms.PROCESSING_S))
    manner = () if asked.deduplicates else ("--no-dedup",)
    bank = ("sandbox", "--instance", str(folder), "bank", "--port", str(bank_port), *days, *manner)
    gunicorn = ("gunicorn", "-c", "deploy/gunicorn.conf.py", "-b", f"127.0.0.1:{server_port}", "wsgi:app")
    server = {"PICULUS_INSTANCE": str(folder / "server"), **terms.SERVER_ENVIRONMENT}
    agents = (
        Part(
            name,
            "agent",
            ("agent", "--config", str(folder / "agents" / f"{name}.toml")),
            {**terms.AGENT_ENVIRONMENT, **told},
            folder / "logs" / f"{name}.log",
        )
        for name in AGENTS
    )
    return (
        Part("bank", "bank", bank, {}, folder / "logs" / "bank.log"),
        Part("server", "server", gunicorn, server, folder / "logs" / "server.log"),
        *agents,
    )


def _start_all(field: Field, server_port: int) -> None:
    for part in field.parts:
        field.start(part)
    is_answering = answers(f"http://127.0.0.1:{server_port}/healthz")
    wait_for(is_answering, "the server to answer", START_SECONDS, field.part("server").process)


def _kill_all(parts: tuple[Part, ...]) -> None:
    for part in parts:
        part.kill()


def _dispose(app: Flask) -> None:
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
