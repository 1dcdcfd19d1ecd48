"""When a session's socket is read no further, and when it is read again: what was decided last counts."""

from datetime import UTC, datetime

import pytest

from app.agents.frames import FrameLog
from app.agents.hub import INBOX_LIMIT, AgentSession, Hub
from app.agents.sockets import SocketLoop


class Slow:
    """What is told of a socket takes time, in which the other threads go on with it, if they can: once."""

    def __init__(self, session: AgentSession) -> None:
        self._session = session
        self._may_come_between = True
        self.is_paused = False

    def pause(self) -> None:
        """Meanwhile the workers handle all that waits."""
        if self._comes_between():
            work_off(self._session)
        self.is_paused = True

    def resume(self) -> None:
        """Meanwhile the loop goes through the rest of what it has read."""
        if self._comes_between():
            read(self._session, INBOX_LIMIT)
        self.is_paused = False

    def _comes_between(self) -> bool:
        may, self._may_come_between = self._may_come_between, False
        return may and not self._session._hub._lock.locked()


def work_off(session: AgentSession, turns: int = 100) -> None:
    """Have a worker handle what waits, in so many turns at most."""
    hub = session._hub
    for _ in range(turns):
        if session.inbox:
            hub._ready.put(None)
            hub._work()


def read(session: AgentSession, messages: int) -> None:
    for _ in range(messages):
        session._hub.receive(session, "text")


@pytest.fixture
def session() -> AgentSession:
    hub = Hub(SocketLoop(60.0, 1), FrameLog(lambda row: None, lambda: datetime.now(UTC)))
    session = AgentSession(hub, 1, 1, "PBAP", "")
    session.peer = Slow(session)  # type: ignore[assignment]  # what a socket is told of reading
    return session


def test_a_socket_whose_messages_are_handled_while_it_is_paused_is_read_again(session: AgentSession) -> None:
    """Told to pause behind being told to resume, it would never be read again, nor be missed."""
    read(session, INBOX_LIMIT)
    work_off(session)
    assert not session.inbox
    assert session.peer is not None
    assert (session.is_paused, session.peer.is_paused) == (False, False)


def test_a_socket_that_has_more_while_it_is_resumed_is_paused_again(session: AgentSession) -> None:
    """Told to resume behind being told to pause, it would be read without an end (I10)."""
    assert isinstance(session.peer, Slow)
    session.peer._may_come_between = False
    read(session, INBOX_LIMIT)
    session.peer._may_come_between = True
    work_off(session, 3)
    read(session, INBOX_LIMIT)
    assert len(session.inbox) >= INBOX_LIMIT
    assert (session.is_paused, session.peer.is_paused) == (True, True)
