"""The agent's connection against a real socket: handshake, replay, life signs, limits, endings."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.connection import Ending, Link, LinkSettings
from agent.envelope import new_id
from agent.journal import Journal, Unsent
from agent.outbox import Outbox
from agent.pacing import MOST_HURRIED, Backoff, Waker
from agent.protocol import (
    CLOSE_GOING_AWAY,
    CLOSE_PROTOCOL,
    CLOSE_REPLACED,
    CLOSE_REVOKED,
    CLOSE_SLOW,
    CLOSE_TOO_BIG,
    MAX_FRAME_BYTES,
    Ack,
    Heartbeat,
    Hello,
    Log,
    Rejected,
    ToAgent,
    Verify,
)
from tests.fakes.fake_server import PATIENCE, FakeServer


class AtOnce(Backoff):
    """Comes back without waiting; notes how often it was asked and told that all is well."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.resets = 0

    def next(self, *, is_urgent: bool = False) -> float:
        self.asked += 1
        return 0.01

    def reset(self) -> None:
        self.resets += 1


class Listener:
    """A session that keeps what it is given."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.handled: list[ToAgent] = []
        self.together: list[tuple[ToAgent, ...]] = []
        self.on_message: Callable[[ToAgent], None] = lambda message: None

    def hello(self) -> Hello:
        return Hello(
            id=new_id(),
            name="pbap-1",
            boot_id="boot",
            journal_id="journal",
            version="0",
            host="h",
            fixer_codes=(),
            agent_time="2026-03-02T12:00:00Z",
        )

    def is_urgent(self) -> bool:
        return False

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(id=new_id(), agent_time="2026-03-02T12:00:00Z")

    def handle(self, *messages: ToAgent) -> None:
        self.together.append(messages)
        for message in messages:
            self.handled.append(message)
            if isinstance(message, Ack):
                self._outbox.acknowledge(message.of)
            self.on_message(message)


class InterruptedOutbox(Outbox):
    """While the link asks what is to be sent, a worker goes on: once, as ``meanwhile`` says."""

    meanwhile: Callable[[], None] | None = None

    def next(self, limit: int) -> list[Unsent]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().next(limit)


class LinkedAgent:
    """A link on a thread of its own."""

    def __init__(self, port: int, journal: Path, monotonic: Callable[[], float] | None = None) -> None:
        self.journal = Journal(journal)
        self.waker = Waker()
        self.outbox = InterruptedOutbox(self.journal, self.waker)
        self.backoff = AtOnce()
        clock = {} if monotonic is None else {"monotonic": monotonic}
        settings = LinkSettings(url=f"ws://127.0.0.1:{port}/agent", token="the-token")
        self.link = Link(settings, self.outbox, self.waker, backoff=self.backoff, **clock)
        self.listener = Listener(self.outbox)
        self.ending: Ending | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.ending = self.link.run(self.listener)

    def start(self) -> "LinkedAgent":
        self._thread.start()
        return self

    def wait_until_over(self) -> Ending | None:
        self._thread.join(PATIENCE)
        return self.ending

    def stop(self) -> None:
        self.link.stop()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()
        self.journal.close()
        self.waker.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[LinkedAgent]:
    agent = LinkedAgent(server.port, tmp_path / "journal.db")
    yield agent
    agent.stop()


def line(text: str) -> Log:
    return Log(id=f"log-{text}", level="info", text=text)


def texts(server: FakeServer) -> list[str]:
    return [message.text for message in server.of(Log)]


def test_the_handshake_carries_the_token_and_neither_origin_nor_extension(
    server: FakeServer, agent: LinkedAgent
) -> None:
    agent.start()
    session = server.session()
    assert session.target == "/agent"
    assert session.headers["authorization"] == "Bearer the-token"
    assert "origin" not in session.headers
    assert session.extensions == []


def test_hello_is_the_first_frame_and_the_outbox_follows_in_order(
    server: FakeServer, agent: LinkedAgent
) -> None:
    for text in "abc":
        agent.outbox.put(line(text))
    agent.start()
    server.first(Log, 3)
    assert [type(message).__name__ for message in server.received] == ["Hello", "Log", "Log", "Log"]
    assert texts(server) == ["a", "b", "c"]


def test_a_long_outbox_is_sent_whole_and_in_order(server: FakeServer, agent: LinkedAgent) -> None:
    for number in range(200):
        agent.outbox.put(line(str(number)))
    agent.start()
    server.first(Log, 200)
    assert texts(server) == [str(number) for number in range(200)]


def test_what_is_not_acknowledged_is_sent_again_after_a_lost_connection(
    server: FakeServer, agent: LinkedAgent
) -> None:
    server.acknowledges = lambda message: isinstance(message, Log) and message.text == "a"
    agent.start()
    session = server.session()
    agent.outbox.put(line("a"))
    agent.outbox.put(line("b"))
    server.first(Log, 2)
    session.send(Verify(id="last", trade_no="T"))
    wait_for(agent, lambda: any(isinstance(message, Verify) for message in agent.listener.handled))
    session.cut()
    server.session(2)
    server.first(Log, 3)
    assert texts(server) == ["a", "b", "b"]


def wait_for(agent: LinkedAgent, is_so: Callable[[], bool]) -> None:
    """Wait until something is so after a handled message."""
    handled = threading.Event()
    agent.listener.on_message = lambda _: handled.set() if is_so() else None
    if not is_so():
        assert handled.wait(PATIENCE)


def test_a_message_put_while_connected_goes_out_at_once(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session()
    agent.outbox.put(line("now"))
    assert server.first(Log).text == "now"
    assert agent.outbox.wait_until_empty(PATIENCE)


def test_a_hint_is_sent_while_connected_and_lost_otherwise(server: FakeServer, agent: LinkedAgent) -> None:
    agent.link.hint(line("too early"))
    agent.start()
    server.session()
    agent.link.is_live.wait(PATIENCE)
    agent.link.hint(line("in time"))
    server.first(Log)
    assert texts(server) == ["in time"]


def test_a_hint_leaves_before_a_durable_message_that_came_after_it(
    server: FakeServer, agent: LinkedAgent
) -> None:
    def begin_and_end() -> None:
        agent.link.hint(line("started"))
        agent.outbox.put(line("result"))

    agent.start()
    server.session()
    agent.link.is_live.wait(PATIENCE)
    agent.outbox.meanwhile = begin_and_end
    agent.waker()
    server.first(Log, 2)
    assert texts(server) == ["started", "result"]


def test_of_hints_that_cannot_go_out_only_the_newest_are_kept(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a server reads nothing workers go on; what they hint at costs no more memory (I10)."""
    monkeypatch.setattr("agent.connection.HINTS_KEPT", 8)
    agent = LinkedAgent(server.port, tmp_path / "few.db").start()
    server.session()
    agent.link.is_live.wait(PATIENCE)
    agent.outbox.meanwhile = lambda: [agent.link.hint(line(str(number))) for number in range(20)].clear()
    agent.waker()
    server.first(Log, 8)
    agent.outbox.put(line("end"))
    server.first(Log, 9)
    assert texts(server) == [*map(str, range(12, 20)), "end"]
    agent.stop()


