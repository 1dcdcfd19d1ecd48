"""A sandbox production system with its bank and real agents, each a process of its own, to measure with."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from agent.adapters.ddl import ddl
from agent.adapters.names import Names
from agent.config import load
from app.agents.models import LIVE, Command
from app.anomalies.collections import start_run
from app.anomalies.models import CollectionRun
from app.audit.service import SYSTEM
from app.extensions import db
from app.plans.fixer_codes import group_codes
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from bench.frames import introduced
from bench.server import (
    ROOT,
    BenchError,
    Server,
    free_port,
    register_agents,
    running_server,
    stop,
    wait_for,
)
from deploy.child import answers
from deploy.demo import AGENT_TOML
from sandbox.database import writing
from sandbox.settings import read_settings
from sandbox.statements import split_statements
from sandbox.world import World

WORKERS: Final = 1
"""Repairs at a time of each agent: SQLite, which all agents of a group share here, has one writer."""
START_SECONDS: Final = 180.0
RUN_SECONDS: Final = 300.0


@dataclass
class Production:
    """Everything running: ``world`` is the sandbox, read and filled directly."""

    world: World
    server: Server
    groups: Sequence[str]
    agents: "list[subprocess.Popen[bytes]]"

    def collect(self) -> list[CollectionRun]:
        """Broadcast a collection of the last seven days to each group; return the runs when they have ended.

        Raises BenchError when one did not end well.
        """
        with self.server.app.app_context():
            run_ids = [self._start_run(sys_code) for sys_code in self.groups]
            wait_for(
                lambda: all(_run(run_id).finished_at is not None for run_id in run_ids),
                "the collections to end",
                RUN_SECONDS,
            )
            self.wait_quiet()
            runs = [_run(run_id) for run_id in run_ids]
        for run in runs:
            if run.state != "finished":
                raise BenchError(f"a collection is {run.state}: {run.error}")
        return runs

    def _start_run(self, sys_code: str) -> int:
        now = datetime.now(UTC)
        with unit_of_work() as session:
            group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == sys_code)).one()
            run = start_run(
                session,
                group=group,
                codes=group_codes(session, group.id),
                window=(now - timedelta(days=7), now),
                trigger="command_line",
                actor=SYSTEM,
                reason="",
                now=now,
            )
            return run.id

    def wait_quiet(self) -> None:
        """Wait until no command is live."""
        with self.server.app.app_context():
            wait_for(lambda: _live_commands() == 0, "every command to end", RUN_SECONDS, pause=0.05)


@contextmanager
def running_production(
    folder: Path, agents: Mapping[str, int], fill: Callable[[World], None]
) -> Iterator[Production]:
    """Sandbox, bank, server and so many ``agents`` of each group for the length of the block.

    ``fill`` loads the trades before anything runs.
    """
    world = World.of(read_settings(folder, {}))
    bank_port = free_port()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        world.create()
        fill(world)
        processes.append(
            start_module(
                folder, "bank", ["sandbox", "--instance", str(folder), "bank", "--port", str(bank_port)]
            )
        )
        with running_server(folder) as server:
            configurations = _configure(folder, server, agents, bank_port, world)
            create_repair_tables(world, configurations)
            is_answering = answers(f"http://127.0.0.1:{bank_port}/healthz")
            wait_for(is_answering, "the bank to answer", START_SECONDS, processes[0])
            started = [
                start_module(folder, path.stem, ["agent", "--config", str(path)]) for path in configurations
            ]
            try:
                wait_for(
                    lambda: introduced(server.app) == len(started),
                    "every agent to be introduced",
                    START_SECONDS,
                    pause=0.2,
                )
                yield Production(world, server, tuple(agents), started)
            finally:
                # Before the server: an agent without one dials again and again.
                _stop_all(started)
    finally:
        _stop_all(processes)
        world.close()


def _run(run_id: int) -> CollectionRun:
    db.session.remove()
    return db.session.get_one(CollectionRun, run_id)


def _live_commands() -> int:
    db.session.remove()
    return db.session.scalar(select(func.count()).where(Command.state.in_(LIVE))) or 0


def _configure(
    folder: Path, server: Server, agents: Mapping[str, int], bank_port: int, world: World
) -> list[Path]:
    """Write each agent's configuration as the demo does, and its token; return the files."""
    paths = []
    (folder / "agents").mkdir()
    for sys_code, count in agents.items():
        names = [f"{sys_code.lower()}-{number}" for number in range(1, count + 1)]
        for name, token in zip(names, register_agents(server.app, sys_code, names), strict=True):
            (folder / "secrets" / f"{name}.token").write_text(token)
            paths.append(folder / "agents" / f"{name}.toml")
            text = AGENT_TOML.format(
                name=name,
                sys_code=sys_code,
                instance=folder,
                server_port=server.port,
                bank_port=bank_port,
                trade_url=world.trade_url(sys_code),
                ledger_url=world.ledger_url(sys_code),
            )
            paths[-1].write_text(text)
    return paths


def create_repair_tables(world: World, configurations: Sequence[Path]) -> None:
    """Run the agents' DDL on each group's trade database, as a DBA does."""
    by_group = {}
    for path in configurations:
        tables = load(path, {}).tables
        by_group[tables.agent.sys_code] = Names(trades=tables.trades.names, ledger=tables.ledger.names)
    for sys_code, names in by_group.items():
        with writing(world.production(sys_code).engine) as connection:
            for statement in split_statements(ddl("sqlite", names, "")):
                connection.exec_driver_sql(statement)


def start_module(folder: Path, name: str, module: Sequence[str]) -> "subprocess.Popen[bytes]":
    (folder / "logs").mkdir(exist_ok=True)
    with (folder / "logs" / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=ROOT,
            env={**os.environ, "PICULUS_AGENT_AGENT__WORKERS": str(WORKERS)},
            stdout=log,
            stderr=log,
        )


def _stop_all(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        stop(process)
