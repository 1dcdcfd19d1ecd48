"""Ends the demo's processes with their supervisor, and tells who of a demo still lives.

The supervisor alone holds the lock of ``supervisor.lock``. The lock of ``demo.lock`` it shares with every
process it starts, so that one is free only when the last of them has ended, however their supervisor went.
"""

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

SET_SIGNAL_AT_PARENTS_END: Final = 1
"""PR_SET_PDEATHSIG of Linux."""


class TakenError(Exception):
    """Another demo works on this instance."""


def ends_with_us() -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask for SIGTERM at our end. None beyond Linux."""
    if not sys.platform.startswith("linux"):
        return None
    # Loaded here: between fork and exec nothing may be imported.
    control, us = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def ask() -> None:
        control(SET_SIGNAL_AT_PARENTS_END, signal.SIGTERM)
        if os.getppid() != us:
            os._exit(1)

    return ask


@contextmanager
def supervising(instance: Path) -> Iterator[int]:
    """Hold both locks of an instance; yields the descriptor that children inherit. Raises TakenError."""
    instance.mkdir(parents=True, exist_ok=True)
    with _supervisor_file(instance).open("a") as own, _demo_file(instance).open("a") as shared:
        _lock(own)
        _lock(shared)
        shared.truncate(0)
        yield shared.fileno()


def is_supervised(instance: Path) -> bool:
    """Whether a supervisor of this instance lives."""
    return is_locked(_supervisor_file(instance))


def has_processes(instance: Path) -> bool:
    """Whether a supervisor of this instance or a process one has started lives."""
    return is_locked(_demo_file(instance))


def write_down(shared: int, pid: int) -> None:
    """Keep the id of a process that was started."""
    os.write(shared, f"{pid}\n".encode())


def written_down(instance: Path) -> list[int]:
    """Return the ids of the processes of the last demo, those that have ended too."""
    return [int(line) for line in _demo_file(instance).read_text().split()]


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of this file."""
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            _lock(file)
        except TakenError:
            return True
    return False


def _lock(file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TakenError from error


def _supervisor_file(instance: Path) -> Path:
    return instance / "supervisor.lock"


def _demo_file(instance: Path) -> Path:
    return instance / "demo.lock"
