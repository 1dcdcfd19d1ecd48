"""The agent as a process of a schedule: its own parts, with strands for its threads.

What the journal had not written when a kill came is gone; ports, token and file outlive it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.answers import RepairFinished
from agent.commands import Dispatcher, Identity
from agent.connection import Link, LinkSettings
from agent.fixers import FIXERS
from agent.fixers.order import RepairSettings
from agent.journal import Journal
from agent.message import Message
from agent.orders import Entry, Key
from agent.outbox import Outbox
from agent.pacing import Backoff
from agent.ports import Ports
from agent.protocol import Command
from agent.runner import Runner
from agent.work import ProductionWork
from chaos.simulation.loom import Loom, Signal
from chaos.simulation.network import Network
from chaos.simulation.processes import Morgue, Process


class Crew:
    """Workers as strands (agent.workers.Crew)."""

    def __init__(self, process: Process, name: str, count: int) -> None:
        self._jobs: list[Callable[[], None]] = []
        self._signal = Signal(process.loom)
        for number in range(count):
            process.loom.spawn(process, f"{name}-{number}", self._work)

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job."""
        self._jobs.append(job)
        self._signal.set()

    def close(self) -> None:
        """Nothing more comes; an agent here is killed, not stopped."""

    def _work(self) -> None:
        while True:
            while self._jobs:
                self._jobs.pop(0)()
            self._signal.clear()
            self._signal.wait()


@dataclass
class Waker:
    """What wakes the connection (agent.pacing.Waker)."""

    signal: Signal

    def __call__(self) -> None:
        self.signal.set()

    def fileno(self) -> int:
        """No descriptor stands behind it."""
        return -1

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        self.signal.clear()


@dataclass
class Most:
    """The most that a journal ever held, in all lives of its agent: messages unsent, commands kept."""

    unsent: int = 0
    kept: int = 0


Results = dict[str, RepairFinished]
"""How repairs ended, by the ids of the messages that tell it."""


class SimJournal(Journal):
    """The journal, weighed whenever it has grown; what it has taken of results is noted outside of it."""

    def __init__(self, path: Path, most: Most, results: Results) -> None:
        self._most = most
        self._results = results
        super().__init__(path)

    def receive_all(self, commands: Sequence[Command], boot_id: str) -> list[Entry]:
        """Keep new orders."""
        entries = super().receive_all(commands, boot_id)
        self._weigh()
        return entries

    def finish(self, key: Key, result: Message) -> None:
        """Keep a result."""
        super().finish(key, result)
        if isinstance(result, RepairFinished):
            self._results[result.id] = result
        self._weigh()

    def put(self, message: Message, frame: bytes) -> None:
        """Keep a message."""
        super().put(message, frame)
        self._weigh()

    def _weigh(self) -> None:
        ((unsent, kept),) = self._file.rows(_WEIGHT)
        self._most.unsent = max(self._most.unsent, unsent)
        self._most.kept = max(self._most.kept, kept)


_WEIGHT: Final = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM command)"


@dataclass(frozen=True)
class AgentLife:
    """What an agent keeps through all its lives. ``workers``: repairs at once."""

    ports: Ports
    journal: Path
    token: str
    workers: int = 3


class AgentProcess(Process):
    """One agent over its ports, with its journal in a file."""

    def __init__(self, loom: Loom, name: str, morgue: Morgue, network: Network, life: AgentLife) -> None:
        super().__init__(loom, name, morgue)
        self._network = network
        self._life = life
        self.journal: Journal | None = None
        self.most = Most()
        self.results: Results = {}
        self._paused = 0.0

    def pause(self, seconds: float) -> None:
        """Stop its machine for so long; its own clock stands still with it."""
        self._paused += self.loom.freeze(self, seconds)
        self.loom.note(f"{self.name} is paused for {seconds:g} s")

    def _monotonic(self) -> float:
        return self.loom.monotonic() - self._paused

    def _start(self) -> None:
        loom, chance = self.loom, self.loom.chance
        settings = RepairSettings(
            sys_code="PBAP", stuck_after=timedelta(minutes=30), monotonic=self._monotonic
        )
        work = ProductionWork(self.name, self._life.ports, settings, FIXERS)
        self.journal = journal = SimJournal(self._life.journal, self.most, self.results)
        waker = Signal(loom)
        outbox = Outbox(journal, waker.set)
        link = Link(
            LinkSettings(url="ws://server/agent", token=self._life.token),
            outbox,
            Waker(waker),  # type: ignore[arg-type]  # a waker for strands
            backoff=Backoff(chance.random),
            monotonic=self._monotonic,
            dial=self._network.dial,
            wait=lambda wire, seconds: wire.wait(waker, seconds),  # type: ignore[attr-defined]
            pause=loom.sleep,
        )
        link.is_live = Signal(loom)  # type: ignore[assignment]  # an event for strands
        runner = Runner(
            journal,
            outbox,
            work,
            link.hint,
            link.is_live,
            workers=self._life.workers,
            monotonic=self._monotonic,
            crew=lambda name, count: Crew(self, name, count),
        )
        identity = Identity(name=self.name, boot_id=f"{self.name}-{self.boots}", version="sim", host="sim")
        dispatcher = Dispatcher(identity, journal, outbox, runner, work.fixer_codes, link.hint)
        dispatcher.resume()
        loom.spawn(self, f"{self.name} link", lambda: self._connect(link, dispatcher))

    def _connect(self, link: Link, dispatcher: Dispatcher) -> None:
        self.give_up(link.run(dispatcher).value)

    def _die(self) -> None:
        if self.journal is not None:
            # Past Journal.close, which would write what was only deferred.
            self.journal._file.connection.close()
            self.journal = None
