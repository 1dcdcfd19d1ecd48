"""Disks and databases that take no writes: no acknowledgement, readiness red, nothing lost."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from flask import Flask
from sqlalchemy import func, select
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from agent.answers import RepairFinished
from agent.commands import JOURNAL_UNREADABLE
from agent.errors import JournalError
from agent.journal import Journal
from agent.message import Message
from agent.protocol import Ack, Log, Rejected, Repair, ToAgent, decode_to_agent, encode
from app.agents.hub import INBOX_LIMIT, AgentSession
from app.agents.models import Frame, ReceivedMessage
from app.agents.sockets import READ_BYTES
from app.agents.writer import Job, Writer
from app.extensions import db
from app.unit_of_work import WorkSession
from tests.agent.test_commands import Desk, repair
from tests.app.agents.agent_client import hello
from tests.app.agents.conftest import add_agent, add_group, order, stored
from tests.app.agents.test_writer import complaint, make_full, stored_ids
from tests.conftest import HandClock
from tests.factories import finished
from tests.faults.conftest import Scene
from tests.faults.test_frames import send_until_no_more_is_read
from tests.server_databases import another_writer

PATIENCE = 20.0
T = TypeVar("T", bound=Message)


@pytest.fixture
def writer(app: Flask) -> Iterator[Writer]:
    """The runtime's own writer, so that readiness sees its trouble."""
    runtime = app.extensions["runtime"]
    runtime.writer.start()
    runtime.dispatcher.start()
    runtime.is_running = True
    yield runtime.writer
    runtime.is_running = False
    runtime.dispatcher.stop()
    runtime.writer.stop()


@contextmanager
def full(app: Flask) -> Iterator[None]:
    """The file cannot grow."""
    make_full(app, True)
    try:
        yield
    finally:
        make_full(app, False)


@pytest.mark.each_engine
def test_what_is_acknowledged_is_on_the_disk_and_outlives_a_loss_of_power(app: Flask) -> None:
    """An agent forgets its result on the Ack."""
    question, durable = {
        "sqlite": ("PRAGMA synchronous", 2),
        "postgresql": ("SHOW synchronous_commit", "on"),
    }[db.engine.dialect.name]
    with db.engine.connect() as connection:
        assert connection.exec_driver_sql(question).scalar() == durable


@pytest.mark.each_engine
def test_a_server_database_another_process_writes_acknowledges_nothing_and_loses_nothing(
    writer: Writer, clock: HandClock, app: Flask
) -> None:
    tell_of_trouble(app, writer, clock, another_writer())


def test_a_server_database_that_is_full_acknowledges_nothing_and_loses_nothing(
    writer: Writer, clock: HandClock, app: Flask
) -> None:
    tell_of_trouble(app, writer, clock, full(app))


def tell_of_trouble(
    app: Flask, writer: Writer, clock: HandClock, trouble: AbstractContextManager[None]
) -> None:
    """While there is trouble nothing is acknowledged and readiness says so; afterwards all is written."""
    acknowledged = threading.Event()

    def run(session: WorkSession) -> None:
        rows = [ReceivedMessage(agent_id=1, message_id=f"{number:040}", at=clock()) for number in range(3000)]
        session.add_all(rows)
        session.after_commit(acknowledged.set)

    def unexpected(error: Exception) -> None:
        raise AssertionError(error)

    with trouble, complaint("app.agents.writer") as complained:
        writer.submit(Job(run, unexpected))
        assert complained.wait(PATIENCE)
        assert not acknowledged.is_set()
        assert writer.trouble
        answer = app.test_client().get("/healthz")
        assert (answer.status_code, answer.json["status"]) == (503, "not ready")  # type: ignore[index]
    assert acknowledged.wait(PATIENCE)
    assert writer.flush()
    assert writer.trouble == ""
    assert len(stored_ids()) == 3000


