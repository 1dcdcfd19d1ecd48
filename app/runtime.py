"""The running parts of the server: sockets, hub, writer, dispatcher, ticker, scheduler, courier.

``create_app`` makes a Runtime and starts nothing; gunicorn's ``post_worker_init`` and ``worker_exit`` start
and stop it (deploy/gunicorn.conf.py). ``wsgi.py`` and the command line never do. One process an instance: it
holds a lock.
"""

import fcntl
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Protocol

from flask import Flask

from app.agents import recovery, service
from app.agents.dispatcher import Dispatcher
from app.agents.frames import FrameLog
from app.agents.hub import Hub
from app.agents.inbox import Handlers, Inbox, Outlets
from app.agents.presence import Presence
from app.agents.sockets import SocketLoop
from app.agents.writer import Writer
from app.clock import Clock
from app.config import Settings
from app.ticker import Ticker
from app.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

LOCK_SECONDS: Final = 30.0
SWITCH_SECONDS: Final = 0.0005


class AlreadyRunningError(Exception):
    """Another server process holds this instance."""


class Background(Protocol):
    """A part that runs beside the requests: the scheduler, the courier."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End."""
        ...


class Runtime:
    """Owns the parts. ``beside`` join them, started last, in order, and stopped first."""

    def __init__(
        self,
        app: Flask,
        settings: Settings,
        clock: Clock,
        handlers: Handlers,
        beside: Sequence[Background] = (),
    ) -> None:
        self._app = app
        self._settings = settings
        self._clock = clock
        self._lock: IO[str] | None = None
        self.is_running = False
        self.writer = Writer(app)
        self.loop = SocketLoop(settings.heartbeat_seconds, settings.output_limit_bytes)
        frame_log = FrameLog(self.writer.keep, clock)
        self.hub = Hub(self.loop, frame_log)
        self.ticker = Ticker()
        presence = Presence()
        self.dispatcher = Dispatcher(app, self.hub, self.writer, presence, clock, settings.in_flight_limit)
        self.inbox = Inbox(
            Outlets(self.hub, self.writer, presence, frame_log),
            handlers,
            self.dispatcher.look_now,
            clock,
            settings.heartbeat_seconds,
        )
        self.hub.on_message = self.inbox.receive
        self.hub.on_lost = self.inbox.lost
        self._beside = tuple(beside)

    def start(self) -> None:
        """Take the instance's lock and start every part. Raises AlreadyRunningError after LOCK_SECONDS."""
        # A thread gives up the interpreter at every socket call, and gets it back from one that computes only
        # after this interval: at the default of 5 ms a busy writer would hold up every frame.
        sys.setswitchinterval(SWITCH_SECONDS)
        self._lock = take_lock(self._settings.lock_file, LOCK_SECONDS)
        self._forget_connections()
        self.writer.start()
        self.loop.start()
        self.hub.start()
        self.ticker.start()
        self.dispatcher.start()
        for part in self._beside:
            part.start()
        self.is_running = True
        log.info("the server runs on %s", self._settings.instance)

    def stop(self) -> None:
        """Claim nothing more, close sockets with 1001, write what arrived, let the instance go."""
        if not self.is_running:
            return
        self.is_running = False
        for part in reversed(self._beside):
            part.stop()
        self.dispatcher.stop()
        self.ticker.stop()
        self.loop.stop()
        self.hub.stop()
        self.writer.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def trouble(self) -> str:
        """Return why this process cannot do its work, '' when it can or was never to run the parts."""
        if not self.is_running:
            return ""
        if not self.dispatcher.is_alive:
            return "the dispatcher is not running"
        return self.writer.trouble

    def _forget_connections(self) -> None:
        with self._app.app_context(), unit_of_work() as session:
            recovery.release_all_sent(session, service.forget_connections(session, self._clock()))


def take_lock(path: Path, seconds: float) -> IO[str]:
    """Lock the file and return it open; closing it lets go. Raises AlreadyRunningError when it stays held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                raise AlreadyRunningError(f"another server holds {path}") from None
            time.sleep(0.1)
        else:
            return file
