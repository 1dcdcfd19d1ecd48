"""Frames no honest agent sends, on real sockets: the right close code, flat memory, other agents well."""

import os
import random
import socket
import struct
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import websocket
from websocket import ABNF
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from agent.connection import LinkSettings
from agent.pacing import BACKOFF_CAP, Backoff
from agent.protocol import (
    CLOSE_BAD_DATA,
    CLOSE_PROTOCOL,
    CLOSE_TOO_BIG,
    Log,
    Repair,
    Verify,
)
from agent.wire import Wire
from app.agents.frames import FrameLog
from app.agents.hub import INBOX_LIMIT, AgentSession, Hub
from app.agents.models import Agent
from app.agents.sockets import READ_BYTES, SocketLoop
from app.extensions import db
from tests.agent.test_connection import LinkedAgent
from tests.app.agents.agent_client import AgentClient
from tests.app.agents.conftest import Member, add_agent
from tests.app.agents.test_sockets import issue
from tests.app.live_server import LiveServer
from tests.fakes.fake_server import FakeServer

GIGABYTE: Final = 1024**3
TEXT: Final = 0x01
TEXT_FRAME: Final = 0x80 | TEXT
CONTINUED: Final = 0x00
LAST_FRAGMENT: Final = 0x80
PING: Final = 0x09
COMPRESSED: Final = 0x40
"""RSV1: the message is compressed, which nobody negotiated."""
ZEROS: Final = bytes(4)
NO_UTF_8: Final = b'{"type":"\xc3\x28"}'
PATIENCE: Final = 20.0
FLAT_BYTES: Final = 24 * 1024 * 1024


def frame_of(first: int, payload: bytes, announced: int | None = None) -> bytes:
    """A masked frame whose header may announce more than follows."""
    size = len(payload) if announced is None else announced
    if size < 126:
        header = struct.pack("!BB", first, 0x80 | size)
    elif size < 2**16:
        header = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", first, 0x80 | 127, size)
    return header + ZEROS + payload


