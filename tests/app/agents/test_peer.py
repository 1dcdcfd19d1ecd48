"""The socket loop on real sockets, without a server around it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Ping, TextMessage

from agent.protocol import CLOSE_GOING_AWAY, CLOSE_PROTOCOL, CLOSE_SLOW
from app.agents.peer import CLOSE_UNSUPPORTED, Peer
from app.agents.sockets import CLOSE_ABNORMAL, SocketLoop

PATIENCE = 10.0


class Ears:
    """Hears one socket."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.heard = threading.Event()
        self.closed = threading.Event()
        self.code = 0
        self.refused_size = 0

    def on_message(self, peer: Peer, text: str) -> None:
        self.texts.append(text)
        self.heard.set()

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        self.code = code
        self.refused_size = peer.refused_size
        self.closed.set()


class Line:
    """A socket in a loop, and its other end in the test's hands."""

    def __init__(self, loop: SocketLoop) -> None:
        ours, self.far = socket.socketpair()
        self.far.settimeout(PATIENCE)
        self.ws = Connection(ConnectionType.CLIENT)
        self.ears = Ears()
        self.peer = loop.peer(ours, self.ears)
        loop.admit(self.peer, b"")

    def say(self, event: Event) -> None:
        self.far.sendall(self.ws.send(event))

    def hear(self, kind: type[Event]) -> Event:
        """Return the next event of this kind; answers nothing."""
        while True:
            for event in self.ws.events():
                if isinstance(event, kind):
                    return event
            self.ws.receive_data(self.far.recv(65536) or None)


@pytest.fixture
def loop() -> Iterator[SocketLoop]:
    loop = SocketLoop(60.0, 512 * 1024, flush_seconds=0.1)
    loop.start()
    yield loop
    loop.stop()


def test_text_goes_both_ways(loop: SocketLoop) -> None:
    line = Line(loop)
    line.say(TextMessage(data="你好"))
    assert line.ears.heard.wait(PATIENCE)
    assert line.ears.texts == ["你好"]
    line.peer.send("再见".encode())
    assert line.hear(TextMessage) == TextMessage(data="再见")


def test_a_peer_that_does_not_read_is_dropped(loop: SocketLoop) -> None:
    line = Line(loop)
    for _ in range(200):
        line.peer.send(b"x" * 16_384)
    assert line.ears.closed.wait(PATIENCE)
    assert line.ears.code == CLOSE_SLOW
    assert loop.peer_count == 0


def test_a_peer_that_pings_and_does_not_read_the_answers_is_dropped(loop: SocketLoop) -> None:
    """Each ping is answered, so that it alone says how much waits for it (I10)."""
    line = Line(loop)
    ping = line.ws.send(Ping(payload=b"x" * 125))
    with suppress(OSError):
        for _ in range(64):
            line.far.sendall(ping * 1_000)
    assert line.ears.closed.wait(PATIENCE)
    assert line.ears.code == CLOSE_SLOW
    assert loop.peer_count == 0


def test_a_slow_reader_that_catches_up_gets_every_byte(loop: SocketLoop) -> None:
    line = Line(loop)
    for _ in range(20):
        line.peer.send(b"x" * 16_384)
    received = 0
    while received < 20 * 16_384:
        event = line.hear(TextMessage)
        assert isinstance(event, TextMessage)
        received += len(event.data)
    assert not line.ears.closed.is_set()


def test_a_peer_that_gives_no_sign_of_life_is_closed() -> None:
    loop = SocketLoop(0.02, 512 * 1024, flush_seconds=0.1)
    loop.start()
    line = Line(loop)
    line.hear(Ping)
    close = line.hear(CloseConnection)
    assert isinstance(close, CloseConnection)
    assert close.code == CLOSE_SLOW
    assert line.ears.closed.wait(PATIENCE)
    loop.stop()


def test_a_peer_that_vanishes_is_noticed(loop: SocketLoop) -> None:
    line = Line(loop)
    line.far.close()
    assert line.ears.closed.wait(PATIENCE)
    assert line.ears.code == CLOSE_ABNORMAL


def test_a_paused_peer_is_read_again_when_resumed(loop: SocketLoop) -> None:
    line = Line(loop)
    line.peer.pause()
    line.peer.send(b"paused")
    line.hear(TextMessage)
    line.say(TextMessage(data="later"))
    assert line.ears.texts == []
    line.peer.resume()
    assert line.ears.heard.wait(PATIENCE)


def test_binary_and_broken_frames_close_the_socket(loop: SocketLoop) -> None:
    for frame, code in ((b"\x82\x81\0\0\0\0x", CLOSE_UNSUPPORTED), (b"\xff\xff\0\0\0\0x", CLOSE_PROTOCOL)):
        line = Line(loop)
        line.far.sendall(frame)
        close = line.hear(CloseConnection)
        assert isinstance(close, CloseConnection)
        assert close.code == code
        assert line.ears.closed.wait(PATIENCE)
        assert line.ears.refused_size > 0


def test_stopping_closes_every_socket_with_going_away(loop: SocketLoop) -> None:
    lines = [Line(loop) for _ in range(3)]
    stopper = threading.Thread(target=loop.stop)
    stopper.start()
    for line in lines:
        close = line.hear(CloseConnection)
        assert isinstance(close, CloseConnection)
        assert close.code == CLOSE_GOING_AWAY
        line.say(close.response())
        assert line.ears.closed.wait(PATIENCE)
    stopper.join(PATIENCE)
