"""The bank and the traffic as processes of their own: started, stopped, exit code 0."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from sandbox.database import reading
from sandbox.settings import read_settings
from sandbox.world import World
from tests.app.live_server import free_port

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def process(instance: Path, *arguments: str, **told: str) -> Iterator[str]:
    """The first line it prints; at the end of the block it is told to stop, and must with 0."""
    command = [sys.executable, "-m", "sandbox", "--instance", str(instance), *arguments]
    running = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **told}, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        yield running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def test_bank_and_traffic_run_until_told_to_stop(tmp_path: Path) -> None:
    world = World.of(read_settings(tmp_path, {}))
    world.create()
    with process(tmp_path, "bank", "--port", "0") as line:
        url = line.removeprefix("bank on ").strip()
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as reply:
            assert reply.status == 200
        with process(tmp_path, "traffic", "--rate", "200", "--no-notices", "--bank-url", url) as began:
            assert began.startswith("traffic: 200.0 trades a second")
    assert world.report().violations == []
    world.close()


def test_a_sandbox_at_work_is_not_emptied(tmp_path: Path) -> None:
    world = World.of(read_settings(tmp_path, {}))
    world.create()
    world.load_case("S1")
    with process(tmp_path, "bank", "--port", "0") as line:
        told = {"PICULUS_SANDBOX_BANK_PORT": line.rpartition(":")[2].strip()}
        command = [sys.executable, "-m", "sandbox", "--instance", str(tmp_path), "reset"]
        refused = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, check=False
        )
    assert refused.returncode == 1
    assert "bank runs at" in refused.stderr
    assert world.report().trades["PBAP"] == 1
    world.close()


def test_without_trades_the_traffic_still_hears_of_arrivals(tmp_path: Path) -> None:
    world = World.of(read_settings(tmp_path, {}))
    world.create()
    case = world.load_case("S8")
    number, port = f"{case.trade_no}-0", free_port()
    told = {"PICULUS_SANDBOX_BANK_PORT": str(port - 1)}
    with process(tmp_path, "traffic", "--rate", "0", **told) as line:
        assert f"notices on http://127.0.0.1:{port}/notices" in line
        body = json.dumps({"request_no": number, "status": "failed"}).encode()
        notice = urllib.request.Request(f"http://127.0.0.1:{port}/notices", body)
        with urllib.request.urlopen(notice, timeout=10) as reply:
            assert reply.status == 204
    request = world.production().tables.bank_request
    with reading(world.production().engine) as connection:
        wanted = select(request.c.STATUS).where(request.c["REQUEST_NO"] == number)
        assert connection.execute(wanted).scalar() == "failed"
    assert world.report().trades == {"PBAP": 1, "PBMS": 0}
    world.close()


def test_the_command_line_finds_a_running_bank_by_what_it_wrote(tmp_path: Path) -> None:
    told = {name: value for name, value in os.environ.items() if name != "PICULUS_SANDBOX_BANK_PORT"}
    command = [sys.executable, "-m", "sandbox", "--instance", str(tmp_path), "faults", "list"]
    with process(tmp_path, "bank", "--port", "0") as line:
        asked = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
        port = int(line.rpartition(":")[2])
        assert (asked.returncode, asked.stdout) == (0, "[]\n")
        assert read_settings(tmp_path, {}).bank_port == port
        assert read_settings(tmp_path, {"PICULUS_SANDBOX_BANK_PORT": "5999"}).bank_port == 5999
    assert read_settings(tmp_path, {}).bank_port == 5010
