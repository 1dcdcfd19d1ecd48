"""The server as a process of a schedule: its own parts, with strands for its threads and lanes for sockets.

Its database outlives it; several may run on one.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from agent.protocol import CLOSE_SLOW
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
from chaos.simulation.loom import FOREVER, Loom, Signal
from chaos.simulation.network import ABNORMAL, PING, Connection, Network, SimPeer
from chaos.simulation.processes import Morgue, Process

log: Final = logging.getLogger("chaos")

DISPATCH_SECONDS: Final = 15.0
ROUND_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.5
HEARTBEAT_SECONDS: Final = 10.0
SILENT_INTERVALS: Final = 3


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
    """One server on the schedule's database."""

    def __init__(self, loom: Loom, name: str, morgue: Morgue, app: Flask, network: Network) -> None:
        super().__init__(loom, name, morgue)
        self.app = app
        self._network = network
        self._connections: list[Connection] = []
        self._longest_before = 0
        self.writer = SimWriter(app, Signal(loom))

    @property
    def longest_queue(self) -> int:
        """The most items that ever waited for its writer, in all its lives."""
        return max(self._longest_before, self.writer.longest)

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
        peer = SimPeer(connection)
        session.peer = peer  # type: ignore[assignment]  # a peer for lanes
        self._connections.append(connection)
        lost = Signal(self.loom)
        connection.on_closed = lambda code: lost.set()
        self.inbox.connect(session)
        self._spawn("session", lambda: self._hear(session, peer, connection))
        return True

    def _hear(self, session: AgentSession, peer: SimPeer, connection: Connection) -> None:
        """What the socket loop does: hand on frames, ping, and drop a peer of which nothing is heard.

        Of a paused peer nothing is read, nor is it dropped for that.
        """
        lane, heard_at = connection.to_server, self.loom.seconds
        ping_at = heard_at + HEARTBEAT_SECONDS
        while connection.is_open or lane.frames:
            frame = None if peer.is_paused else connection.arrived(lane)
            if frame is not None:
                heard_at = self.loom.seconds
                if frame != PING:
                    self.hub._handle(session, frame.decode(errors="replace"))
                continue
            if self.loom.seconds >= ping_at:
                ping_at = self.loom.seconds + HEARTBEAT_SECONDS
                connection.ping(connection.to_agent)
            if peer.is_paused:
                heard_at = self.loom.seconds
            elif self.loom.seconds - heard_at > SILENT_INTERVALS * HEARTBEAT_SECONDS:
                connection.close(CLOSE_SLOW)
            lane.signal.clear()
            next_in = FOREVER if peer.is_paused else connection.until_next(lane)
            self.loom.wait_for_any((lane.signal,), min(next_in, ping_at - self.loom.seconds))
        self.hub.lose(session, connection.close_code or ABNORMAL, "", 0)

    def cut_all(self) -> None:
        """Every connection breaks."""
        for connection in self._connections:
            connection.close(ABNORMAL)
        self._connections.clear()

    def _die(self) -> None:
        self._longest_before = self.longest_queue
        if self.accept in self._network.doors:
            self._network.doors.remove(self.accept)
        self.cut_all()
        with suppress(SQLAlchemyError), self.app.app_context():
            db.session.remove()
