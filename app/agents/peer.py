"""One WebSocket after its handshake: its protocol state, what it sends and what is heard of it."""

import socket
from typing import TYPE_CHECKING, Final, Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from agent.protocol import CLOSE_SLOW, CLOSE_TOO_BIG

if TYPE_CHECKING:
    from app.agents.sockets import SocketLoop

CLOSE_UNSUPPORTED: Final = 1003
MISSED_LIMIT: Final = 2


class Listener(Protocol):
    """Who hears of a socket. Called on the loop's thread: must return at once and raise nothing."""

    def on_message(self, peer: "Peer", text: str) -> None:
        """A whole text message arrived."""
        ...

    def on_close(self, peer: "Peer", code: int, reason: str) -> None:
        """The socket is gone; said once. The code is ours where we closed it, else the peer's."""
        ...


class Peer:
    """One socket.

    ``send``, ``close``, ``pause`` and ``resume`` may be called from any thread; the rest belongs to the
    loop's thread. ``output`` waits to be written, ``mask`` is what the selector watches, ``cut_at`` is when a
    closing socket is cut (monotonic seconds). ``refused_size`` is how many bytes had come of the message the
    socket was closed for; the rest of it is not read.
    """

    __slots__ = (
        "_heard",
        "_loop",
        "_missed",
        "_parts",
        "_parts_size",
        "_taken",
        "_ws",
        "close_code",
        "close_reason",
        "cut_at",
        "is_closed",
        "is_paused",
        "listener",
        "mask",
        "output",
        "refused_size",
        "sock",
    )

    def __init__(self, loop: "SocketLoop", sock: socket.socket, listener: Listener) -> None:
        self._loop = loop
        self.sock = sock
        self.listener = listener
        self.output = bytearray()
        self.mask = 0
        self.is_paused = False
        self.is_closed = False
        self.cut_at: float | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.refused_size = 0
        self._ws = Connection(ConnectionType.SERVER)
        self._parts: list[str] = []
        self._parts_size = 0
        self._taken = 0
        self._heard = True
        self._missed = 0

    # ---- from any thread

    def send(self, frame: bytes) -> None:
        """Send a text message; a socket that is closing drops it."""
        self._loop.submit(lambda: self.write(frame))

    def close(self, code: int, reason: str = "") -> None:
        """Close with this code after what was sent before."""
        self._loop.submit(lambda: self.begin_close(code, reason))

    def pause(self) -> None:
        """Read nothing more until ``resume``: the other side's own buffers fill."""
        self._loop.submit(lambda: self._set_paused(True))

    def resume(self) -> None:
        """Read again."""
        self._loop.submit(lambda: self._set_paused(False))

    # ---- on the loop's thread

    @property
    def is_finished(self) -> bool:
        """Whether both close frames have gone: nothing more will be said."""
        return self._ws.state is ConnectionState.CLOSED

    def take(self, data: bytes) -> None:
        """Handle bytes that arrived."""
        self._heard = True
        if self._ws.state not in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            return
        self._ws.receive_data(data)
        self._taken = self._parts_size + len(data)
        for event in self._ws.events():
            self._handle(event)
            if self.is_closed:
                return

    def write(self, frame: bytes) -> None:
        """Queue a text message."""
        if not self.is_closed and self.close_code is None:
            self._put_where_room(TextMessage(data=frame.decode()), len(frame))

    def check_life(self) -> None:
        """Once an interval: ping, or close with 4008 after two intervals without a sign of life."""
        self._missed = 0 if self._heard or self.is_paused else self._missed + 1
        self._heard = False
        if self._missed >= MISSED_LIMIT:
            self.begin_close(CLOSE_SLOW, "no sign of life")
        else:
            self._put(Ping())

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits; the socket is cut when it is answered or time is up."""
        if self.is_closed or self.close_code is not None:
            return
        self.close_code = code
        self.close_reason = reason
        self._loop.cut_later(self)
        self._put(CloseConnection(code=code, reason=reason.encode()[:120].decode(errors="ignore")))

    def _set_paused(self, is_paused: bool) -> None:
        if not self.is_closed:
            self.is_paused = is_paused
            self._loop.watch(self)

    def _handle(self, event: Event) -> None:
        if isinstance(event, CloseConnection):
            self._handle_close(event)
        elif self.close_code is not None:
            return
        elif isinstance(event, TextMessage):
            self._gather(event)
        elif isinstance(event, BytesMessage):
            self._refuse(CLOSE_UNSUPPORTED, "text frames only", len(event.data))
        elif isinstance(event, Ping):
            self._put_where_room(event.response(), len(event.payload))

    def _gather(self, event: TextMessage) -> None:
        text = event.data
        self._parts_size += len(text) if text.isascii() else len(text.encode())
        if self._parts_size > self._loop.message_limit:
            self._parts.clear()
            self._refuse(CLOSE_TOO_BIG, f"more than {self._loop.message_limit} bytes", self._parts_size)
            return
        if text:
            self._parts.append(text)
        if event.message_finished:
            whole = "".join(self._parts)
            self._parts.clear()
            self._parts_size = 0
            self.listener.on_message(self, whole)

    def _refuse(self, code: int, reason: str, size: int) -> None:
        """Close for a message of which ``size`` bytes have come."""
        self.refused_size = size
        self.begin_close(code, reason)

    def _handle_close(self, event: CloseConnection) -> None:
        if self._ws.state is ConnectionState.OPEN:  # wsproto's verdict on a frame that breaks the protocol
            self._refuse(int(event.code), event.reason or "", self._taken)
        elif self._ws.state is ConnectionState.REMOTE_CLOSING:
            self.close_code = int(event.code)
            self.close_reason = event.reason or ""
            self._loop.cut_later(self)
            self._put(event.response())
        elif self._ws.state is ConnectionState.CLOSED:
            self._loop.flush(self)

    def _put_where_room(self, event: Event, size: int) -> None:
        """Queue what so many bytes say; a peer that lets too much wait is dropped with 4008."""
        if len(self.output) + size > self._loop.output_limit:
            self.begin_close(CLOSE_SLOW, "reads too slowly")
        else:
            self._put(event)

    def _put(self, event: Event) -> None:
        try:
            self.output += self._ws.send(event)
        except LocalProtocolError:
            return  # the closing handshake is under way; nothing more may be sent
        self._loop.flush(self)