class Speaker:
    """One agent on a real socket before the running parts of a server; ``heard`` counts what was handled."""

    def __init__(self, app: Flask, clock: HandClock) -> None:
        self.member = add_agent("fast", add_group("PBAP", clock()), clock())
        self._runtime = app.extensions["runtime"]
        self.heard = threading.Semaphore(0)
        self._handle = self._runtime.hub.on_message
        self._runtime.hub.on_message = self._count
        near, self.far = socket.socketpair()
        self._wire = Connection(ConnectionType.CLIENT)
        self.session = AgentSession(self._runtime.hub, self.member.id, self.member.group_id, "PBAP", "")
        self.session.peer = self._runtime.loop.peer(near, self.session)
        self._runtime.loop.start()
        self._runtime.hub.start()
        self._runtime.inbox.connect(self.session)
        self._runtime.loop.admit(self.session.peer, b"")

    def _count(self, session: AgentSession, text: str) -> None:
        self._handle(session, text)
        self.heard.release()

    def say(self, message: Message) -> None:
        """Send a message and wait until a worker has taken it."""
        self.far.sendall(frame_of(message))
        assert self.heard.acquire(timeout=PATIENCE)

    def has_come(self) -> list[ToAgent]:
        """The messages that have come since it last looked."""
        self.far.setblocking(False)
        with suppress(BlockingIOError):
            while received := self.far.recv(READ_BYTES):
                self._wire.receive_data(received)
        return [decode_to_agent(one.data) for one in self._wire.events() if isinstance(one, TextMessage)]

    def wait_for(self, kind: type[T]) -> T:
        """The first message of this kind that comes, past all before it."""
        self.far.settimeout(PATIENCE)
        while True:
            for one in self._wire.events():
                if isinstance(one, TextMessage) and isinstance(told := decode_to_agent(one.data), kind):
                    return told
            self._wire.receive_data(self.far.recv(READ_BYTES))

    def leave(self) -> None:
        self._runtime.loop.stop()
        self._runtime.hub.stop()
        self.far.close()


@pytest.fixture
def speaker(app: Flask, writer: Writer, clock: HandClock) -> Iterator[Speaker]:
    speaker = Speaker(app, clock)
    speaker.say(hello())
    assert writer.flush()
    yield speaker
    speaker.leave()


def frame_of(message: Message) -> bytes:
    return Connection(ConnectionType.CLIENT).send(TextMessage(data=encode(message).decode()))


@pytest.mark.parametrize("is_full", [False, True], ids=["locked", "full"])
def test_a_result_that_comes_while_the_database_takes_no_writes_is_acknowledged_once_it_is_stored(
    app: Flask, writer: Writer, speaker: Speaker, clock: HandClock, is_full: bool
) -> None:
    """From socket to row: no Ack, not ready, nothing lost; told again meanwhile, it counts once."""
    command_id = order(speaker.member, "TRD1", clock())
    speaker.wait_for(Repair)
    result = finished(stored(command_id), "repaired", reason="x" * 100_000)
    with full(app) if is_full else another_writer(), complaint("app.agents.writer") as complained:
        speaker.say(result)
        assert complained.wait(PATIENCE)
        speaker.say(result)
        assert app.test_client().get("/healthz").status_code == 503
        assert [one for one in speaker.has_come() if isinstance(one, Ack)] == []
    assert speaker.wait_for(Ack).of == result.id
    assert writer.flush()
    assert stored(command_id).state == "finished"
    assert stored_ids() == [result.id]
    assert writer.trouble == ""


ROOM = 100
BESIDE = 30
"""What the server writes of its own accord meanwhile, such as who is there."""


