"""Push round trips: a command's frame to its agent's Ack, by the server's own frame rows."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, select

from app.agents.issuing import TradeOrder, issue_many
from app.agents.models import Command, Frame
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from bench.figures import Figure, percentile
from bench.frames import light_agents
from bench.server import BenchError, Server, running_server, wait_for
from bench.sizes import Sizes

GROUPS: Final = ("PBAP", "PBMS")
"""One process of light agents each."""
PAUSE_SECONDS: Final = 0.1
LIMIT_SECONDS: Final = 60.0


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Connect agents, send them commands at an even pace, and read how long their answers took."""
    each = max(1, sizes.connected // len(GROUPS))
    with running_server(folder) as server, light_agents(server, 1, each, GROUPS[0]) as first:
        # The second half alone tells what an agent costs: the first fills the server's caches.
        before, began = server.resident_kilobytes(), time.perf_counter()
        with light_agents(server, 1, each, GROUPS[1]) as second:
            seconds = time.perf_counter() - began
            kilobytes = (server.resident_kilobytes() - before) / each
            _send_commands(server, sizes)
            acks = [milliseconds for client in (*first, *second) for milliseconds in client.finish()]
            with server.app.app_context():
                pushes = _round_trips()
    if len(pushes) != sizes.pushes or len(acks) != sizes.pushes:
        raise BenchError(f"{sizes.pushes} commands, {len(pushes)} answers, {len(acks)} acknowledged")
    clients_are = (
        f"{each * len(GROUPS):,} light agents (no journal, no bank) in {len(GROUPS)} processes on the "
        "server's cores"
    )
    half = f"{clients_are}; the second half of them"
    return [
        *_round_trip_figures(pushes, acks, clients_are, sizes),
        Figure(
            "agents connected", each / seconds, "agents/s", f"{half}, their registration and start included"
        ),
        Figure("memory an idle agent", max(kilobytes, 0), "KB", f"{half}; growth of the server process"),
    ]


def _round_trip_figures(
    pushes: list[float], acks: list[float], clients_are: str, sizes: Sizes
) -> list[Figure]:
    pace = (
        f"{len(pushes):,} Verify commands, {sizes.pushes_a_second} a second, written by another process: the "
        "server looks every 250 ms, so they go in bursts; heartbeats go on"
    )
    pushed = f"{clients_are}; {pace}; from the frame's sending to its Ack's arrival, both at the server"
    durable = (
        f"{clients_are}; {pace}; from a result's sending to its Ack, which follows the commit, at the agent"
    )
    return [
        Figure("push round trip p50", percentile(pushes, 50), "ms", pushed),
        Figure("push round trip p99", percentile(pushes, 99), "ms", pushed),
        Figure("result to durable Ack p50", percentile(acks, 50), "ms", durable),
        Figure("result to durable Ack p99", percentile(acks, 99), "ms", durable),
    ]


def _send_commands(server: Server, sizes: Sizes) -> None:
    """Commit commands at an even pace, each for a trade of its own, and wait for the last result."""
    batch = max(1, round(sizes.pushes_a_second * PAUSE_SECONDS))
    with server.app.app_context():
        due = time.monotonic()
        for turn, begin in enumerate(range(0, sizes.pushes, batch)):
            _issue(GROUPS[turn % len(GROUPS)], range(begin, min(begin + batch, sizes.pushes)))
            due += PAUSE_SECONDS
            time.sleep(max(0.0, due - time.monotonic()))
        wait_for(lambda: _answered() >= sizes.pushes, "every command to be answered", LIMIT_SECONDS)


def _issue(sys_code: str, numbers: Iterable[int]) -> None:
    trades = [f"CO{number:018d}" for number in numbers]
    with unit_of_work() as session:
        group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == sys_code)).one()
        issue_many(
            session,
            type="Verify",
            group_id=group.id,
            orders=[TradeOrder(trade_no, {"trade_no": trade_no}) for trade_no in trades],
            deadline=timedelta(minutes=5),
            now=datetime.now(UTC),
        )


def _answered() -> int:
    db.session.remove()
    return db.session.scalar(select(func.count()).where(Command.state == "finished")) or 0


def _round_trips() -> list[float]:
    """Milliseconds from each command's frame to the Ack of it."""
    rows = db.session.execute(
        select(Frame.command_id, Frame.direction, Frame.type, Frame.at).where(Frame.command_id.is_not(None))
    ).all()
    sent = {row.command_id: row.at for row in rows if row.direction == "out" and row.type == "Verify"}
    return [
        (row.at - sent[row.command_id]).total_seconds() * 1000
        for row in rows
        if row.direction == "in" and row.type == "Ack" and row.command_id in sent
    ]
