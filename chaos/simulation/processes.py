"""The processes of a schedule: what each is made of, how it starts, and that a kill takes all of it.

Nothing here imitates agent or server: the parts are theirs, wired as their own main programs wire them, with
strands for threads and lanes for sockets.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from agent.commands import Dispatcher as AgentDispatcher
from agent.commands import Identity
from agent.connection import Link, LinkSettings
from agent.fixers import FIXERS
from agent.fixers.order import RepairSettings
from agent.journal import Journal
from agent.outbox import Outbox
from agent.pacing import Backoff
from agent.ports import Ports
from agent.protocol import CLOSE_SLOW
from agent.runner import Runner
from agent.work import ProductionWork
from app import HANDLERS
from app.agents import recovery, service
from app.agents.dispatcher import Dispatcher
from app.agents.frames import FrameLog
from app.agents.hub import AgentSession, Hub
from app.agents.inbox import Inbox, Outlets
from app.agents.presence import Presence
from app.agents.writer import Item, Writer
from app.clock import utc_now
from app.executions.scheduler import Scheduler
from app.extensions import db
from app.unit_of_work import unit_of_work
from chaos.simulation.loom import Killed, Loom, Signal
from chaos.simulation.network import ABNORMAL, PING, Connection, Network, SimPeer

log: Final = logging.getLogger("chaos")

DISPATCH_SECONDS: Final = 15.0
ROUND_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 10.0
SILENT_INTERVALS: Final = 3


class Morgue(Protocol):
    """Who hears of processes that died by themselves."""

    killed: "list[Process]"


class Process:
    """Something that can be killed and started again. ``boots`` counts its lives."""

    def __init__(self, loom: Loom, name: str, morgue: Morgue) -> None:
        self.loom = loom
        self.name = name
        self.is_dead = True
        self.boots = 0
        self._morgue = morgue

    def start(self) -> None:
        """Begin a new life."""
        self.is_dead = False
        self.boots += 1
        self.loom.note(f"{self.name} starts ({self.boots})")
        self.loom.spawn(self, f"{self.name} boot", self._boot)

    def give_up(self, why: str) -> None:
        """End by itself; whatever watches over it starts it again."""
        self.loom.note(f"{self.name} ends by itself: {why}")
        self.is_dead = True
        self._morgue.killed.append(self)
        raise Killed

    def _boot(self) -> None:
        try:
            self._start()
        except Exception as error:
            # What its main program cannot go on with ends it.
            log.exception("%s cannot start", self.name)
            self.give_up(f"{type(error).__name__}: {error}")

    def kill(self) -> None:
        """kill -9: whatever was not written down is gone. Not called from a strand of its own."""
        self.is_dead = True
        self.loom.end(self)
        self.loom.note(f"{self.name} is dead")
        self._die()

    def _start(self) -> None: ...

    def _die(self) -> None: ...


class BankProcess(Process):
    """The bank: its books outlive it."""


# ---- the agent


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

    def _start(self) -> None:
        loom, chance = self.loom, self.loom.chance
        settings = RepairSettings(
            sys_code="PBAP", stuck_after=timedelta(minutes=30), monotonic=loom.monotonic
        )
        work = ProductionWork(self.name, self._life.ports, settings, FIXERS)
        self.journal = journal = Journal(self._life.journal)
        waker = Signal(loom)
        outbox = Outbox(journal, waker.set)
        link = Link(
            LinkSettings(url="ws://server/agent", token=self._life.token),
            outbox,
            Waker(waker),  # type: ignore[arg-type]  # a waker for strands
            backoff=Backoff(chance.random),
            monotonic=loom.monotonic,
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
            monotonic=loom.monotonic,
            crew=lambda name, count: Crew(self, name, count),
        )
        identity = Identity(name=self.name, boot_id=f"{self.name}-{self.boots}", version="sim", host="sim")
        dispatcher = AgentDispatcher(identity, journal, outbox, runner, work.fixer_codes, link.hint)
        dispatcher.resume()
        loom.spawn(self, f"{self.name} link", lambda: self._connect(link, dispatcher))

    def _connect(self, link: Link, dispatcher: AgentDispatcher) -> None:
        self.give_up(link.run(dispatcher).value)

    def _die(self) -> None:
        if self.journal is not None:
            # Past Journal.close, which would write what was only deferred.
            self.journal._file.connection.close()
            self.journal = None


# ---- the server


class SimWriter(Writer):
    """The writer, run by a strand: it wakes when something is put."""

    def __init__(self, app: Flask, signal: Signal) -> None:
        super().__init__(app)
        self._signal = signal
        self.longest = 0

    def _put(self, item: Item) -> None:
        super()._put(item)
        self.longest = max(self.longest, len(self._items))
        self._signal.set()

    @property
    def trouble(self) -> str:
        """The strand tries again by itself."""
        return ""


class NoTicker:
    """No browser watches a schedule."""

    def publish(self, topics: object) -> None:
        """Nobody hears it."""

    def session_keys(self) -> list[str]:
        """Nobody is there."""
        return []


class ServerProcess(Process):
    """One server on the schedule's database; several may run on one."""

    def __init__(self, loom: Loom, name: str, morgue: Morgue, app: Flask, network: Network) -> None:
        super().__init__(loom, name, morgue)
        self.app = app
        self._network = network
        self._connections: list[Connection] = []
        self.longest_queue = 0
        self.writer = SimWriter(app, Signal(loom))

    def _start(self) -> None:
        loom, app = self.loom, self.app
        app.extensions["ticker"] = NoTicker()
        put, look = Signal(loom), Signal(loom)
        self.writer = writer = SimWriter(app, put)
        frame_log = FrameLog(writer.keep, utc_now)
        self.hub = hub = Hub(None, frame_log)  # type: ignore[arg-type]  # the lanes need no loop
        presence = Presence()
        self.dispatcher = dispatcher = Dispatcher(app, hub, writer, presence, utc_now, 32)
        dispatcher._look = look  # type: ignore[assignment]  # an event for strands
        app.extensions["dispatcher"] = dispatcher
        outlets = Outlets(hub, writer, presence, frame_log)
        self.inbox = inbox = Inbox(outlets, HANDLERS, dispatcher.look_now, utc_now, HEARTBEAT_SECONDS)
        hub.on_message, hub.on_lost = inbox.receive, inbox.lost
        scheduler = Scheduler(app)
        with app.app_context(), unit_of_work() as session:
            recovery.release_all_sent(session, service.forget_connections(session, utc_now()))
        self._spawn("writer", lambda: self._write(writer, put))
        self._spawn("dispatcher", lambda: self._dispatch(dispatcher, look))
        self._spawn("scheduler", lambda: self._schedule(scheduler))
        self._network.doors.append(self.accept)

    def _spawn(self, name: str, work: Callable[[], None]) -> None:
        def within_application() -> None:
            with self.app.app_context():
                work()

        self.loom.spawn(self, f"{self.name} {name}", within_application)

    def _write(self, writer: SimWriter, put: Signal) -> None:
        while True:
            try:
                has_more = writer.write_waiting()
            except Exception as error:
                # As the writer's own thread: it tries the same batch again.
                log.exception("%s cannot write", self.name)
                self.loom.note(f"{self.name} cannot write: {error}")
                self.loom.sleep(RETRY_SECONDS)
                continue
            if not has_more:
                put.clear()
                put.wait()

    def _dispatch(self, dispatcher: Dispatcher, look: Signal) -> None:
        while True:
            look.wait(DISPATCH_SECONDS)
            look.clear()
            try:
                dispatcher.round()
            except Exception as error:
                # As the dispatcher's own thread.
                log.exception("%s: a round failed", self.name)
                self.loom.note(f"{self.name} dispatcher: {type(error).__name__} {error}")
                self.loom.sleep(RETRY_SECONDS)
            finally:
                db.session.remove()

    def _schedule(self, scheduler: Scheduler) -> None:
        while True:
            self.loom.sleep(ROUND_SECONDS)
            scheduler.run_round()

    def serve(self, work: Callable[[], None]) -> None:
        """Do what a person asks of this server; what fails is their HTTP 500."""

        def request() -> None:
            try:
                work()
            except Exception as error:
                # The HTTP 500 edge.
                log.exception("%s answers 500", self.name)
                self.loom.note(f"{self.name} answers 500: {type(error).__name__} {error}")

        self._spawn("request", request)

    # ---- sockets

    def accept(self, token: str, connection: Connection) -> bool:
        """The endpoint: who brings a known token gets a session."""
        with self.app.app_context():
            agent = service.authenticate(db.session, token)
            if agent is None:
                return False
            session = AgentSession(self.hub, agent.id, agent.group_id, agent.group.sys_code, "127.0.0.1")
            db.session.remove()
        peer: Any = SimPeer(connection)
        session.peer = peer
        self._connections.append(connection)
        lost = Signal(self.loom)
        connection.on_closed = lambda code: lost.set()
        self.inbox.connect(session)
        self._spawn("session", lambda: self._hear(session, connection))
        return True

    def _hear(self, session: AgentSession, connection: Connection) -> None:
        """What the socket loop does: hand on frames, ping, and drop a peer of which nothing is heard."""
        lane, heard_at = connection.to_server, self.loom.seconds
        ping_at = heard_at + HEARTBEAT_SECONDS
        while connection.is_open or lane.frames:
            frame = connection.arrived(lane)
            if frame is not None:
                heard_at = self.loom.seconds
                if frame != PING:
                    self.hub._handle(session, frame.decode(errors="replace"))
                continue
            if self.loom.seconds >= ping_at:
                ping_at = self.loom.seconds + HEARTBEAT_SECONDS
                connection.ping(connection.to_agent)
            if self.loom.seconds - heard_at > SILENT_INTERVALS * HEARTBEAT_SECONDS:
                connection.close(CLOSE_SLOW)
            lane.signal.clear()
            self.loom.wait_for_any(
                (lane.signal,), min(connection.until_next(lane), ping_at - self.loom.seconds)
            )
        self.hub.lose(session, connection.close_code or ABNORMAL, "", 0)

    def cut_all(self) -> None:
        """Every connection breaks."""
        for connection in self._connections:
            connection.close(ABNORMAL)
        self._connections.clear()

    def _die(self) -> None:
        self.longest_queue = max(self.longest_queue, self.writer.longest)
        if self.accept in self._network.doors:
            self._network.doors.remove(self.accept)
        self.cut_all()
        with suppress(SQLAlchemyError), self.app.app_context():
            db.session.remove()