def test_while_the_database_is_locked_sockets_are_read_no_further_than_there_is_room(
    writer: Writer, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is bounded, whatever is sent (I10); once the lock is gone all of it is taken."""
    monkeypatch.setattr("app.agents.writer.ROOM", ROOM)
    frame = frame_of(Log(id="again", level="info", text="x" * 1_000))
    with another_writer():
        sent = send_until_no_more_is_read(speaker.far, frame)
        with writer._changed:
            assert writer._changed.wait_for(lambda: len(writer._items) >= ROOM, PATIENCE)
            assert len(writer._items) <= ROOM + BESIDE
        assert len(speaker.session.inbox) <= INBOX_LIMIT + 2 * READ_BYTES // len(frame)
        assert not writer.flush(0.0)
    whole = sent // len(frame)
    assert whole > ROOM + INBOX_LIMIT
    assert all(speaker.heard.acquire(timeout=PATIENCE) for _ in range(whole))
    assert writer.flush()
    kept = select(func.count()).select_from(Frame).where(Frame.type == "Log")
    assert db.session.scalar(kept) == whole


def test_a_tick_while_the_database_is_locked_begins_nothing_and_is_made_up_for(scene: Scene) -> None:
    """Its due time is claimed with what it begins, or not at all."""
    trade_no = scene.break_trade()
    with another_writer():
        scene.stage.tick()
    assert scene.state_of(trade_no) == "open"
    assert scene.stage.rows("SELECT count(*) FROM command") == [(0,)]
    scene.stage.tick()
    scene.go_on()
    assert [type(agent.journal[one].command) for agent, one in scene.held()] == [Repair]
    assert scene.stage.rows("SELECT attempts FROM anomaly") == [(1,)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.db")
    yield desk
    desk.leave()


def test_an_agent_whose_journal_is_full_refuses_repairs_says_so_and_loses_no_result(desk: Desk) -> None:
    """The result of what runs waits in memory until there is room; new work is refused meanwhile."""
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    pages = desk.journal._file.connection.execute("PRAGMA page_count").fetchone()[0]
    desk.journal._file.connection.execute(f"PRAGMA max_page_count = {pages}")
    desk.work.reason = "x" * 200_000
    desk.dispatcher.handle(repair(2, trade_no="T" * 200_000))
    refusal = desk.said(Rejected)[-1]
    assert (refusal.command_id, refusal.code) == ("command-2", "journal")
    assert "full" in refusal.reason
    desk.work.may_go_on.set()
    desk.settle()
    assert desk.delivered() == []
    desk.journal._file.connection.execute("PRAGMA max_page_count = 1000000")
    desk.dispatcher.heartbeat()
    (result,) = desk.delivered()
    assert isinstance(result, RepairFinished)
    assert result.command_id == "command-1"
    assert [trade_no for trade_no, *_ in desk.work.repaired] == ["T00000001"]


def test_an_agent_whose_journal_is_corrupt_does_not_start_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    for number in range(200):
        journal.receive(repair(number), "boot-1")
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 8192) + whole[-4096:])
    with pytest.raises(JournalError, match=r"is damaged .*move it away"):
        Journal(path)


PAGE = 4096


def test_an_agent_whose_journal_is_damaged_while_it_runs_refuses_repairs_says_so_and_loses_no_result(
    desk: Desk,
) -> None:
    """The disk breaks under the open file: what runs ends, and its result waits; nothing new is taken."""
    desk.journal.receive_all([repair(number) for number in range(100, 300)], "boot-0")
    desk.work.may_go_on.clear()
    desk.dispatcher.handle(repair(1))
    assert desk.work.is_working.wait(PATIENCE)
    whole = written_out(desk.journal)
    damage(desk.journal, whole[:PAGE] + b"\xa5" * (len(whole) - PAGE))
    for number in (2, 3):
        desk.dispatcher.handle(repair(number))
        refusal = desk.said(Rejected)[-1]
        assert (refusal.command_id, refusal.code) == (f"command-{number}", "journal")
        assert "malformed" in refusal.reason
    desk.work.may_go_on.set()
    desk.settle()
    assert desk.dispatcher.heartbeat().journal_length == JOURNAL_UNREADABLE
    assert [line.level for line in desk.said(Log)] == ["error"] * 3
    assert [ack.command_id for ack in desk.said(Ack)] == ["command-1"]
    damage(desk.journal, whole)
    desk.dispatcher.heartbeat()
    (result,) = desk.delivered()
    assert (result.command_id, type(result)) == ("command-1", RepairFinished)
    assert [trade_no for trade_no, *_ in desk.work.repaired] == ["T00000001"]


def written_out(journal: Journal) -> bytes:
    """All that the journal holds, in its one file."""
    journal._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return journal._file.path.read_bytes()


def damage(journal: Journal, contents: bytes) -> None:
    """The disk now reads so; nothing of before is still in memory."""
    with journal._file.path.open("r+b") as file:
        file.write(contents)
    journal._file.connection.execute("PRAGMA shrink_memory")
