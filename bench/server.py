"""A server to measure: gunicorn as ``make run`` starts it, on a free port, with a database of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from flask import Flask
from flask_migrate import upgrade

from app import create_app
from app.agents import service as agents
from app.audit.service import SYSTEM
from app.config import Settings
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users import groups

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60.0
STOP_SECONDS = 60.0


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


@dataclass(frozen=True)
class Server:
    """A server of this machine. ``app`` is an application on its database in this process."""

    app: Flask
    instance: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def agent_url(self) -> str:
        """Where agents connect."""
        return f"ws://127.0.0.1:{self.port}/agent"

    def resident_kilobytes(self) -> int:
        """Memory of the worker process that answers, as the kernel counts it."""
        (worker,) = psutil.Process(self.process.pid).children()
        return int(worker.memory_info().rss // 1024)


@contextmanager
def running_server(folder: Path, fill: Callable[[Flask], None] | None = None) -> Iterator[Server]:
    """A server for the length of the block; ``fill`` writes rows before it starts."""
    instance = folder / "server"
    instance.mkdir()
    app = create_app(Settings(instance=instance))
    with app.app_context():
        upgrade()
    if fill is not None:
        fill(app)
    port = free_port()
    process = _start(instance, port)
    try:
        wait_for(lambda: _answers(port), "the server to answer", READY_SECONDS, process)
        yield Server(app, instance, port, process)
    finally:
        stop(process)
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def _start(instance: Path, port: int) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PICULUS_INSTANCE": str(instance)}
    environment.pop("PICULUS_DATABASE_URL", None)
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    with (instance / "server.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "-b", f"127.0.0.1:{port}", "wsgi:app"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """Return a port nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(
    look: Callable[[], bool],
    what: str,
    seconds: float,
    process: "subprocess.Popen[bytes] | None" = None,
    pause: float = 0.02,
) -> None:
    """Look every ``pause`` seconds until it is so.

    Raises BenchError after ``seconds``, or when ``process`` has ended.
    """
    until = time.monotonic() + seconds
    while not look():
        if time.monotonic() > until:
            raise BenchError(f"waited {seconds:.0f} s in vain for {what}")
        if process is not None and process.poll() is not None:
            raise BenchError(f"a process ended with {process.returncode} before {what}")
        time.sleep(pause)


def stop(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """Ask a process to stop; kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def register_agents(app: Flask, sys_code: str, names: Sequence[str]) -> list[str]:
    """Make a group and its agents; return their tokens."""
    now = datetime.now(UTC)
    with app.app_context(), unit_of_work() as session:
        group = groups.create_group(session, actor=SYSTEM, sys_code=sys_code, name="", now=now)
        return [
            agents.register(session, name=name, group_id=group.id, actor=SYSTEM, now=now)[1] for name in names
        ]
