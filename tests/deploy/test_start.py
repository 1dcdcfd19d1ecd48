"""What `make run` says before it starts anything."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import supervisor

ROOT = Path(__file__).parents[2]


def run(instance: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "PICULUS_INSTANCE": str(instance), **environment}
    command = [sys.executable, "-m", "deploy", "run"]
    return subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)


def free_port() -> str:
    """A port nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def test_a_password_that_is_too_short_is_a_sentence(tmp_path: Path) -> None:
    told = {"PORT": free_port(), "PICULUS_SANDBOX_BANK_PORT": free_port(), "PICULUS_ADMIN_PASSWORD": "abc"}
    done = run(tmp_path / "instance", **told)
    assert done.returncode == 1
    assert done.stderr == "PICULUS_ADMIN_PASSWORD: A password has at least 10 characters.\n"


@pytest.mark.parametrize(("password", "said"), [("Abc-12345", True), ("", False)])
def test_the_greeting_names_the_user_of_a_password_that_was_given(
    password: str, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PICULUS_ADMIN_PASSWORD", password)
    supervisor.greet(None)
    assert ("User      admin" in capsys.readouterr().out) is said


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


@pytest.mark.parametrize(
    "left", ["loading\n", None, "loaded\n"], ids=["in the load", "before it", "after it"]
)
def test_a_first_start_that_was_stopped_is_done_again(tmp_path: Path, left: str | None) -> None:
    instance = tmp_path / "instance"
    assert "password" in setup(instance).stdout
    mark = instance / "sandbox" / "demo"
    if left is None:
        assert sandbox(instance, "reset").returncode == 0
        assert sandbox(instance, "create").returncode == 0
        assert (
            sandbox(instance, "apply-sql", "-", text="CREATE TABLE piculus_repair (trade_no TEXT)").returncode
            == 0
        )
    else:
        mark.write_text(left)
    again = setup(instance)
    assert (again.returncode, again.stderr) == (0, "")
    assert ("Sandbox" in again.stdout) is (left != "loaded\n")
    assert mark.read_text() == "loaded\n"
    check = ["--config", str(instance / "agents" / "pbap-1.toml"), "check"]
    assert "ok    trades" in module("agent", *check, instance=instance).stdout


def setup(instance: Path) -> subprocess.CompletedProcess[str]:
    return module("deploy", "setup", instance=instance)


def sandbox(instance: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return module("sandbox", *arguments, instance=instance, text=text)


def module(name: str, *arguments: str, instance: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "PICULUS_INSTANCE": str(instance), "PICULUS_SANDBOX_HEALTHY": "10"}
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=told, input=text, capture_output=True, text=True, check=False
    )


def test_the_server_by_itself_writes_a_private_database(tmp_path: Path) -> None:
    told = {**os.environ, "PICULUS_INSTANCE": str(tmp_path)}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=told, umask=0o022, check=True, capture_output=True)
    assert (tmp_path / "piculus.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("port", ["abc", "0", "99999"])
def test_a_port_that_is_none_is_one_line_and_changes_nothing(tmp_path: Path, port: str) -> None:
    done = run(tmp_path / "instance", PORT=port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"PORT is no port from 1 to 65534: {port}\n"
    assert not (tmp_path / "instance").exists()


def test_a_port_of_the_bank_that_is_none_or_the_servers_own_is_named(tmp_path: Path) -> None:
    port = free_port()
    for bank, said in (
        ("x", "PICULUS_SANDBOX_BANK_PORT is no port from 1 to 65534: x\n"),
        (port, "PORT is one of the bank's two ports; name another: make run PICULUS_SANDBOX_BANK_PORT=…\n"),
    ):
        done = run(tmp_path / "instance", PORT=port, PICULUS_SANDBOX_BANK_PORT=bank)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert not (tmp_path / "instance").exists()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        done = run(tmp_path / "instance", PORT=str(port), PICULUS_SANDBOX_BANK_PORT=free_port())
    assert (done.returncode, f"Port {port} is taken" in done.stderr) == (1, True)