def test_a_hint_too_large_for_a_frame_is_left_out(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session()
    agent.link.is_live.wait(PATIENCE)
    agent.link.hint(Log(id="big", level="info", text="x" * MAX_FRAME_BYTES))
    agent.link.hint(line("small"))
    assert server.first(Log).text == "small"


def test_the_outbox_survives_the_process(server: FakeServer, tmp_path: Path) -> None:
    before = LinkedAgent(server.port, tmp_path / "shared.db")
    before.outbox.put(line("kept"))
    before.stop()
    after = LinkedAgent(server.port, tmp_path / "shared.db").start()
    assert server.first(Log).text == "kept"
    after.stop()


def test_heartbeats_come_at_the_interval_of_the_welcome(tmp_path: Path) -> None:
    with FakeServer(heartbeat_ms=20) as server:
        agent = LinkedAgent(server.port, tmp_path / "journal.db").start()
        server.session()
        pump = threading.Event()
        agent.listener.on_message = lambda _: pump.set()
        for number in range(3):
            server.session().send(Verify(id=f"alive-{number}", trade_no="T"))
            server.first(Heartbeat, number + 1)
        agent.stop()


def test_a_silent_server_is_left_after_missed_heartbeats(tmp_path: Path) -> None:
    with FakeServer(heartbeat_ms=20) as server:
        agent = LinkedAgent(server.port, tmp_path / "journal.db").start()
        first = server.session(1)
        server.session(2)
        server.wait(first.ended.is_set)
        assert first.close_code == CLOSE_SLOW
        agent.stop()


def test_it_comes_back_when_the_server_is_started_again(tmp_path: Path) -> None:
    first = FakeServer()
    agent = LinkedAgent(first.port, tmp_path / "journal.db").start()
    first.session()
    first.stop()
    agent.outbox.put(line("meanwhile"))
    with FakeServer(first.port) as second:
        assert second.first(Log).text == "meanwhile"
        assert agent.backoff.asked >= 1
        agent.stop()


def test_a_closed_session_is_taken_up_again(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session(1).close(CLOSE_GOING_AWAY, "restart")
    server.session(2)
    assert agent.ending is None


def test_a_replaced_session_ends_the_agent(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session().close(CLOSE_REPLACED)
    assert agent.wait_until_over() is Ending.REPLACED


def test_a_revoked_token_ends_the_agent(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session().close(CLOSE_REVOKED)
    assert agent.wait_until_over() is Ending.REVOKED


def test_an_unknown_token_ends_the_agent(server: FakeServer, agent: LinkedAgent) -> None:
    server.refuse_with = 401
    agent.start()
    assert agent.wait_until_over() is Ending.REVOKED


def test_any_other_refusal_is_tried_again(server: FakeServer, agent: LinkedAgent) -> None:
    server.refuse_with = 503
    agent.start()
    server.wait(lambda: len(server.sessions) >= 3)
    server.refuse_with = None
    server.first(Hello)


def test_a_frame_beyond_the_limit_closes_with_1009(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    first = server.session(1)
    first.send_text("x" * (MAX_FRAME_BYTES + 1))
    server.wait(first.ended.is_set)
    assert first.close_code == CLOSE_TOO_BIG
    server.session(2)


def test_fragments_count_together_against_the_limit(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    first = server.session(1)
    first.send_text("x" * (MAX_FRAME_BYTES + 1), fragments=4)
    server.wait(first.ended.is_set)
    assert first.close_code == CLOSE_TOO_BIG


def test_a_message_in_fragments_is_put_together(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    server.session().send_text('{"type":"Verify","id":"v1","trade_no":"T1"}', fragments=5)
    wait_for(agent, lambda: Verify(id="v1", trade_no="T1") in agent.listener.handled)


@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("not json", None),
        ("[]", None),
        ('{"type":"Dance","id":"d1"}', "d1"),
        ('{"type":"Verify","id":"v1"}', "v1"),
        ('{"type":"Verify","id":"v1","trade_no":"T","amount":5}', "v1"),
        ('{"type":"Verify","id":"v1","v":2,"trade_no":"T"}', "v1"),
    ],
)
def test_a_frame_that_cannot_be_read_is_rejected_and_the_session_goes_on(
    server: FakeServer, agent: LinkedAgent, text: str, of: str | None
) -> None:
    agent.start()
    server.session().send_text(text)
    answer = server.first(Rejected)
    assert (answer.of, answer.code) == (of, "malformed")
    agent.outbox.put(line("still here"))
    assert server.first(Log).text == "still here"
    assert len(server.sessions) == 1


def test_frames_that_wait_together_are_handed_over_together_in_their_order(
    server: FakeServer, agent: LinkedAgent
) -> None:
    """While the session is at the first one, three more come, one of which cannot be read; then a goodbye."""
    is_first, may_go_on = threading.Event(), threading.Event()

    def hold(message: ToAgent) -> None:
        is_first.set()
        assert may_go_on.wait(PATIENCE)

    agent.listener.on_message = hold
    agent.start()
    session = server.session()
    session.send(Verify(id="v0", trade_no="T0"))
    assert is_first.wait(PATIENCE)
    for number in (1, 2, 3):
        session.send(Verify(id=f"v{number}", trade_no=f"T{number}"))
        if number == 1:
            session.send_text('{"type":"Dance","id":"d1"}')
    session.close(CLOSE_REPLACED)
    may_go_on.set()
    assert agent.wait_until_over() is Ending.REPLACED
    handed = [[one.id for one in messages] for messages in agent.listener.together]
    assert handed == [["v0"], ["v1", "v2", "v3"]]


def test_a_first_frame_that_is_no_welcome_is_a_protocol_error(server: FakeServer, agent: LinkedAgent) -> None:
    server.greeting = lambda: Verify(id="v", trade_no="T")
    agent.start()
    server.wait(lambda: bool(server.sessions) and server.sessions[0].ended.is_set())
    assert server.sessions[0].close_code == CLOSE_PROTOCOL
    assert server.received == []


def test_stopping_says_goodbye_with_1001(server: FakeServer, agent: LinkedAgent) -> None:
    agent.start()
    session = server.session()
    agent.link.stop()
    assert agent.wait_until_over() is Ending.STOPPED
    server.wait(session.ended.is_set)
    assert session.close_code == CLOSE_GOING_AWAY


def test_stopping_does_not_wait_for_the_next_attempt(tmp_path: Path) -> None:
    with FakeServer() as server:
        port = server.port
    agent = LinkedAgent(port, tmp_path / "journal.db")
    agent.backoff.next = lambda *, is_urgent=False: 3600.0  # type: ignore[method-assign]
    agent.start()
    agent.stop()
    assert agent.ending is Ending.STOPPED


def test_a_session_of_a_minute_makes_the_next_attempt_quick_again(server: FakeServer, tmp_path: Path) -> None:
    ticks = iter([0.0] * 4)
    agent = LinkedAgent(server.port, tmp_path / "j.db", lambda: next(ticks, 61.0)).start()
    server.session().close(CLOSE_GOING_AWAY)
    server.session(2)
    assert agent.backoff.resets >= 1
    agent.stop()


def test_an_unexpected_error_in_a_session_does_not_end_the_agent(
    server: FakeServer, agent: LinkedAgent
) -> None:
    def fail(_: ToAgent) -> None:
        raise ZeroDivisionError("a fault of ours")

    agent.listener.on_message = fail
    agent.start()
    server.session().send(Verify(id="v", trade_no="T"))
    server.session(2)


def test_waits_double_to_half_a_minute_and_are_spread_out() -> None:
    assert waits(Backoff(lambda: 0.0), 7) == [0.5, 1, 2, 4, 8, 15, 15]
    assert waits(Backoff(lambda: 1.0), 7) == [1, 2, 4, 8, 16, 30, 30]
    assert len(set(waits(Backoff(), 1) + waits(Backoff(), 1))) == 2


def test_a_reset_begins_at_a_second_again() -> None:
    backoff = Backoff(lambda: 1.0)
    waits(backoff, 5)
    backoff.reset()
    assert backoff.next() == 1


def test_what_is_urgent_waits_no_longer_each_time_for_about_half_a_minute() -> None:
    backoff = Backoff(lambda: 1.0)
    hurried = [backoff.next(is_urgent=True) for _ in range(MOST_HURRIED + 3)]
    assert hurried == [1.0] * MOST_HURRIED + [1, 2, 4]


def waits(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next() for _ in range(count)]
