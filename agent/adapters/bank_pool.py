"""Connections to the bank over which a call ends in time, however slowly the bytes of its answer come."""

import io
import socket
import threading
from collections.abc import Callable
from http.client import HTTPResponse
from typing import Any

import urllib3

from agent.adapters.names import BankNames


class Deadline(threading.local):
    """When the call that a thread makes is to be over: each thread has its own."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends_at = 0.0

    def start(self, seconds: float) -> None:
        """A call begins that may take so long."""
        self._ends_at = self._monotonic() + seconds

    def left(self) -> float:
        """Seconds; none or less: it is over."""
        return self._ends_at - self._monotonic()


class TimedReads(io.RawIOBase):
    """The bytes of a socket, with TLS or without.

    A read takes ``patience`` seconds at most, as it would by the socket's own time-out, and all reads of a
    call together what is left of it: a peer may send an answer in as many pieces as it likes.
    """

    def __init__(self, sock: socket.socket, patience: float, deadline: Deadline) -> None:
        self._sock = sock
        self._bytes = sock.makefile("rb", buffering=0)
        self._patience = patience
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError."""
        left = self._deadline.left()
        if left <= 0:
            raise TimeoutError("the call took too long")
        self._sock.settimeout(min(self._patience, left))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        self._bytes.close()
        super().close()


class SendsAtOnce:
    """What a connection mixes in for head and content of a request to leave in one piece, not in two."""

    _pieces: list[bytes] | None = None

    def request(self, *args: Any, **options: Any) -> None:
        """As urllib3's. Raises OSError."""
        self._pieces = pieces = list[bytes]()
        try:
            super().request(*args, **options)  # type: ignore[misc]
        finally:
            self._pieces = None
        self.send(b"".join(pieces))

    def send(self, piece: Any) -> None:
        """Raises OSError."""
        if self._pieces is None:
            super().send(piece)  # type: ignore[misc]
        else:
            self._pieces.append(piece)


def bank_pool(base_url: str, names: BankNames, deadline: Deadline) -> urllib3.HTTPConnectionPool:
    """Connections to one host. Raises LocationValueError.

    Connecting, TLS handshake and sending have the time-out of connecting each; they count, and after them
    nothing is read past the ``deadline``.
    """
    pool = urllib3.connection_from_url(
        base_url,
        timeout=urllib3.Timeout(connect=names.connect_timeout_s, read=names.timeout_s),
        maxsize=names.connections,
        block=True,
    )

    def answer(sock: socket.socket, *args: Any, **options: Any) -> HTTPResponse:
        response = HTTPResponse(sock, *args, **options)
        response.fp.close()
        response.fp = io.BufferedReader(TimedReads(sock, names.timeout_s, deadline))
        return response

    connection = pool.ConnectionCls
    own = {"response_class": staticmethod(answer)}
    pool.ConnectionCls = type(connection.__name__, (SendsAtOnce, connection), own)
    return pool
