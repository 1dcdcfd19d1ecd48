"""The agent's connection: dials the server, keeps the session alive, comes back after any failure.

One thread owns the socket and does all reading and writing; others leave messages and wake it.
"""

import enum
import logging
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from agent.envelope import rejection_of
from agent.errors import JournalError, ProtocolError
from agent.failpoints import Failpoint
from agent.journal import Unsent
from agent.message import Message
from agent.outbox import Outbox
from agent.pacing import Backoff, Waker
from agent.protocol import (
    CLOSE_GOING_AWAY,
    CLOSE_PROTOCOL,
    CLOSE_REPLACED,
    CLOSE_REVOKED,
    CLOSE_SLOW,
    Heartbeat,
    Hello,
    ToAgent,
    Welcome,
    decode_to_agent,
    encode,
)
from agent.wire import AnyWire, Wire, WireClosedError, WireError, WireRefusedError

log: Final = logging.getLogger("agent.connection")

STABLE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0
MISSED_HEARTBEATS: Final = 2.5
HINTS_KEPT: Final = 4096
BATCH: Final = 64
HTTP_UNAUTHORIZED: Final = 401
_SEND: Final = Failpoint("agent.frame.send.before")
_SENT: Final = Failpoint("agent.frame.send.after")
_HANDLE: Final = Failpoint("agent.frame.handle.before")
_HANDLED: Final = Failpoint("agent.frame.handle.after")


