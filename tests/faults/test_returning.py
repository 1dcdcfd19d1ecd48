"""A thousand agents on real sockets whose server is killed: they come back spread out, all of them.

Each agent is a link as the agent runs it. Only the time between two of its connections is not lived through:
a clock of the test's own goes from one agent's next attempt to the next.
"""

import heapq
import random
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
import pytest
from sqlalchemy import func, select

from agent.connection import Link, LinkSettings, dial
from agent.journal import Journal
from agent.outbox import Outbox
from agent.pacing import BACKOFF_CAP, Backoff, Waker
from agent.protocol import Hello, Repair
from agent.wire import AnyWire
from app.agents.models import Agent
from app.config import Settings
from app.extensions import db
from bench.server import register_agents
from tests.agent.test_connection import Listener
from tests.app.agents.agent_client import AgentClient
from tests.app.agents.conftest import add_agent, add_group
from tests.app.agents.test_sockets import issue
from tests.app.live_server import LiveServer, start_server

AGENTS: Final = 1_000
MOST_A_SECOND: Final = AGENTS // 5
OUTAGE: Final = 60.0
POOL_THREADS: Final = 16
"""Of deploy/gunicorn.conf.py."""
PATIENCE: Final = 180.0


class Calendar:
    """Who waits until when, and who has a session. ``now`` moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.attempts: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._called: dict[int, threading.Event] = {}
        self._there: set[int] = set()

    def attempt(self) -> None:
        """Someone dials."""
        with self._changed:
            self.attempts[int(self.now)] += 1

    def arrive(self, number: int) -> None:
        """Someone has a session."""
        with self._changed:
            self._there.add(number)
            self._changed.notify_all()

    def wait(self, number: int, seconds: float) -> None:
        """Someone has none, and is to dial in so many seconds."""
        called = threading.Event()
        with self._changed:
            self._there.discard(number)
            self._called[number] = called
            heapq.heappush(self._waiting, (self.now + seconds, number))
            self._changed.notify_all()
        called.wait()

    def until_there(self, count: int) -> None:
        """Return once so many have a session, and all others wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_settled(count), PATIENCE), len(self._there)

    def until_settled(self) -> None:
        """Return once each has a session or is to dial again."""
        with self._changed:
            assert self._changed.wait_for(self._is_settled, PATIENCE)

    def _is_settled(self, count: int | None = None) -> bool:
        is_settled = len(self._there) + len(self._waiting) == AGENTS
        return is_settled and count in (None, len(self._there))

    def go_on_until(self, end: float) -> None:
        """Have each agent dial at its time, and wait until it has a session or is to dial again."""
        while self._waiting and self._waiting[0][0] <= end:
            with self._changed:
                self.now, number = heapq.heappop(self._waiting)
                self._called[number].set()
                assert self._changed.wait_for(self._is_settled, PATIENCE)
        self.now = end

    def dial_at_once(self) -> None:
        """Have all that wait dial at one moment."""
        with self._changed:
            waiting, self._waiting = self._waiting, []
            for _, number in waiting:
                self._called[number].set()

    def release_all(self) -> None:
        """Let everyone go on at once."""
        for called in self._called.values():
            called.set()


