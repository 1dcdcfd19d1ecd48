"""Frames logged per second: small valid frames over real sockets until their rows are committed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from app.agents.models import Agent, Frame
from app.extensions import db
from bench.figures import Figure
from bench.light_agents import LightProcess
from bench.server import BenchError, Server, register_agents, running_server, stop, wait_for
from bench.sizes import Sizes

LIMIT_SECONDS = 300.0
SOCKETS_A_PROCESS = 5


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Flood a server with heartbeats and count the rows."""
    with (
        running_server(folder) as server,
        light_agents(server, sizes.flooding_clients, SOCKETS_A_PROCESS) as clients,
        server.app.app_context(),
    ):
        before = _last_frame()
        share = sizes.flooding_frames // len(clients)
        began = time.perf_counter()
        for client in clients:
            client.flood(share)
        total = share * len(clients)
        wait_for(lambda: _last_frame() - before >= total, "every frame to be a row", LIMIT_SECONDS)
        seconds = time.perf_counter() - began
        for client in clients:
            client.wait_sent()
        counted = db.session.scalar(select(func.count()).where(Frame.type == "Heartbeat")) or 0
        if counted < total:
            raise BenchError(f"{counted} heartbeats are rows, {total} were sent")
    conditions = (
        f"{total:,} Heartbeat frames over {len(clients) * SOCKETS_A_PROCESS} sockets of {len(clients)} light "
        "client processes (no journal, no bank) on the server's own cores; until the last row is committed"
    )
    return [Figure("frames logged", total / seconds, "frames/s", conditions)]


@contextmanager
def light_agents(
    server: Server, processes: int, agents_each: int, sys_code: str = "PBAP"
) -> Iterator[list[LightProcess]]:
    """Processes of light agents of a new group, all connected and introduced.

    Whatever still runs is stopped at the end.
    """
    names = [f"{sys_code.lower()}-{number}" for number in range(processes * agents_each)]
    already = introduced(server.app)
    tokens = register_agents(server.app, sys_code, names)
    pairs = list(zip(names, tokens, strict=True))
    started: list[LightProcess] = []
    try:
        for number in range(processes):
            mine = pairs[number * agents_each : (number + 1) * agents_each]
            started.append(LightProcess(server.agent_url, mine))
        for client in started:
            client.wait_ready()
        wait_for(lambda: introduced(server.app) == already + len(names), "every agent to be introduced", 60.0)
        yield started
    finally:
        for client in started:
            stop(client.process)


def introduced(app: Flask) -> int:
    """Return how many agents have said Hello and are connected."""
    with app.app_context():
        return (
            db.session.scalar(
                select(func.count()).where(Agent.connected_at.is_not(None), Agent.journal_id != "")
            )
            or 0
        )


def _last_frame() -> int:
    # A fresh read each time: nothing here holds a transaction open.
    last = db.session.scalar(select(func.max(Frame.id))) or 0
    db.session.remove()
    return last
