"""What `make run` says before it starts anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(instance: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "PICULUS_INSTANCE": str(instance), **environment}
    command = [sys.executable, "-m", "deploy", "run"]
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "environment",
    [
        {"PORT": "abc"},
        {"PORT": "0"},
        {"PORT": "99999"},
        {"PORT": "5990", "PICULUS_SANDBOX_BANK_PORT": "x"},
        {"PORT": "5991", "PICULUS_SANDBOX_BANK_PORT": "5990"},
    ],
)
def test_a_port_that_is_none_is_one_line_and_changes_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = run(tmp_path / "instance", **environment)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert not (tmp_path / "instance").exists()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        done = run(tmp_path / "instance", PORT=str(port), PICULUS_SANDBOX_BANK_PORT="5992")
    assert (done.returncode, f"Port {port} is taken" in done.stderr) == (1, True)