def bomb() -> bytes:
    """64 MB of zeros in 64 KB, as permessage-deflate would send them."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = press.compress(bytes(64 * 1024 * 1024)) + press.flush(zlib.Z_SYNC_FLUSH)
    return frame_of(TEXT_FRAME | COMPRESSED, zeros.removesuffix(b"\x00\x00\xff\xff"))


def in_fragments() -> bytes:
    """The beginning of a message whose end never comes; no header tells more than 64 KB."""
    begun, more = frame_of(TEXT, b" " * 65_535), frame_of(CONTINUED, b" " * 65_535)
    return begun + more * 7


FRAMES: Final = {
    "a gigabyte in fragments": (in_fragments(), CLOSE_TOO_BIG),
    "a gigabyte announced": (frame_of(TEXT_FRAME, b" " * 300_000, GIGABYTE), CLOSE_TOO_BIG),
    "a compressed bomb": (bomb(), CLOSE_PROTOCOL),
    "invalid UTF-8": (frame_of(TEXT_FRAME, NO_UTF_8), CLOSE_BAD_DATA),
    "more than any length": (frame_of(TEXT_FRAME, b"", 2**63), CLOSE_PROTOCOL),
}


def memory_of(server: LiveServer) -> int:
    """The resident bytes of the server's worker process."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children]
    return max(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", FRAMES)
def test_a_hostile_frame_closes_its_socket_with_the_right_code_and_costs_nothing(
    server: LiveServer,
    live_member: Member,
    client: AgentClient,
    connected: Callable[..., AgentClient],
    name: str,
) -> None:
    payload, code = FRAMES[name]
    with server.app.app_context():
        hostile = add_agent(f"hostile-{random.random()}", live_member.group_id, datetime.now(UTC))
    codes = []
    before = 0
    for number in range(6):
        bad = connected(hostile.token)
        bad.greet()
        bad.ws.sock.sendall(payload)
        codes.append(bad.close_code())
        bad.ws.shutdown()
        before = before or (memory_of(server) if number else 0)
    assert codes == [code] * 6
    assert memory_of(server) - before < FLAT_BYTES
    issue(server, live_member, f"TRD-{name}")
    assert client.take(Repair).trade_no == f"TRD-{name}"


def test_a_truncated_frame_ends_its_own_socket_only(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Callable[..., AgentClient]
) -> None:
    """The peer dies in the middle of a frame: it is noticed as gone, nothing of the frame is taken."""
    with server.app.app_context():
        dying = add_agent(f"dying-{random.random()}", live_member.group_id, datetime.now(UTC))
    half = connected(dying.token)
    half.greet()
    server.until(lambda: db.session.get_one(Agent, dying.id).connected_at is not None)
    half.ws.sock.sendall(frame_of(TEXT_FRAME, b'{"type":"Log"', 100))
    half.ws.sock.shutdown(socket.SHUT_RDWR)
    server.until(lambda: db.session.get_one(Agent, dying.id).connected_at is None)
    issue(server, live_member, "TRD-after")
    assert client.take(Repair).trade_no == "TRD-after"


class SlowHub:
    """A hub whose handler works only when told, and a socket that is never read of more than it can take."""

    def __init__(self) -> None:
        self.loop = SocketLoop(60.0, 512 * 1024)
        self.hub = Hub(self.loop, FrameLog(lambda row: None, lambda: datetime.now(UTC)))
        self.may_work = threading.Event()
        self.taken: list[str] = []
        self.changed = threading.Condition()
        self.hub.on_message = self._take
        ours, self.far = socket.socketpair()
        self.session = AgentSession(self.hub, 1, 1, "PBAP", "")
        self.session.peer = self.loop.peer(ours, self.session)
        self.loop.start()
        self.hub.start()
        self.loop.admit(self.session.peer, b"")

    def _take(self, session: AgentSession, text: str) -> None:
        assert self.may_work.wait(PATIENCE)
        with self.changed:
            self.taken.append(text)
            self.changed.notify_all()

    def stop(self) -> None:
        self.may_work.set()
        self.loop.stop()
        self.hub.stop()
        self.far.close()


@pytest.fixture
def slow() -> Iterator[SlowHub]:
    slow = SlowHub()
    yield slow
    slow.stop()


def send_until_no_more_is_read(far: socket.socket, message: bytes) -> int:
    """Send the frame again and again until half a second passes in which nothing is taken.

    Returns the bytes sent, of which the last frame may be a part.
    """
    far.setblocking(False)
    sent = 0
    rounds_without_room = 0
    while rounds_without_room < 50:
        try:
            sent += far.send(message[sent % len(message) :])
            rounds_without_room = 0
        except BlockingIOError:
            rounds_without_room += 1
            threading.Event().wait(0.01)
        assert sent < 64 * 1024 * 1024, "the server reads for ever"
    return sent


def test_a_fast_sender_with_a_slow_server_is_read_no_further(slow: SlowHub) -> None:
    """What waits is bounded by the inbox and one read; the rest stays in the sender's own buffers (I10)."""
    message = Connection(ConnectionType.CLIENT).send(TextMessage(data="x" * 1_000))
    sent = send_until_no_more_is_read(slow.far, message)
    waiting = len(slow.session.inbox)
    assert INBOX_LIMIT <= waiting <= INBOX_LIMIT + 2 * READ_BYTES // len(message)
    slow.may_work.set()
    whole = sent // len(message)
    with slow.changed:
        assert slow.changed.wait_for(lambda: len(slow.taken) == whole, PATIENCE)


def ping_until_dropped(sock: socket.socket) -> None:
    """Ask for an answer two million times; returns where nobody minds."""
    pings = frame_of(LAST_FRAGMENT | PING, b" " * 125) * 1_000
    for _ in range(2_000):
        sock.sendall(pings)


def test_an_agent_that_never_reads_is_dropped_and_others_go_on(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Callable[..., AgentClient]
) -> None:
    """It asks for answers without an end: no more of them wait for it than one peer may have (I10)."""
    with server.app.app_context():
        deaf = add_agent(f"deaf-{random.random()}", live_member.group_id, datetime.now(UTC))
    bad = connected(deaf.token)
    bad.greet()
    server.until(lambda: db.session.get_one(Agent, deaf.id).connected_at is not None)
    before = memory_of(server)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        ping_until_dropped(bad.ws.sock)
    assert memory_of(server) - before < FLAT_BYTES
    server.until(lambda: db.session.get_one(Agent, deaf.id).connected_at is None)
    issue(server, live_member, "TRD-beside")
    assert client.take(Repair).trade_no == "TRD-beside"


def test_a_thousand_agents_that_lose_a_server_come_back_spread_out() -> None:
    """No two tenths of a wait differ much, and a server that stays away is asked ever more seldom."""
    chance = random.Random(20260302)
    agents = [Backoff(chance.random) for _ in range(1_000)]
    peaks = []
    for attempt in range(7):
        waits = [agent.next() for agent in agents]
        longest = min(BACKOFF_CAP, 2.0**attempt)
        assert all(longest / 2 <= wait < longest for wait in waits)
        tenths = Counter(int((wait - longest / 2) / (longest / 20)) for wait in waits)
        assert len(tenths) == 10
        assert max(tenths.values()) < 150
        peaks.append(max(Counter(int(wait) for wait in waits).values()))
    assert all(later <= earlier for earlier, later in pairwise(peaks[1:]))
    assert peaks[-1] < 100


AGENT_SIDE: Final = {
    "a gigabyte announced": (struct.pack("!BBQ", TEXT_FRAME, 127, GIGABYTE), CLOSE_TOO_BIG),
    "a compressed bomb": (bytes([TEXT_FRAME | COMPRESSED, 4]) + b"\x00\x00\x00\x00", CLOSE_PROTOCOL),
    "invalid UTF-8": (bytes([TEXT_FRAME, len(NO_UTF_8)]) + NO_UTF_8, CLOSE_BAD_DATA),
    "invalid UTF-8 over two fragments": (
        bytes([TEXT, 10]) + NO_UTF_8[:10] + bytes([LAST_FRAGMENT, len(NO_UTF_8) - 10]) + NO_UTF_8[10:],
        CLOSE_BAD_DATA,
    ),
}


@pytest.mark.parametrize("name", AGENT_SIDE)
def test_a_hostile_server_is_left_by_the_agent_with_the_right_code(tmp_path: Path, name: str) -> None:
    """The same from the other side: what a header tells is refused by it alone; and the agent dials again."""
    raw, code = AGENT_SIDE[name]
    with FakeServer() as server:
        agent = LinkedAgent(server.port, tmp_path / "journal.db").start()
        first = server.session(1)
        first._sock.sendall(raw)
        server.wait(first.ended.is_set)
        assert first.close_code == code
        heard = threading.Event()
        agent.listener.on_message = lambda message: heard.set()
        server.session(2).send(Verify(id="v", trade_no="T"))
        assert heard.wait(PATIENCE)
        agent.stop()
        assert [type(message) for message in agent.listener.handled] == [Verify]


VERIFY: Final = b'{"type":"Verify","id":"cut","trade_no":"T"}'
CUT_OFF: Final = {
    "in its header": bytes([TEXT_FRAME]),
    "in its middle": bytes([TEXT_FRAME, len(VERIFY)]) + VERIFY[:20],
    "before its last byte": bytes([TEXT_FRAME, len(VERIFY)]) + VERIFY[:-1],
    "behind a fragment that says all": bytes([TEXT, len(VERIFY)]) + VERIFY,
}


@pytest.mark.parametrize("where", CUT_OFF)
def test_of_a_frame_that_its_server_cuts_off_an_agent_takes_nothing(tmp_path: Path, where: str) -> None:
    """It dials again, and what comes whole then is taken."""
    with FakeServer() as server:
        agent = LinkedAgent(server.port, tmp_path / "journal.db").start()
        first = server.session(1)
        first._sock.sendall(CUT_OFF[where])
        first.cut()
        heard = threading.Event()
        agent.listener.on_message = lambda message: heard.set()
        server.session(2).send(Verify(id="whole", trade_no="T"))
        assert heard.wait(PATIENCE)
        agent.stop()
        assert agent.listener.handled == [Verify(id="whole", trade_no="T")]


def test_fragments_without_a_byte_cost_an_agent_nothing() -> None:
    """However many of them a server sends, what waits of a message is no larger (I10)."""
    wire = Wire(websocket.WebSocket())
    assert wire._accept(ABNF.OPCODE_TEXT, False, b"{") is None
    for _ in range(10_000):
        assert wire._accept(ABNF.OPCODE_CONT, False, b"") is None
    assert sys.getsizeof(wire._fragments) < 1_000
    assert wire._accept(ABNF.OPCODE_CONT, True, b"}") == b"{}"


WRITE_SECONDS: Final = 0.5
MESSAGES: Final = 60


def impatient_dial(settings: LinkSettings) -> Wire:
    """As an agent dials, but no write may take longer than half a second, and little waits in the socket."""
    wire = Wire.connect(settings.url, settings.token, WRITE_SECONDS)
    wire._socket().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, READ_BYTES)
    return wire


def test_a_server_that_never_reads_is_left_by_the_agent_which_goes_on_writing_down(tmp_path: Path) -> None:
    """What it has to say waits in its journal, not in memory (I10), and comes by the next session (I5)."""
    with FakeServer() as server:
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        agent = LinkedAgent(server.port, tmp_path / "journal.db")
        agent.link._dial = impatient_dial
        agent.start()
        deaf = server.session(1)
        deaf.may_read.clear()
        for number in range(MESSAGES):
            agent.outbox.put(Log(id=f"log-{number}", level="info", text="x" * READ_BYTES))
        server.session(2)
        assert not deaf.ended.is_set()
        server.first(Log, MESSAGES)
        assert [log.id for log in server.of(Log)] == [f"log-{number}" for number in range(MESSAGES)]
        assert agent.outbox.wait_until_empty(PATIENCE)
        agent.stop()
