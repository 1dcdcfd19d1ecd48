"""A collection over very many trades: rows per second, and the agent's peak memory."""

import os
from pathlib import Path

from bench.figures import Figure
from bench.production import running_production
from bench.sizes import Sizes
from sandbox.world import World


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Collect once with one agent that reads every row, then ask the kernel for its peak."""

    def fill(world: World) -> None:
        world.load_healthy(sizes.trades, rows_only=True)
        world.load_broken(sizes.broken_among_them)

    with running_production(folder, {"PBAP": 1}, fill) as running:
        (run,) = running.collect()
        assert run.started_at is not None
        assert run.finished_at is not None
        seconds = (run.finished_at - run.started_at).total_seconds()
        (agent,) = running.agents
        peak_megabytes = _peak_megabytes(agent.pid)
    conditions = (
        f"one agent process, journal and bank on; {sizes.trades:,} healthy trade rows (rows alone: no "
        f"ledger, no bank behind them) and {sizes.broken_among_them:,} broken ones, {run.reported:,} "
        "reported; SQLite; from the run's start to its end, reports and trailer taken by the server"
    )
    return [
        Figure("collection", (sizes.trades + sizes.broken_among_them) / seconds, "rows/s", conditions),
        Figure("collection's peak memory", peak_megabytes, "MB", conditions),
    ]


def _peak_megabytes(pid: int) -> float:
    """Return the most memory the process has had (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text() if os.path.exists(f"/proc/{pid}") else ""
    kilobytes = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return kilobytes / 1024
