"""One WebSocket connection of the agent: bearer token, no Origin, no extension, a limit on every message.

Used by one thread only. websocket-client has no size limit of its own, so the limit stands here, where the
length of a frame is read and before its payload is.
"""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, Protocol

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketException
from websocket._abnf import frame_buffer

from agent.errors import AgentError
from agent.protocol import CLOSE_BAD_DATA, CLOSE_PROTOCOL, CLOSE_TOO_BIG, MAX_FRAME_BYTES

NO_STATUS: Final = 1005
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 8 * MAX_FRAME_BYTES


class WireError(AgentError):
    """The connection failed."""


class WireRefusedError(WireError):
    """The server answered the handshake with another status than 101."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the server refused the connection with HTTP {status}")


class WireClosedError(WireError):
    """The server closed the connection, with a close code."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(f"the server closed the connection with {code}" + (f" ({reason})" if reason else ""))


class _TooBigError(Exception):
    """A frame announced more than the limit."""


class _LimitedBuffer(frame_buffer):
    """Refuses a frame by its announced length, before a byte of it is read."""

    def recv_length(self) -> None:
        super().recv_length()
        if (self.length or 0) > MAX_FRAME_BYTES:
            raise _TooBigError(f"a frame of {self.length} bytes, more than {MAX_FRAME_BYTES}")


class AnyWire(Protocol):
    """What the connection asks of an open wire; Wire says what each does."""

    def fileno(self) -> int: ...

    def has_buffered(self) -> bool: ...

    def receive(self) -> bytes | None: ...

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...

    def abandon(self) -> None: ...


class Wire:
    """An open connection."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._fragments: bytearray | None = None

    @classmethod
    def connect(cls, url: str, token: str, timeout: float, ca_file: str | None = None) -> "Wire":
        """Dial the server. ``timeout`` (seconds) also limits each later read or write that has begun.

        Raises WireRefusedError for an HTTP answer, WireError for anything else.
        """
        connection = websocket.WebSocket(sslopt={"ca_certs": ca_file} if ca_file else None)
        connection.frame_buffer = _LimitedBuffer(connection._recv, True)
        try:
            connection.connect(  # type: ignore[no-untyped-call]
                url,
                header=[f"Authorization: Bearer {token}"],
                suppress_origin=True,
                timeout=timeout,
                redirect_limit=0,
            )
        except WebSocketBadStatusException as error:
            raise WireRefusedError(error.status_code) from error
        except (WebSocketException, OSError, ValueError) as error:
            raise WireError(f"no connection to {url}: {error}") from error
        return cls(connection)

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._socket().fileno()

    def has_buffered(self) -> bool:
        """Whether TLS holds decrypted bytes that select does not see."""
        sock = self._socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def receive(self) -> bytes | None:
        """Read one frame, which select has announced; return a whole text message, None for any other frame.

        Answers pings. Raises WireClosedError when the server closes, WireError when the stream is broken or
        the server breaks a rule (the connection is then closed with the right code).
        """
        try:
            frame = self._connection.frame_buffer.recv_frame()
            return self._accept(frame.opcode, bool(frame.fin), _as_bytes(frame.data))
        except _TooBigError as error:
            self.close(CLOSE_TOO_BIG, "frame too big")
            raise WireError(f"the server sent {error}") from error
        except WebSocketException as error:
            self.close(CLOSE_PROTOCOL)
            raise WireError(f"the connection broke: {error}") from error
        except OSError as error:
            raise WireError(f"the connection broke: {error}") from error

    def send(self, frame: bytes) -> None:
        """Send one text frame. Raises WireError; the connection is then of no more use."""
        self._guarded(lambda: self._connection.send(frame, ABNF.OPCODE_TEXT))

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close code, give the other side a second to read it, close; never raises."""
        sock = self._connection.sock
        if sock is None:
            return
        try:
            self._connection.send_close(code, reason.encode())
            _linger(sock)
        except (WebSocketException, OSError, ValueError):
            pass  # the goodbye is a courtesy; the close below is what counts
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a word."""
        self._connection.shutdown()  # type: ignore[no-untyped-call]

    def _accept(self, opcode: int, is_final: bool, payload: bytes) -> bytes | None:
        if opcode == ABNF.OPCODE_PING:
            self._guarded(lambda: self._connection.pong(payload))
        elif opcode == ABNF.OPCODE_CLOSE:
            raise self._closed(payload)
        elif opcode == ABNF.OPCODE_TEXT and self._fragments is None:
            return self._append(bytearray(), payload, is_final)
        elif opcode == ABNF.OPCODE_CONT and self._fragments is not None:
            return self._append(self._fragments, payload, is_final)
        elif opcode != ABNF.OPCODE_PONG:
            self.close(CLOSE_BAD_DATA, "text frames only")
            raise WireError(f"the server sent a frame of kind {opcode} out of order")
        return None

    def _append(self, fragments: bytearray, payload: bytes, is_final: bool) -> bytes | None:
        fragments += payload
        if len(fragments) > MAX_FRAME_BYTES:
            raise _TooBigError(f"a message in fragments of more than {MAX_FRAME_BYTES} bytes")
        self._fragments = None if is_final else fragments
        return self._whole(bytes(fragments)) if is_final else None

    def _whole(self, message: bytes) -> bytes:
        try:
            message.decode()
        except UnicodeDecodeError as error:
            self.close(CLOSE_BAD_DATA, "not UTF-8")
            raise WireError(f"the server sent a message that is not UTF-8: {error}") from error
        return message

    def _closed(self, payload: bytes) -> WireClosedError:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
        self.close(code if code != NO_STATUS else 1000)
        return WireClosedError(code, payload[2:].decode(errors="replace"))

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (WebSocketException, OSError) as error:
            self.abandon()
            raise WireError(f"the connection broke: {error}") from error

    def _socket(self) -> socket.socket:
        if self._connection.sock is None:
            raise WireError("the connection is closed")
        return self._connection.sock


def _linger(sock: socket.socket) -> None:
    """Read what is still coming: closing over unread bytes sends a reset, which destroys our close frame."""
    deadline = time.monotonic() + LINGER_SECONDS
    left = LINGER_BYTES
    while left > 0 and (seconds := deadline - time.monotonic()) > 0:
        sock.settimeout(seconds)
        received = sock.recv(65_536)
        if not received:
            return
        left -= len(received)


def _as_bytes(payload: bytes | str) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload
