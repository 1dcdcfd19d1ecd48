"""The processes of a drill: started, killed without a word, started again, and none of them left behind."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from deploy import leash

ROOT: Final = Path(__file__).resolve().parents[2]
STOP_SECONDS: Final = 40.0


@dataclass
class Part:
    """One process with all it starts. ``kind`` is agent, server or bank; what it says goes to ``log``.

    ``started_at`` is when it was last started, by ``time.monotonic``.
    """

    name: str
    kind: str
    module: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    peak_bytes: int = 0
    endings: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Start it in a process group of its own, which ends with us on Linux, whatever ends us."""
        with self.log.open("ab") as log:
            self.started_at = time.monotonic()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.module],
                cwd=ROOT,
                env={**outside(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=leash.ends_with_us(),
            )

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def revive(self) -> int | None:
        """Start it again where it has ended by itself; return the exit code it had then."""
        if self.process is None or self.process.poll() is None:
            return None
        self.endings.append(self.process.returncode)
        self.start()
        return self.endings[-1]

    def kill(self) -> None:
        """kill -9 of all its processes at once; they are gone on return."""
        if self.process is None:
            return
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def kill_worker(self, chance: random.Random) -> bool:
        """kill -9 of one of the processes it has started; return whether there was one."""
        if self.process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            if workers := psutil.Process(self.process.pid).children():
                chance.choice(workers).kill()
                return True
        return False

    def ask_to_stop(self) -> None:
        """Ask it to end in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Let it end in order; kill what has not ended in time."""
        self.ask_to_stop()
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self.kill()

    def weigh(self) -> None:
        """Keep the most memory its largest process was seen with."""
        if self.process is None:
            return
        try:
            own = psutil.Process(self.process.pid)
            sizes = [one.memory_info().rss for one in (own, *own.children(recursive=True))]
        except psutil.NoSuchProcess:
            return
        self.peak_bytes = max(self.peak_bytes, *sizes)


def outside() -> dict[str, str]:
    """The environment without what a person's shell says to Piculus."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PICULUS_")}


def _signal_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return
