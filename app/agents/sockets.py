"""Every WebSocket of this server process, driven by one selector thread.

It knows bytes and close codes, nothing of agents, features or a database. Sockets arrive after their
handshake (endpoint.py); no extension is negotiated. A peer that does not read is dropped, not buffered for.
"""

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from agent.protocol import CLOSE_GOING_AWAY, MAX_FRAME_BYTES
from app.agents.peer import Listener, Peer

log = logging.getLogger(__name__)

READ_BYTES: Final = 64 * 1024
FLUSH_SECONDS: Final = 3.0
"""How long a closing socket may take to be written out and answered before it is cut."""
CLOSE_ABNORMAL: Final = 1006


class SocketLoop:
    """The thread and its sockets.

    ``ping_seconds``: every socket is pinged at this interval, and closed with 4008 when two pass without a
    sign of life. ``output_limit``: bytes waiting for a peer beyond which it is dropped with 4008.
    ``message_limit``: bytes of a message beyond which the socket is closed with 1009.
    """

    def __init__(
        self,
        ping_seconds: float,
        output_limit: int,
        *,
        message_limit: int = MAX_FRAME_BYTES,
        flush_seconds: float = FLUSH_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.output_limit = output_limit
        self.message_limit = message_limit
        self._ping_seconds = ping_seconds
        self._flush_seconds = flush_seconds
        self._monotonic = monotonic
        self._selector = selectors.DefaultSelector()
        self._actions: deque[Callable[[], None]] = deque()
        self._wake_lock = threading.Lock()
        self._is_woken = False
        self._peers: set[Peer] = set()
        self._pings: deque[tuple[float, Peer]] = deque()
        self._closing: set[Peer] = set()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)

    # ---- from any thread

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="sockets", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 2 * FLUSH_SECONDS) -> None:
        """Close every socket with 1001, write out what waits, and end the thread."""
        self.submit(self._begin_stop)
        if self._thread is not None:
            self._thread.join(seconds)

    def peer(self, sock: socket.socket, listener: Listener) -> Peer:
        """Wrap a socket whose handshake is done. It is served once it is admitted."""
        sock.setblocking(False)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Peer(self, sock, listener)

    def admit(self, peer: Peer, received: bytes) -> None:
        """Serve the peer from now on, beginning with bytes already read behind its handshake."""
        self.submit(lambda: self._admit(peer, received))

    def submit(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the loop's thread soon."""
        self._actions.append(action)
        with self._wake_lock:
            if self._is_woken:
                return
            self._is_woken = True
        with suppress(BlockingIOError, OSError):
            self._wake_writer.send(b"\0")

    @property
    def peer_count(self) -> int:
        """How many sockets are open."""
        return len(self._peers)

    # ---- for peers, on the loop's thread

    def flush(self, peer: Peer) -> None:
        """Write what the socket takes, and watch for the rest; cut it when all is said."""
        if peer.is_closed:
            return
        try:
            while peer.output:
                sent = peer.sock.send(peer.output)
                del peer.output[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._cut(peer)
            return
        if not peer.output and peer.is_finished:
            self._cut(peer)
        else:
            self.watch(peer)

    def watch(self, peer: Peer) -> None:
        """Have the selector watch for what the peer waits for."""
        mask = 0 if peer.is_paused and peer.close_code is None else selectors.EVENT_READ
        if peer.output:
            mask |= selectors.EVENT_WRITE
        if mask == peer.mask or peer not in self._peers:
            return
        if not peer.mask:
            self._selector.register(peer.sock, mask, peer)
        elif not mask:
            self._selector.unregister(peer.sock)
        else:
            self._selector.modify(peer.sock, mask, peer)
        peer.mask = mask

    def cut_later(self, peer: Peer) -> None:
        """Cut the peer when its closing takes too long."""
        peer.cut_at = self._monotonic() + self._flush_seconds
        self._closing.add(peer)

    # ---- the loop

    def _run(self) -> None:
        while not (self._is_stopping and not self._peers and not self._actions):
            for key, mask in self._selector.select(self._timeout()):
                if key.data is None:
                    self._clear_wake()
                else:
                    self._guard(key.data, partial(self._serve, mask=mask))
            self._run_actions()
            self._look_at_clock()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _guard(self, peer: Peer, serve: Callable[[Peer], None]) -> None:
        try:
            serve(peer)
        except Exception:
            # The socket edge: whatever one peer provokes ends that peer only.
            log.exception("a socket is closed after an unexpected error")
            self._cut(peer)

    def _serve(self, peer: Peer, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self.flush(peer)
        if mask & selectors.EVENT_READ and not peer.is_closed:
            self._read(peer)

    def _run_actions(self) -> None:
        for _ in range(len(self._actions)):
            action = self._actions.popleft()
            try:
                action()
            except Exception:
                # The same edge, for what other threads asked of a socket.
                log.exception("an action on a socket failed")

    def _clear_wake(self) -> None:
        # Drained first: a byte sent after the flag falls must stay to be read. What was submitted in between
        # is among the actions that run next.
        with suppress(BlockingIOError, OSError):
            while self._wake_reader.recv(4096):
                pass
        with self._wake_lock:
            self._is_woken = False

    def _timeout(self) -> float | None:
        if self._actions:
            return 0.0
        due = [peer.cut_at for peer in self._closing if peer.cut_at is not None]
        if self._pings:
            due.append(self._pings[0][0])
        return max(0.0, min(due) - self._monotonic()) if due else None

    def _look_at_clock(self) -> None:
        now = self._monotonic()
        while self._pings and self._pings[0][0] <= now:
            _, peer = self._pings.popleft()
            if not peer.is_closed:
                self._guard(peer, Peer.check_life)
                self._pings.append((now + self._ping_seconds, peer))
        for peer in [one for one in self._closing if one.cut_at is not None and one.cut_at <= now]:
            self._guard(peer, self._cut)

    def _admit(self, peer: Peer, received: bytes) -> None:
        if peer.is_closed:
            return
        self._peers.add(peer)
        if self._is_stopping:
            peer.begin_close(CLOSE_GOING_AWAY, "the server stops")
            return
        self.watch(peer)
        self._pings.append((self._monotonic() + self._ping_seconds, peer))
        if received:
            self._guard(peer, lambda one: one.take(received))

    def _begin_stop(self) -> None:
        self._is_stopping = True
        for peer in list(self._peers):
            peer.begin_close(CLOSE_GOING_AWAY, "the server stops")

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            peer.take(data)
        else:
            self._cut(peer)

    def _cut(self, peer: Peer) -> None:
        if peer.is_closed:
            return
        peer.is_closed = True
        if peer.mask:
            self._selector.unregister(peer.sock)
            peer.mask = 0
        self._peers.discard(peer)
        self._closing.discard(peer)
        with suppress(OSError):
            peer.sock.close()
        peer.output.clear()
        code = CLOSE_ABNORMAL if peer.close_code is None else peer.close_code
        peer.listener.on_close(peer, code, peer.close_reason)
