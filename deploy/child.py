"""One process of the demo, and how to see that it is ready."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy import leash, places

RESTARTS_A_MINUTE = 5


@dataclass
class Child:
    """One process of the demo; its output goes to ``instance/logs/<name>.log``.

    Without one that ``is_needed`` the demo ends; another that ends too often rests for the minute's rest.
    ``is_given_up``: it stays stopped. ``clock`` gives seconds.
    ``shared`` is the descriptor of the lock that every process of the demo holds.
    """

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    is_needed: bool = True
    is_given_up: bool = False
    is_resting: bool = False
    shared: int | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    @property
    def log(self) -> Path:
        return places.LOGS / f"{self.name}.log"

    def start(self) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches the supervisor alone.

        On Linux it is told to stop when the supervisor is killed.
        """
        places.LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments,
                cwd=places.ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=leash.ends_with_us(),
                pass_fds=() if self.shared is None else (self.shared,),
            )
        if self.shared is not None:
            leash.write_down(self.shared, self.process.pid)
        self.starts.append(self.clock())
        self.is_resting = False

    def may_start_again(self) -> bool:
        """Whether it has not failed too often of late."""
        now = self.clock()
        self.starts = [at for at in self.starts if now - at < 60]
        return len(self.starts) < RESTARTS_A_MINUTE

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self, until: float) -> None:
        """Wait for the end; kill what has not ended by then."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def answers(url: str) -> Callable[[], bool]:
    """A readiness check: the address answers 200."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return check
