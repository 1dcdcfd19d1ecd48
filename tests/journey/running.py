"""The demo as a person starts it: ``python -m deploy run``, with an instance and ports of its own."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import psutil
from flask import Flask

from app import create_app
from app.config import Settings
from app.extensions import db
from sandbox.bank.client import BankClient
from sandbox.settings import read_settings
from sandbox.world import World
from tests.app.live_channel import LiveChannel

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "journey of a thousand li"
HEALTHY = "600"
T = TypeVar("T")


UP = b"Ctrl-C stops everything"
PATIENCE = 120.0


class Output(threading.Thread):
    """Reads all a process prints; ``is_up`` is set once it has told its address, or will never."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._lines: list[bytes] = []
        self.is_up = threading.Event()

    def run(self) -> None:
        """Read until its end."""
        for line in self._stream:
            self._lines.append(line)
            if UP in line:
                self.is_up.set()
        self._stream.close()
        self.is_up.set()

    def text(self) -> str:
        """Return what was printed so far."""
        return b"".join(self._lines).decode()


@dataclass
class Demo:
    """A demo on this machine.

    ``app`` is an application on the server's database in this process, ``world`` the sandbox, read directly;
    ``told`` is what its environment says beside the usual.
    """

    instance: Path
    port: int
    app: Flask
    world: World
    process: subprocess.Popen[bytes] | None = None
    told: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channel = LiveChannel(self.app, self.port)

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What ``make run`` is told by a person who wants other ports, no traffic and a small sandbox."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PICULUS_")}
        return {
            **outside,
            "PICULUS_INSTANCE": str(self.instance),
            "PICULUS_ADMIN_PASSWORD": PASSWORD,
            "PICULUS_SANDBOX_HEALTHY": HEALTHY,
            "PICULUS_SANDBOX_BANK_PORT": str(self.port + 1),
            "PICULUS_TRAFFIC": "0",
            "PORT": str(self.port),
            **self.told,
        }

    def set_up(self) -> None:
        """Do what ``make setup`` does."""
        command = [sys.executable, "-m", "deploy", "setup"]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True)

    def start(self) -> None:
        """Start everything and wait until the address is told."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy", "run"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        output = Output(self.process.stdout)
        output.start()
        assert output.is_up.wait(PATIENCE), output.text()
        assert self.process.poll() is None, output.text()

    def stop(self) -> int:
        """Press Ctrl-C; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def end_child(self, words: str, number: signal.Signals) -> None:
        """Send a signal to the demo's own process whose command line has ``words``; wait until it is gone."""
        assert self.process is not None
        (child,) = [
            one for one in psutil.Process(self.process.pid).children() if words in " ".join(one.cmdline())
        ]
        child.send_signal(number)
        child.wait(PATIENCE)

    def until(self, look: Callable[[], T], what: str, seconds: float = 60.0) -> T:
        """Look into the server's database, at each tick of its live channel, until there is something."""
        return self.channel.until(look, what, seconds)

    @contextmanager
    def slow_bank(self, operation: str, seconds: float) -> Iterator[None]:
        """Let the bank take its time over each call of a kind inside the block."""
        settings = read_settings(self.instance, self.environment)
        bank = BankClient(settings.bank_url, settings.bank_token)
        bank.call("POST", "/faults", {"kind": "slow", "operation": operation, "seconds": seconds})
        try:
            yield
        finally:
            bank.call("DELETE", "/faults")
            bank.close()

    def complaints(self) -> list[str]:
        """Lines of the logs that tell of an error nobody was ready for."""
        return [
            f"{log.name}: {line}"
            for log in sorted((self.instance / "logs").glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if "Traceback" in line or " ERROR " in line or " CRITICAL " in line
        ]


@contextmanager
def new_demo(instance: Path) -> Iterator[Demo]:
    """A demo that is not set up yet; what still runs at the end of the block is stopped."""
    instance.mkdir()
    port = _free_ports()
    demo = Demo(
        instance,
        port,
        create_app(Settings(instance=instance)),
        World.of(read_settings(instance, {})),
    )
    try:
        yield demo
    finally:
        demo.channel.close()
        if demo.process is not None and demo.process.poll() is None:
            demo.stop()
        demo.world.close()
        with demo.app.app_context():
            db.engine.dispose()


def _free_ports() -> int:
    """Return a port that is free and whose next two are: server, bank, notices."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port < 65000 and all(_is_free(port + step) for step in (1, 2)):
                return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
