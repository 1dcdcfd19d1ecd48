"""What browsers hear: which topic changed, and its version."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from app.agents.sockets import SocketLoop
from app.ticker import Ticker, Viewer

SOMEBODY = Viewer("1:1", "a login")


@pytest.fixture
def loop() -> Iterator[SocketLoop]:
    loop = SocketLoop(60.0, 512 * 1024, flush_seconds=0.1)
    loop.start()
    yield loop
    loop.stop()


class Browser:
    """The far end of a ``/ui`` socket."""

    def __init__(self, loop: SocketLoop, ticker: Ticker, viewer: Viewer = SOMEBODY) -> None:
        ours, self._far = socket.socketpair()
        self._far.settimeout(10)
        self._ws = Connection(ConnectionType.CLIENT)
        self._peer = loop.peer(ours, ticker)
        ticker.add(self._peer, viewer)
        loop.admit(self._peer, b"")

    def next_tick(self) -> dict[str, Any]:
        """Return the next tick."""
        while True:
            for event in self._ws.events():
                if isinstance(event, TextMessage):
                    return dict(json.loads(event.data))
            self._ws.receive_data(self._far.recv(4096))

    def closing(self) -> int:
        """Return the code of the close frame that comes."""
        while True:
            for event in self._ws.events():
                if isinstance(event, CloseConnection):
                    return int(event.code)
            self._ws.receive_data(self._far.recv(4096))

    def leave(self) -> None:
        """Close the tab."""
        self._far.close()


def test_every_browser_hears_the_topics_with_rising_versions(loop: SocketLoop) -> None:
    ticker = Ticker(interval=0.0, wall=lambda: 1000.0)
    browsers = [Browser(loop, ticker) for _ in range(2)]
    ticker.publish({"plans"})
    ticker.start()
    assert [one.next_tick() for one in browsers] == [{"topic": "plans", "version": 1_000_001}] * 2
    ticker.publish({"agents"})
    assert browsers[0].next_tick() == {"topic": "agents", "version": 1_000_002}
    ticker.stop()


def test_changes_in_between_are_one_tick_a_topic(loop: SocketLoop) -> None:
    ticker = Ticker(interval=0.0)
    browser = Browser(loop, ticker)
    for _ in range(50):
        ticker.publish({"frames"})
    ticker.publish({"plans"})
    ticker.start()
    assert [browser.next_tick()["topic"] for _ in range(2)] == ["frames", "plans"]
    ticker.stop()


def test_a_browser_that_leaves_is_forgotten(loop: SocketLoop) -> None:
    gone = threading.Event()

    class Counting(Ticker):
        def on_close(self, peer: Any, code: int, reason: str) -> None:
            super().on_close(peer, code, reason)
            gone.set()

    ticker = Counting()
    browser = Browser(loop, ticker)
    assert ticker.listener_count == 1
    browser.leave()
    assert gone.wait(10)
    assert ticker.listener_count == 0


def test_who_has_logged_out_hears_nothing_more_and_others_go_on(loop: SocketLoop) -> None:
    ticker = Ticker(interval=0.0)
    gone = Browser(loop, ticker, Viewer("1:1", "gone"))
    here = Browser(loop, ticker, Viewer("1:1", "here"))
    ticker.dismiss(lambda viewer: viewer.login_id == "gone")
    assert gone.closing() == 1008
    ticker.publish({"plans"})
    ticker.start()
    assert here.next_tick()["topic"] == "plans"
    ticker.stop()
