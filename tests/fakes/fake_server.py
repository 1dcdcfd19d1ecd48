"""A small WebSocket server that speaks the agent protocol: a real one as agents see it, with switches."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from agent.message import Message as Frame
from agent.protocol import Ack, Heartbeat, Hello, ToServer, Welcome, decode_to_server, encode

PATIENCE = 20.0
"""Seconds after which a test that waits for the agent fails."""
F = TypeVar("F", bound=Frame)


class ServedSession:
    """One connection of an agent, as the server holds it; while ``may_read`` is clear, unread."""

    def __init__(self, sock: socket.socket, server: "FakeServer") -> None:
        self._sock = sock
        self._server = server
        self._lock = threading.Lock()
        self._connection = WSConnection(ConnectionType.SERVER)
        self._pieces: list[str] = []
        self.headers: dict[str, str] = {}
        self.target = ""
        self.extensions: list[str] = []
        self.close_code: int | None = None
        self.may_read = threading.Event()
        self.may_read.set()
        self.ended = threading.Event()

    def send(self, message: Frame) -> None:
        """Send a message as a text frame."""
        self.send_text(encode(message).decode())

    def send_text(self, text: str, fragments: int = 1) -> None:
        """Send any text, cut into a number of frames."""
        size = -(-len(text) // fragments)
        parts = [text[start : start + size] for start in range(0, len(text), size)] or [""]
        for number, part in enumerate(parts, 1):
            self._send(TextMessage(part, message_finished=number == len(parts)))

    def close(self, code: int, reason: str = "") -> None:
        """Close with a code."""
        self._send(CloseConnection(code, reason))

    def cut(self) -> None:
        """End the connection without a word, as a dying host does; one that has ended already stays ended."""
        self.may_read.set()
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _send(self, event: Any) -> None:
        with self._lock:
            self._sock.sendall(self._connection.send(event))

    def serve(self) -> None:
        """Read until the connection ends; runs on a thread of its own."""
        try:
            while self._connection.state is not ConnectionState.CLOSED:
                received = self._sock.recv(65_536)
                self.may_read.wait()
                self._connection.receive_data(received or None)
                for event in self._connection.events():
                    self._take(event)
                if not received:
                    break
        except (OSError, ProtocolError):
            pass  # the agent went away; what it said before is what tests look at
        finally:
            self._sock.close()
            self.ended.set()
            self._server._noticed()

    def _take(self, event: Any) -> None:
        if isinstance(event, Request):
            self._shake_hands(event)
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            self.close_code = event.code
            if self._connection.state is ConnectionState.REMOTE_CLOSING:
                self._send(event.response())
        elif isinstance(event, Message):
            self._pieces.append(event.data)
            if event.message_finished:
                whole = "".join(self._pieces)
                self._pieces.clear()
                self._server._received(self, decode_to_server(whole))
        else:
            assert isinstance(event, Pong)

    def _shake_hands(self, request: Request) -> None:
        self.headers = {name.decode().lower(): value.decode() for name, value in request.extra_headers}
        self.target = request.target
        self.extensions = [str(extension) for extension in request.extensions]
        if self._server.refuse_with is not None:
            self._send(RejectConnection(status_code=self._server.refuse_with))
            self._sock.shutdown(socket.SHUT_WR)
            return
        self._send(AcceptConnection())
        self.send(self._server.greeting())


class FakeServer:
    """Listens on a free port of the loopback; keeps every message agents send, in order.

    ``refuse_with`` answers handshakes with this HTTP status. ``acknowledges`` says which messages are
    acknowledged (default: all but Hello and Heartbeat). ``greeting`` makes the first frame of a session.
    """

    def __init__(self, port: int = 0, heartbeat_ms: int = 10_000) -> None:
        self.heartbeat_ms = heartbeat_ms
        self.refuse_with: int | None = None
        self.greeting: Callable[[], Frame] = self._welcome
        self.acknowledges: Callable[[ToServer], bool] = lambda message: (
            not isinstance(message, Hello | Heartbeat)
        )
        self.received: list[ToServer] = []
        self.sessions: list[ServedSession] = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/agent"

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        for session in self.sessions:
            if not session.ended.is_set():
                session.cut()
                session.ended.wait(PATIENCE)

    def wait(self, is_so: Callable[[], bool], what: str = "") -> None:
        """Wait until something is so; fails after PATIENCE."""
        with self._changed:
            assert self._changed.wait_for(is_so, PATIENCE), f"waited in vain {what}; received {self.received}"

    def session(self, number: int = 1) -> ServedSession:
        """Return the number-th session (from 1) once its Hello is here."""
        self.wait(lambda: self._hellos() >= number, f"for session {number}")
        return [session for session in self.sessions if session.headers][number - 1]

    def of(self, kind: type[F]) -> list[F]:
        """The messages of one kind received so far."""
        return [message for message in self.received if isinstance(message, kind)]

    def first(self, kind: type[F], number: int = 1) -> F:
        """Return the number-th message (from 1) of a kind once it is here."""
        self.wait(lambda: len(self.of(kind)) >= number, f"for {kind.__name__} {number}")
        return self.of(kind)[number - 1]

    def _hellos(self) -> int:
        return len(self.of(Hello))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            session = ServedSession(sock, self)
            with self._changed:
                self.sessions.append(session)
                self._changed.notify_all()
            threading.Thread(target=session.serve, daemon=True).start()

    def _welcome(self) -> Frame:
        return Welcome(
            id=f"welcome-{len(self.sessions)}",
            epoch=len(self.sessions),
            server_time="2026-03-02T04:00:00.000Z",
            heartbeat_ms=self.heartbeat_ms,
            group="PBAP",
        )

    def _received(self, session: ServedSession, message: ToServer) -> None:
        with self._changed:
            self.received.append(message)
            self._changed.notify_all()
        if not isinstance(message, Ack) and self.acknowledges(message):
            session.send(Ack(id=f"ack-{message.id}", of=message.id))

    def _noticed(self) -> None:
        with self._changed:
            self._changed.notify_all()
