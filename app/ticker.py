"""Tells browsers that something changed: ``{"topic", "version"}`` and nothing else; pages refetch what they
show.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from app.agents.peer import Peer

INTERVAL_SECONDS: Final = 0.25
"""At most four ticks a second and topic."""


CLOSE_SESSION_ENDED: Final = 1008


@dataclass(frozen=True)
class Viewer:
    """Whose browser listens: the session key of the person (``User.get_id``), and which login of theirs."""

    session_key: str
    login_id: str


class Ticker:
    """Versions by topic, sent to the sockets of ``/ui``. Safe from any thread; also the listener of those
    sockets.

    ``interval``: the least time between two rounds of ticks, in seconds.
    """

    def __init__(self, *, interval: float = INTERVAL_SECONDS, wall: Callable[[], float] = time.time) -> None:
        self._interval = interval
        # A version never falls, not even over a restart: pages compare them.
        self._version = int(wall() * 1000)
        self._changed = threading.Condition()
        self._versions: dict[str, int] = {}
        self._due: set[str] = set()
        self._peers: dict[Peer, Viewer] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def publish(self, topics: Iterable[str]) -> None:
        """The pages of these topics have something new to show."""
        with self._changed:
            for topic in topics:
                self._version += 1
                self._versions[topic] = self._version
                self._due.add(topic)
            self._changed.notify_all()

    def version_of(self, topic: str) -> int:
        """Return the topic's version, 0 while nothing has changed since the start."""
        with self._changed:
            return self._versions.get(topic, 0)

    def add(self, peer: Peer, viewer: Viewer) -> None:
        """A browser listens."""
        with self._changed:
            self._peers[peer] = viewer

    def session_keys(self) -> set[str]:
        """Return the session keys of everyone who listens."""
        with self._changed:
            return {viewer.session_key for viewer in self._peers.values()}

    def dismiss(self, has_left: Callable[[Viewer], bool]) -> None:
        """Close the sockets of viewers whose session has ended."""
        with self._changed:
            left = [peer for peer, viewer in self._peers.items() if has_left(viewer)]
        for peer in left:
            peer.close(CLOSE_SESSION_ENDED, "the session has ended")

    @property
    def listener_count(self) -> int:
        """How many browsers listen."""
        with self._changed:
            return len(self._peers)

    def on_message(self, peer: Peer, text: str) -> None:
        """Browsers have nothing to say here."""

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        """A browser left."""
        with self._changed:
            self._peers.pop(peer, None)

    def start(self) -> None:
        """Start the thread that sends."""
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: bool(self._due) or self._stopping.is_set())
                frames = [
                    msgspec.json.encode({"topic": topic, "version": self._versions[topic]})
                    for topic in sorted(self._due)
                ]
                self._due.clear()
                peers = list(self._peers)
            for peer in peers:
                for frame in frames:
                    peer.send(frame)
            self._stopping.wait(self._interval)
