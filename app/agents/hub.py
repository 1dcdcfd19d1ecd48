"""The agents connected to this process. It knows the protocol, sessions and a queue; no feature and no
database.

``Hub.send`` and ``Hub.close`` go out; what comes in is given to ``on_message`` and ``on_lost``, bound by
create_app, on a few worker threads; the messages of one session keep their order.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from agent.errors import ProtocolError
from agent.failpoints import Failpoint
from agent.message import Message
from agent.protocol import CLOSE_OVERTAKEN, CLOSE_REPLACED, encode
from app.agents.frames import Correspondent, FrameLog
from app.agents.peer import Peer
from app.agents.sockets import SocketLoop

log = logging.getLogger(__name__)

WORKERS: Final = 2
INBOX_LIMIT: Final = 64
"""Messages of one session waiting for a worker beyond which its socket is not read."""
TURN: Final = 16
"""Messages of one session handled before another session's turn."""
_SEND: Final = Failpoint("server.frame.send.before")
_SENT: Final = Failpoint("server.frame.send.after")
REFUSED: Final = frozenset({1002, 1003, 1007, 1009})
"""Close codes of a frame that never became a message: against the protocol, not text, not UTF-8, too big."""


class AgentSession:
    """One connection of one agent.

    ``epoch`` is 0 until the session is known to the database; ``boot_id`` and ``fixer_codes`` are set and
    ``is_ready`` is true once its Hello is stored: only then are commands sent. ``has_said_hello`` guards the
    order of its first messages. ``features`` is what it can be asked; while ``is_held`` it is sent no
    repairs, while ``is_spared`` nothing that another can take. ``unkept_at``: when its journal last took no
    command. ``token_hash`` is that of the token it was let in by.
    """

    def __init__(self, hub: "Hub", agent_id: int, group_id: int, sys_code: str, address: str) -> None:
        self._hub = hub
        self.agent_id = agent_id
        self.group_id = group_id
        self.sys_code = sys_code
        self.address = address
        self.whose = Correspondent(agent_id=agent_id, group_id=group_id)
        self.peer: Peer | None = None
        self.epoch = 0
        self.token_hash = ""
        self.boot_id = ""
        self.fixer_codes: frozenset[str] = frozenset()
        self.features: frozenset[str] = frozenset()
        self.is_held = False
        self.is_spared = False
        self.unkept_at: datetime | None = None
        self.has_said_hello = False
        self.is_ready = False
        self.is_lost = False
        self.inbox: deque[str] = deque()
        self.is_scheduled = False
        self.is_paused = False

    @property
    def open_codes(self) -> frozenset[str]:
        """The fixers whose repairs it may be sent now."""
        return frozenset() if self.is_held else self.fixer_codes

    def on_message(self, peer: Peer, text: str) -> None:
        """From the socket loop."""
        self._hub.receive(self, text)

    def on_close(self, peer: Peer, code: int, reason: str) -> None:
        """From the socket loop."""
        self._hub.lose(self, code, reason, peer.refused_size)


def reason_to_end(session: AgentSession, newest_boot_id: str) -> tuple[int, str]:
    """Return close code and words for a session that is not its agent's newest.

    Another start of the agent has taken over: this one must stop. The same start only dials again.
    """
    if session.boot_id != newest_boot_id:
        return CLOSE_REPLACED, "a newer session of this agent took over"
    return CLOSE_OVERTAKEN, "another socket of this agent came between: dial again"


