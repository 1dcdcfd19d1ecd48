"""A real server for tests: gunicorn as ``make run`` starts it, on a free port, with a database of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from flask import Flask

from app import create_app
from app.config import Settings
from app.extensions import db
from tests.app.live_channel import LiveChannel

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 60.0
BACKLOG = 2048
"""What gunicorn itself asks for."""

T = TypeVar("T")


@dataclass
class LiveServer:
    """A running server.

    ``app`` is an application on the same database in this process, for looking and writing.
    """

    process: subprocess.Popen[bytes]
    port: int
    app: Flask
    settings: Settings

    def __post_init__(self) -> None:
        self.channel = LiveChannel(self.app, self.port)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    @property
    def agent_url(self) -> str:
        """Where agents connect."""
        return f"ws://127.0.0.1:{self.port}/agent"

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=DEADLINE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def health(self) -> dict[str, Any]:
        """Return what /healthz says."""
        return dict(json.loads(self.get("/healthz")[1]))

    def until(self, look: Callable[[], T]) -> T:
        """Look, in an application context and at each tick, until there is something; fail after DEADLINE."""
        return self.channel.until(look, "what the test waits for", DEADLINE)

    def ask_to_stop(self) -> None:
        """Send what Ctrl-C sends."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of all its processes; they are gone on return."""
        master = psutil.Process(self.process.pid)
        workers = master.children()
        for one in (master, *workers):
            one.kill()
        self.process.wait(DEADLINE)
        psutil.wait_procs(workers, DEADLINE)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.ask_to_stop()
        return self.process.wait(DEADLINE)


def free_port() -> int:
    """Return a port nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(settings: Settings, *, port: int | None = None) -> LiveServer:
    """Start gunicorn on the settings' instance and wait until it is ready.

    The socket listens before gunicorn has it: a call waits in its queue, and fails when gunicorn ends.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port or 0))
    listening.listen(BACKLOG)
    environment = {
        **os.environ,
        "PICULUS_INSTANCE": str(settings.instance),
        "PICULUS_HEARTBEAT_SECONDS": str(settings.heartbeat_seconds),
        "PICULUS_LEASE_SECONDS": str(settings.lease_seconds),
        "PICULUS_OUTPUT_LIMIT_BYTES": str(settings.output_limit_bytes),
    }
    environment["PICULUS_DATABASE_URL"] = settings.database_url
    log = (settings.instance / "server.log").open("ab")
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    process = subprocess.Popen(
        [*command, "-b", f"fd://{listening.fileno()}", "wsgi:app"],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=log,
        pass_fds=[listening.fileno()],
    )
    log.close()
    server = LiveServer(process, int(listening.getsockname()[1]), create_app(settings), settings)
    listening.close()
    _wait_until_ready(server)
    return server


def _wait_until_ready(server: LiveServer) -> None:
    with suppress(OSError):
        if server.get("/healthz")[0] == 200:
            return
    server.process.kill()
    server.process.wait()
    raise AssertionError((server.settings.instance / "server.log").read_text()[-3000:])


@contextmanager
def running_server(settings: Settings) -> Iterator[LiveServer]:
    """A server for the length of the block; it must stop in order."""
    server = start_server(settings)
    try:
        yield server
    finally:
        server.channel.close()
        code = server.stop()
        with server.app.app_context():
            db.engine.dispose()
        assert code == 0, (settings.instance / "server.log").read_text()[-3000:]


@pytest.fixture
def live_server(settings: Settings) -> Iterator[LiveServer]:
    """A server with a heartbeat of one second on a fresh database."""
    with running_server(settings.model_copy(update={"heartbeat_seconds": 1.0})) as server:
        yield server
