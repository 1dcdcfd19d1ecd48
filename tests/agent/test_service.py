"""The life of an agent process: stopped in the middle of a repair, killed, ended by the server."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.answers import RepairFinished, StepRecorded
from agent.protocol import CLOSE_GOING_AWAY, CLOSE_REPLACED, CLOSE_REVOKED, Ack, Hello, Repair
from agent.service import ExitCode
from tests.fakes.fake_server import PATIENCE, FakeServer

ROOT = Path(__file__).parents[2]
REPAIR = Repair(
    id="frame",
    command_id="command",
    trade_no="T00000001",
    fixer_code="interRecharge",
    row_hash="h",
    fence=1,
    deadline_ms=600_000,
)


class AgentProcess:
    """tests.fakes.slow_agent as a process."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._gate = folder / "gate"
        if not self._gate.exists():
            os.mkfifo(self._gate)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        arguments = [str(self._port), str(self._folder / "journal.db"), str(self._gate)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.slow_agent", *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_again(self) -> None:
        self.end()
        self.process = self._start()

    def open_gate(self) -> None:
        """Let the repair go on; it is waiting at the gate."""
        self._gate.write_bytes(b"")

    def read_log_until(self, text: str) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if text in line:
                return
        raise AssertionError(f"the agent ended without saying {text!r}")

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path, server: FakeServer) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path, server.port)
    yield agent
    agent.end()


def test_an_agent_told_to_stop_again_and_again_leaves_once(server: FakeServer, agent: AgentProcess) -> None:
    session = server.session()
    server.first(Hello)
    for _ in range(200):
        agent.process.send_signal(signal.SIGTERM)
        agent.process.send_signal(signal.SIGINT)
    assert agent.exit_code() == ExitCode.STOPPED
    server.wait(session.ended.is_set)
    assert session.close_code == CLOSE_GOING_AWAY


def test_sigterm_in_the_middle_of_a_repair_finishes_reports_and_leaves(
    server: FakeServer, agent: AgentProcess
) -> None:
    session = server.session()
    session.send(REPAIR)
    server.first(StepRecorded)
    agent.process.send_signal(signal.SIGTERM)
    agent.read_log_until("stopping")
    agent.open_gate()
    assert server.first(RepairFinished).outcome == "repaired"
    assert agent.exit_code() == ExitCode.STOPPED
    server.wait(session.ended.is_set)
    assert session.close_code == CLOSE_GOING_AWAY


def test_an_idle_agent_leaves_at_once(server: FakeServer, agent: AgentProcess) -> None:
    session = server.session()
    agent.process.send_signal(signal.SIGINT)
    assert agent.exit_code() == ExitCode.STOPPED
    server.wait(session.ended.is_set)
    assert session.close_code == CLOSE_GOING_AWAY


def test_a_killed_agent_takes_its_repair_up_again(server: FakeServer, agent: AgentProcess) -> None:
    server.session().send(REPAIR)
    server.first(StepRecorded)
    agent.start_again()
    server.session(2)
    assert server.of(Hello)[1].unfinished == ("command",)
    server.session(2).send(REPAIR)
    server.first(StepRecorded, 2)
    agent.open_gate()
    assert server.first(RepairFinished).command_id == "command"
    assert server.of(Hello)[0].journal_id == server.of(Hello)[1].journal_id
    assert server.of(Hello)[0].boot_id != server.of(Hello)[1].boot_id


def test_a_result_that_was_not_acknowledged_comes_again_after_a_kill(
    server: FakeServer, agent: AgentProcess
) -> None:
    server.acknowledges = lambda message: not isinstance(message, RepairFinished)
    server.session().send(REPAIR)
    server.first(StepRecorded)
    agent.open_gate()
    first = server.first(RepairFinished)
    agent.start_again()
    server.session(2)
    assert server.first(RepairFinished, 2) == first
    assert [message.of for message in server.of(Ack)] == ["frame"]


@pytest.mark.parametrize(
    ("close_code", "exit_code"), [(CLOSE_REPLACED, ExitCode.REPLACED), (CLOSE_REVOKED, ExitCode.REVOKED)]
)
def test_the_server_ends_an_agent_for_good(
    server: FakeServer, agent: AgentProcess, close_code: int, exit_code: int
) -> None:
    server.session().close(close_code)
    assert agent.exit_code() == exit_code
