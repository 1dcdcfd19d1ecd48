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


def test_what_the_demo_writes_is_for_its_own_user_alone(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    instance.mkdir(mode=0o755)
    told = {**os.environ, "PICULUS_INSTANCE": str(instance), "PICULUS_SANDBOX_HEALTHY": "10"}
    command = [sys.executable, "-m", "deploy", "setup"]
    subprocess.run(command, cwd=ROOT, env=told, umask=0o022, check=True, capture_output=True)
    written = [path for path in instance.rglob("*") if path.stat().st_mode & 0o077]
    assert (instance / "piculus.db").exists()
    assert written == []
    assert instance.stat().st_mode & 0o077 == 0


def test_the_server_by_itself_writes_a_private_database(tmp_path: Path) -> None:
    told = {**os.environ, "PICULUS_INSTANCE": str(tmp_path)}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=told, umask=0o022, check=True, capture_output=True)
    assert (tmp_path / "piculus.db").stat().st_mode & 0o077 == 0


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