class Returning(Listener):
    """One agent: a link on a thread of its own, and nothing to say but Hello."""

    def __init__(self, number: int, settings: LinkSettings, outbox: Outbox, calendar: Calendar) -> None:
        super().__init__(outbox)
        self._number = number
        self._calendar = calendar
        self._waker = Waker()
        self._link = Link(
            settings,
            outbox,
            self._waker,
            backoff=Backoff(random.Random(number).random),
            dial=self._dial,
            pause=lambda seconds: calendar.wait(number, seconds),
        )
        self._thread = threading.Thread(target=self._link.run, args=(self,), daemon=True)
        self._thread.start()

    def _dial(self, settings: LinkSettings) -> AnyWire:
        self._calendar.attempt()
        return dial(settings)

    def hello(self) -> Hello:
        """The server has said Welcome."""
        self._calendar.arrive(self._number)
        return super().hello()

    def ask_to_stop(self) -> None:
        self._link.stop()

    def leave(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._waker.close()


@pytest.fixture
def open_files() -> Iterator[None]:
    """Each agent holds three of them."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


@pytest.fixture
def server(open_files: None, settings: Settings) -> Iterator[list[LiveServer]]:
    """The running server; the last of the list, which a test may kill and start again."""
    running = [start_server(settings.model_copy(update={"heartbeat_seconds": 60.0}))]
    yield running
    running[-1].channel.close()
    running[-1].stop()


@pytest.fixture
def calendar(server: list[LiveServer], tmp_path: Path) -> Iterator[Calendar]:
    """All agents, each with a session."""
    names = [f"agent-{number}" for number in range(AGENTS)]
    tokens = register_agents(server[0].app, "PBAP", names)
    calendar, journal = Calendar(), Journal(tmp_path / "empty.journal")
    outbox = Outbox(journal, lambda: None)
    url = server[0].agent_url
    agents = [
        Returning(number, LinkSettings(url=url, token=token), outbox, calendar)
        for number, token in enumerate(tokens)
    ]
    calendar.until_there(AGENTS)
    yield calendar
    for agent in agents:
        agent.ask_to_stop()
    calendar.release_all()
    for agent in agents:
        agent.leave()
    journal.close()


def all_back() -> bool:
    """Whether each agent has a session after its first, in an application context."""
    is_back = (Agent.epoch >= 2, Agent.connected_at.is_not(None))
    return db.session.scalar(select(func.count()).select_from(Agent).where(*is_back)) == AGENTS


def test_a_thousand_agents_of_a_killed_server_come_back_without_a_storm(
    server: list[LiveServer], calendar: Calendar
) -> None:
    """It stays away for a minute: in no second of its return do more than a few of them dial."""
    calendar.attempts.clear()
    server[0].kill()
    calendar.until_there(0)
    calendar.go_on_until(OUTAGE)
    server.append(start_server(server[0].settings, port=server[0].port))
    calendar.go_on_until(OUTAGE + BACKOFF_CAP)
    calendar.until_there(AGENTS)
    server[-1].until(all_back)
    away = [calendar.attempts[second] for second in range(int(OUTAGE / 2), int(OUTAGE + BACKOFF_CAP))]
    assert max(away) <= MOST_A_SECOND
    assert sum(away[int(OUTAGE / 2) :]) == AGENTS


def dial_all_before_a_bystander_is_served(server: LiveServer, calendar: Calendar) -> None:
    """All of them knock while a command of another group goes to its agent."""
    with server.app.app_context():
        other = add_agent("bystander", add_group("PBMS", datetime.now(UTC)), datetime.now(UTC))
    bystander = AgentClient(server, other.token)
    bystander.greet()
    calendar.dial_at_once()
    issue(server, other, "TRD-meanwhile")
    assert bystander.take(Repair).trade_no == "TRD-meanwhile"
    bystander.close()


def test_a_thousand_agents_that_come_back_at_one_moment_are_all_let_in_a_few_at_a_time(
    server: list[LiveServer], calendar: Calendar
) -> None:
    """As if no wait had spread them: others are served meanwhile, and none of them costs a thread.

    Handshakes are answered by the threads of gunicorn's pool, whatever their number waits in its queue.
    """
    server[0].kill()
    calendar.until_there(0)
    server.append(start_server(server[0].settings, port=server[0].port))
    (worker,) = psutil.Process(server[-1].process.pid).children()
    threads = worker.num_threads()
    dial_all_before_a_bystander_is_served(server[-1], calendar)
    calendar.until_settled()
    calendar.go_on_until(calendar.now + 2 * BACKOFF_CAP)
    calendar.until_there(AGENTS)
    server[-1].until(all_back)
    assert worker.num_threads() <= threads + POOL_THREADS