class Hub:
    """Sessions by agent. Safe from any thread."""

    def __init__(self, loop: SocketLoop, frame_log: FrameLog) -> None:
        self._loop = loop
        self._frame_log = frame_log
        self._lock = threading.Lock()
        self._sessions: dict[int, AgentSession] = {}
        self._ready: queue.SimpleQueue[AgentSession | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.on_message: Callable[[AgentSession, str], None] = lambda session, text: None
        self.on_lost: Callable[[AgentSession], None] = lambda session: None

    def start(self) -> None:
        """Start the workers."""
        for number in range(WORKERS):
            thread = threading.Thread(target=self._work, name=f"hub-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, seconds: float = 5.0) -> None:
        """Handle what has arrived, then end the workers."""
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join(seconds)
        self._threads.clear()

    # ---- outwards

    def send(self, session: AgentSession, message: Message) -> bool:
        """Send and log a message; return False when the session is lost.

        Raises ProtocolError when it is too large.
        """
        frame = encode(message)
        if session.is_lost or session.peer is None:
            return False
        self._frame_log.sent(session.whose, message, frame)
        _SEND()
        session.peer.send(frame)
        _SENT()
        return True

    def close(self, agent_id: int, code: int, reason: str) -> bool:
        """Close the agent's socket; return whether this process held one."""
        session = self.find(agent_id)
        if session is None or session.peer is None:
            return False
        session.peer.close(code, reason)
        return True

    # ---- sessions

    def register(self, session: AgentSession) -> bool:
        """The session has said Hello: it stands for its agent, and an older one is closed.

        Returns False when the session is lost, or is itself the older one. Not before its Hello: a socket
        that was given up while the server was slow says none, and must not end the one that came after.
        """
        with self._lock:
            standing = self._sessions.get(session.agent_id)
            if session.is_lost:
                return False
            is_newest = standing is None or standing.epoch <= session.epoch
            if is_newest:
                self._sessions[session.agent_id] = session
        older, newer = (standing, session) if is_newest else (session, standing)
        if older is not None and newer is not None and older is not newer and older.peer is not None:
            older.is_ready = False
            older.peer.close(*reason_to_end(older, newer.boot_id))
        return is_newest

    def find(self, agent_id: int) -> AgentSession | None:
        """Return the agent's session, or None."""
        with self._lock:
            return self._sessions.get(agent_id)

    def sessions(self) -> list[AgentSession]:
        """Return the sessions held now."""
        with self._lock:
            return list(self._sessions.values())

    # ---- inwards

    def receive(self, session: AgentSession, text: str) -> None:
        """Queue a message of the session for the workers."""
        with self._lock:
            session.inbox.append(text)
            if len(session.inbox) >= INBOX_LIMIT and not session.is_paused:
                session.is_paused = True
                _tell_to_read(session)
            must_schedule = not session.is_scheduled
            session.is_scheduled = True
        if must_schedule:
            self._ready.put(session)

    def lose(self, session: AgentSession, code: int, reason: str, refused_size: int) -> None:
        """The session's socket is gone; ``refused_size`` bytes had come of a message it was closed for."""
        log.info("agent %d: socket closed, %d %s", session.agent_id, code, reason)
        if code in REFUSED:
            now = self._frame_log.now()
            self._frame_log.unreadable(session.whose, "", now, f"{code} {reason}", refused_size)
        with self._lock:
            session.is_lost = True
            session.is_ready = False
            if self._sessions.get(session.agent_id) is session:
                del self._sessions[session.agent_id]
        self.on_lost(session)

    def _work(self) -> None:
        while (session := self._ready.get()) is not None:
            for _ in range(TURN):
                with self._lock:
                    text = session.inbox.popleft() if session.inbox else None
                if text is None:
                    break
                self._handle(session, text)
            self._end_turn(session)

    def _handle(self, session: AgentSession, text: str) -> None:
        try:
            self.on_message(session, text)
        except ProtocolError as error:
            log.error("an answer to agent %d could not be sent: %s", session.agent_id, error)
        except Exception:
            # The socket handler edge: one message must not end the worker of all.
            log.exception("a message of agent %d failed", session.agent_id)

    def _end_turn(self, session: AgentSession) -> None:
        with self._lock:
            has_more = bool(session.inbox)
            session.is_scheduled = has_more
            if session.is_paused and len(session.inbox) < INBOX_LIMIT // 2:
                session.is_paused = False
                _tell_to_read(session)
        if has_more:
            self._ready.put(session)


def _tell_to_read(session: AgentSession) -> None:
    """Have the socket read, or read no more, as was decided. Under the lock of the decision: told in another
    order, a socket that is to be read would never be, and never be missed, or one that is not be read on.
    """
    if session.peer is None:
        return
    if session.is_paused:
        session.peer.pause()
    else:
        session.peer.resume()