class Ending(enum.Enum):
    """Why the connection will not be taken up again."""

    STOPPED = "stopped"
    REPLACED = "replaced"
    REVOKED = "revoked"


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is. ``url`` is the whole WebSocket address, path ``/agent`` included."""

    url: str
    token: str
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"LinkSettings(url={self.url!r})"


class Session(Protocol):
    """What the connection asks of the agent behind it."""

    def hello(self) -> Hello:
        """Return the first frame of a session."""
        ...

    def heartbeat(self) -> Heartbeat:
        """Return the sign of life; called at each interval."""
        ...

    def handle(self, *messages: ToAgent) -> None:
        """Take messages of the server, in their order; must not wait for long."""
        ...

    def is_urgent(self) -> bool:
        """Whether work stands still until the server is heard."""
        ...


Dial = Callable[[LinkSettings], AnyWire]
Wait = Callable[[AnyWire, float], bool]


def dial(settings: LinkSettings) -> AnyWire:
    """Open a connection. Raises WireError."""
    return Wire.connect(settings.url, settings.token, CONNECT_SECONDS, settings.ca_file)


class Link:
    """The connection over its whole life.

    ``dial`` opens a wire. ``wait`` waits so many seconds for it, or for the waker, and returns whether the
    wire has something to read; None: select. ``pause`` waits between two connections, no longer than until
    ``stop``.
    """

    def __init__(
        self,
        settings: LinkSettings,
        outbox: Outbox,
        waker: Waker,
        *,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        dial: Dial = dial,
        wait: Wait | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._waker = waker
        self._backoff = backoff or Backoff()
        self._monotonic = monotonic
        self._hints: deque[Message] = deque(maxlen=HINTS_KEPT)
        self._stopping = threading.Event()
        self._dial = dial
        self._wait = wait or self._select
        self._sleep = pause or self._stopping.wait
        self._outbox_failed = False
        self.is_live = threading.Event()
        """Set while a session stands (after Hello)."""

    def hint(self, message: Message) -> None:
        """Send a message soon, if there is a session; it is lost otherwise."""
        if self.is_live.is_set():
            self._hints.append(message)
            self._waker()

    def stop(self) -> None:
        """Close the session with 1001 and let ``run`` return."""
        self._stopping.set()
        self._waker()

    def run(self, session: Session) -> Ending:
        """Connect, and again after each failure, until stopped, replaced or revoked."""
        while not self._stopping.is_set():
            try:
                self._connect_once(session)
            except WireRefusedError as error:
                if error.status == HTTP_UNAUTHORIZED:
                    log.error("the server does not know this agent's token (HTTP 401)")
                    return Ending.REVOKED
                log.warning("%s", error)
            except WireClosedError as error:
                if ending := _ending_of(error):
                    return ending
                log.warning("%s", error)
            except WireError as error:
                log.warning("%s", error)
            except Exception:
                # The agent's loop: whatever a session stumbles over, the agent must be reachable again.
                log.exception("the session ended with an unexpected error")
            self._pause(session)
        return Ending.STOPPED

    def _pause(self, session: Session) -> None:
        if self._stopping.is_set():
            return
        seconds = self._backoff.next(is_urgent=session.is_urgent())
        log.info("next connection attempt in %.1f s", seconds)
        self._sleep(seconds)

    def _connect_once(self, session: Session) -> None:
        wire = self._dial(self._settings)
        began = self._monotonic()
        try:
            welcome = self._await_welcome(wire)
            self._converse(wire, session, welcome)
        finally:
            self.is_live.clear()
            wire.abandon()
            if self._monotonic() - began >= STABLE_SECONDS:
                self._backoff.reset()

    def _await_welcome(self, wire: AnyWire) -> Welcome:
        deadline = self._monotonic() + CONNECT_SECONDS
        while not self._stopping.is_set():
            left = deadline - self._monotonic()
            if left <= 0:
                raise WireError("the server sent no Welcome")
            if not self._wait(wire, left):
                continue
            frame = wire.receive()
            if frame is None:
                continue
            try:
                welcome = decode_to_agent(frame)
            except ProtocolError as error:
                welcome, reason = None, str(error)
            if isinstance(welcome, Welcome):
                return welcome
            wire.close(CLOSE_PROTOCOL, "Welcome comes first")
            raise WireError(
                f"the server's first frame is no Welcome: {reason if welcome is None else welcome}"
            )
        raise WireError("stopped")

    def _converse(self, wire: AnyWire, session: Session, welcome: Welcome) -> None:
        interval = welcome.heartbeat_ms / 1000
        self._hints.clear()
        self._outbox.rewind()
        _send(wire, encode(session.hello()))
        self.is_live.set()
        log.info(
            "connected to %s as a member of %s, epoch %d", self._settings.url, welcome.group, welcome.epoch
        )
        last_seen, beat_due = self._monotonic(), self._monotonic() + interval
        while not self._stopping.is_set():
            now = self._monotonic()
            if now >= beat_due:
                _send(wire, encode(session.heartbeat()))
                beat_due = now + interval
            has_more = self._send_waiting(wire)
            if self._wait(wire, 0.0 if has_more else max(0.0, beat_due - self._monotonic())):
                last_seen = self._monotonic()
                self._read(wire, session, beat_due)
            elif self._monotonic() - last_seen > MISSED_HEARTBEATS * interval:
                wire.close(CLOSE_SLOW, "no sign of life")
                raise WireError(f"nothing heard from the server for {MISSED_HEARTBEATS} heartbeats")
        self._send_waiting(wire)
        wire.close(CLOSE_GOING_AWAY, "agent stops")

    def _select(self, wire: AnyWire, seconds: float) -> bool:
        """Wait for the wire or the waker; return whether the wire has something to read."""
        if wire.has_buffered():
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(wire.fileno(), selectors.EVENT_READ, "wire")
            selector.register(self._waker.fileno(), selectors.EVENT_READ, "waker")
            ready = {key.data for key, _ in selector.select(seconds)}
        if "waker" in ready:
            self._waker.clear()
        return "wire" in ready

    def _send_waiting(self, wire: AnyWire) -> bool:
        """Send hints, then a batch of the outbox; return whether there may be more."""
        # The batch is read first: a hint given before a message of it (Started before the first chunk, or
        # before the result) is then among the hints, and leaves before it.
        batch = self._next_batch()
        while self._hints:
            hint = self._hints.popleft()
            try:
                frame = encode(hint)
            except ProtocolError as error:
                log.warning("a hint was left out: %s", error)
                continue
            _send(wire, frame)
        for unsent in batch:
            _send(wire, unsent.frame)
            self._outbox.sent(unsent)
        return len(batch) == BATCH

    def _next_batch(self) -> list[Unsent]:
        """Return what the outbox has to send; nothing, and one line in the log, when it cannot be read."""
        try:
            batch = self._outbox.next(BATCH)
        except JournalError as error:
            if not self._outbox_failed:
                log.error("%s", error)
            self._outbox_failed = True
            return []
        self._outbox_failed = False
        return batch

    def _read(self, wire: AnyWire, session: Session, until: float) -> None:
        """Hand over together what waits on the wire: a batch at most, read no longer than ``until``."""
        messages: list[ToAgent] = []
        try:
            for _ in range(BATCH):
                self._take_in(wire, messages)
                if self._monotonic() >= until or not self._wait(wire, 0.0):
                    break
        except WireError:
            _hand_over(session, messages)  # what came before the connection's end
            raise
        _hand_over(session, messages)

    def _take_in(self, wire: AnyWire, messages: list[ToAgent]) -> None:
        frame = wire.receive()
        if frame is None:
            return
        try:
            messages.append(decode_to_agent(frame))
        except ProtocolError as error:
            log.warning("a frame of the server cannot be read: %s", error)
            self.hint(rejection_of(frame, str(error)))


def _hand_over(session: Session, messages: Sequence[ToAgent]) -> None:
    if messages:
        _HANDLE()
        session.handle(*messages)
        _HANDLED()


def _send(wire: AnyWire, frame: bytes) -> None:
    _SEND()
    wire.send(frame)
    _SENT()


def _ending_of(error: WireClosedError) -> Ending | None:
    if error.code == CLOSE_REPLACED:
        log.error("another process took over this agent's session (close code 4001)")
        return Ending.REPLACED
    if error.code == CLOSE_REVOKED:
        log.error("this agent's token was revoked (close code 4003)")
        return Ending.REVOKED
    return None
