"""What becomes of the demo's processes when their supervisor is killed."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy import leash

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20
CHILD = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), sys.exit()))
print("child up", flush=True)
signal.pause()
"""
SUPERVISOR = f"""
import subprocess, sys
from deploy import leash
from pathlib import Path
with leash.supervising(Path(sys.argv[1])) as shared:
    command = [sys.executable, "-c", {CHILD!r}]
    child = subprocess.Popen(command, preexec_fn=leash.ends_with_us(), pass_fds=[shared])
    leash.write_down(shared, child.pid)
    sys.stdin.readline()
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with started(SUPERVISOR, tmp_path) as running:
        yield running


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor whose child lives on."""
    with started(SUPERVISOR.replace("preexec_fn=leash.ends_with_us(), ", ""), tmp_path) as running:
        yield running


@contextmanager
def started(program: str, instance: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, str(instance)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "child up\n"
        yield running
        if running.poll() is None:
            running.kill()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's end"
)
def test_a_killed_supervisors_child_is_told_to_stop(supervisor: subprocess.Popen[str]) -> None:
    os.kill(supervisor.pid, signal.SIGKILL)
    assert supervisor.stdout is not None
    # The child holds the other end of this pipe: its end is the end of the text.
    assert supervisor.stdout.read() == "told to stop\n"


def test_nothing_is_set_up_beside_a_demo_at_work(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy", "setup"]
    told = {**os.environ, "PICULUS_INSTANCE": str(tmp_path)}
    refused = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert (refused.returncode, "is running on" in refused.stderr) == (1, True)
    assert not (tmp_path / "agents").exists()


def test_a_demo_at_work_has_a_supervisor_and_processes(
    supervisor: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert leash.is_supervised(tmp_path)
    assert leash.has_processes(tmp_path)


def test_a_second_supervisor_is_refused(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(leash.TakenError), leash.supervising(tmp_path):
        pass


def test_what_a_killed_supervisor_leaves_is_known_until_it_has_ended(
    stubborn: subprocess.Popen[str], tmp_path: Path
) -> None:
    stubborn.kill()
    stubborn.wait(PATIENCE_S)
    assert not leash.is_supervised(tmp_path)
    assert leash.has_processes(tmp_path)
    (pid,) = leash.written_down(tmp_path)
    os.kill(pid, signal.SIGKILL)
    with (tmp_path / "demo.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
