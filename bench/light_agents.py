"""Many light agents in one process: the protocol alone, without journal, bank or production.

``python -m bench.light_agents`` reads one JSON line (``url``, ``agents`` as pairs of name and token),
connects them all and prints ``ready``. Then it answers every Verify with its Ack and a FactsRead, sends
heartbeats, and takes orders by line: ``flood N`` sends N heartbeats over all sockets as fast as the server
reads and prints ``sent``. At the end of its input it prints, as JSON, the milliseconds from each
FactsRead to its Ack.
"""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from agent.answers import FactsRead
from agent.protocol import Ack, Heartbeat, Hello, Verify, Welcome, decode_to_agent, encode
from agent.wire import Wire
from bench.server import ROOT, BenchError

PATIENCE: Final = 60.0
HEARTBEAT_SECONDS: Final = 10.0
STDIN: Final = 0


class LightAgents:
    """All agents of this process and the loop that serves them."""

    def __init__(self, url: str, agents: Sequence[tuple[str, str]]) -> None:
        self._selector = selectors.DefaultSelector()
        self._wires = [_connect(url, name, token) for name, token in agents]
        for wire in self._wires:
            self._selector.register(wire, selectors.EVENT_READ)
        self._selector.register(STDIN, selectors.EVENT_READ)
        self._unacknowledged: dict[str, float] = {}
        self._next_id = 0
        self.ack_milliseconds: list[float] = []

    def serve(self) -> None:
        """Answer until the input ends and every result is acknowledged."""
        pause = HEARTBEAT_SECONDS / len(self._wires)
        due, turn = time.monotonic() + pause, 0
        is_told_to_end = False
        while not is_told_to_end or self._unacknowledged:
            for key, _events in self._selector.select(max(0.0, due - time.monotonic())):
                if isinstance(key.fileobj, Wire):
                    self._hear(key.fileobj)
                elif not self._take_order():
                    self._selector.unregister(STDIN)
                    is_told_to_end = True
            if time.monotonic() >= due:
                self._wires[turn % len(self._wires)].send(self._heartbeat())
                due, turn = due + pause, turn + 1

    def close(self) -> None:
        """Leave without a word."""
        for wire in self._wires:
            wire.abandon()

    def _take_order(self) -> bool:
        words = os.read(STDIN, 1000).decode().split()
        if not words:
            return False
        for turn in range(int(words[1])):
            self._wires[turn % len(self._wires)].send(self._heartbeat())
        _say("sent")
        return True

    def _hear(self, wire: Wire) -> None:
        frame = wire.receive()
        if frame is None:
            return
        message = decode_to_agent(frame)
        if isinstance(message, Verify):
            wire.send(encode(Ack(id=self._new_id(), command_id=message.command_id, of=message.id)))
            answer = self._facts(message)
            self._unacknowledged[answer.id] = time.perf_counter()
            wire.send(encode(answer))
        elif isinstance(message, Ack) and message.of in self._unacknowledged:
            sent_at = self._unacknowledged.pop(message.of)
            self.ack_milliseconds.append((time.perf_counter() - sent_at) * 1000)

    def _facts(self, verify: Verify) -> FactsRead:
        return FactsRead(
            id=self._new_id(),
            command_id=verify.command_id,
            trade_no=verify.trade_no,
            outcome="wait",
            fixer_code=None,
            reason="bank_unknown",
            row=None,
            row_hash="",
            facts=None,
        )

    def _heartbeat(self) -> bytes:
        return encode(Heartbeat(id=self._new_id(), agent_time=datetime.now(UTC).isoformat()))

    def _new_id(self) -> str:
        self._next_id += 1
        return f"{os.getpid()}-{self._next_id}"


def _connect(url: str, name: str, token: str) -> Wire:
    wire = Wire.connect(url, token, PATIENCE)
    frame = None
    while frame is None:
        frame = wire.receive()
    if not isinstance(decode_to_agent(frame), Welcome):
        raise BenchError("the server did not begin with Welcome")
    hello = Hello(
        id=f"hello-{name}",
        name=name,
        boot_id=f"boot-{name}",
        journal_id=f"journal-{name}",
        version="bench",
        host="here",
        fixer_codes=("interRechargeFixServiceImpl",),
        agent_time=datetime.now(UTC).isoformat(),
    )
    wire.send(encode(hello))
    return wire


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the agents of this process."""
    # Unbuffered reads: a line left in Python's buffer would not wake the selector.
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(STDIN, 65_536)
    told: dict[str, Any] = json.loads(line)
    agents = LightAgents(told["url"], [(name, token) for name, token in told["agents"]])
    _say("ready")
    agents.serve()
    agents.close()
    _say(json.dumps(agents.ack_milliseconds))


class LightProcess:
    """Such a process, as the measurement sees it."""

    def __init__(self, url: str, agents: Sequence[tuple[str, str]]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.light_agents"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(json.dumps({"url": url, "agents": agents}))

    def wait_ready(self) -> None:
        """Wait until all agents are connected. Raises BenchError."""
        self._expect("ready")

    def flood(self, frames: int) -> None:
        """Have it send heartbeats; returns at once."""
        self._tell(f"flood {frames}")

    def wait_sent(self) -> None:
        """Wait until a flood has left. Raises BenchError."""
        self._expect("sent")

    def finish(self) -> list[float]:
        """End it; return the milliseconds from each result to its Ack."""
        output, _errors = self.process.communicate(timeout=PATIENCE)
        return list(json.loads(output.splitlines()[-1])) if output else []

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _expect(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line != word:
            raise BenchError(f"light agents said {line!r}, not {word}")


if __name__ == "__main__":
    main()
