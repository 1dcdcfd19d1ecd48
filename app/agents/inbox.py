"""What becomes of an agent's message: decoded, logged, handed to its feature inside the writer, acknowledged.

Durable messages (what an agent's outbox keeps) are applied once: their ids are stored in the same
transaction, a repeated one is acknowledged again and not applied. An Ack leaves only after the commit.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from agent.answers import AnomaliesReported, Cancelled, CollectFinished, FactsRead, RepairFinished
from agent.errors import ProtocolError
from agent.failpoints import around
from agent.message import Message
from agent.protocol import (
    CLOSE_OVERTAKEN,
    CLOSE_PROTOCOL,
    CLOSE_REVOKED,
    SERVER_FAILED,
    Ack,
    Cancel,
    Heartbeat,
    Hello,
    Log,
    Rejected,
    ToServer,
    Welcome,
    decode_to_server,
)
from app.agents import recovery, service
from app.agents.answers import require_answer
from app.agents.commands import NOT_KEPT
from app.agents.frames import ERROR_CHARACTERS, FrameLog, mask
from app.agents.hub import AgentSession, Hub
from app.agents.models import Agent
from app.agents.presence import Presence
from app.agents.readable import IN_JSON, without_nul
from app.agents.received import is_first
from app.agents.refusals import is_final, refusal_of
from app.agents.writer import Job, Writer
from app.clock import Clock
from app.columns import fitting
from app.unit_of_work import WorkSession

log = logging.getLogger(__name__)

DURABLE: Final = (AnomaliesReported, CollectFinished, FactsRead, RepairFinished, Cancelled)
ID_CHARACTERS: Final = 40
REASON_CHARACTERS: Final = 500
SERVER_ERROR: Final = 1011
"""The close code at which an agent dials again, for the server has failed over its beginning."""

Handler = Callable[[WorkSession, Agent, Any, datetime], None]
"""A feature's answer to one message type. Raises an error of refusals.FINAL to have it Rejected for good."""
Handlers = Mapping[type[Message], tuple[Handler, ...]]


class _Outline(msgspec.Struct):
    """What may still be read of a frame that is otherwise wrong."""

    id: str | None = None


_outline = msgspec.json.Decoder(_Outline)


@dataclass(frozen=True)
class Outlets:
    """What the inbox speaks to."""

    hub: Hub
    writer: Writer
    presence: Presence
    frame_log: FrameLog


class Inbox:
    """Takes what agents send. ``handlers`` says which functions hear which message; ``look_now`` wakes the
    dispatcher.

    ``heartbeat_seconds`` is the interval Welcome tells the agents.
    """

    def __init__(
        self,
        outlets: Outlets,
        handlers: Handlers,
        look_now: Callable[[], None],
        clock: Clock,
        heartbeat_seconds: float,
    ) -> None:
        self._hub = outlets.hub
        self._writer = outlets.writer
        self._presence = outlets.presence
        self._frame_log = outlets.frame_log
        self._handlers = handlers
        self._look_now = look_now
        self._clock = clock
        self._heartbeat_ms = int(heartbeat_seconds * 1000)

    # ---- sessions

    def connect(self, session: AgentSession) -> None:
        """A socket passed its handshake: give it the next epoch, then welcome it.

        One that is gone by now begins no session: it would make the agent's live one look old.
        """

        def begin(work: WorkSession) -> None:
            if session.is_lost:
                return
            epoch = service.mark_connected(work, session.agent_id, session.address, self._clock())
            session.epoch = epoch or 0
            work.after_commit(lambda: self._welcome(session))

        self._writer.submit(Job(begin, self._give_up(session)))

    def lost(self, session: AgentSession) -> None:
        """The socket is gone: what was sent and not accepted goes back to pending."""

        def end(work: WorkSession) -> None:
            if service.mark_disconnected(work, session.agent_id, session.epoch, self._clock()):
                recovery.release_sent(work, session.agent_id)

        self._writer.submit(Job(end, lambda error: log.error("a lost socket was not noted: %s", error)))

    def _welcome(self, session: AgentSession) -> None:
        if session.epoch == 0:
            if session.peer is not None:
                session.peer.close(CLOSE_REVOKED, "the token was revoked")
            return
        welcome = Welcome(
            id=_new_id(),
            epoch=session.epoch,
            server_time=self._clock().isoformat(),
            heartbeat_ms=self._heartbeat_ms,
            group=session.sys_code,
        )
        self._hub.send(session, welcome)

    def _give_up(self, session: AgentSession) -> Callable[[Exception], None]:
        def close(error: Exception) -> None:
            log.error("agent %d could not be welcomed: %s", session.agent_id, error)
            _close_failed(session)

        return close

    # ---- messages

    @around("server.frame.handle")
    def receive(self, session: AgentSession, text: str) -> None:
        """Take one text frame. Waits while the writer is far behind."""
        self._writer.wait_for_room()
        now = self._clock()
        try:
            message = decode_to_server(text)
            _check_ids(message)
            if IN_JSON in text:
                message = without_nul(message)
        except ProtocolError as error:
            self._frame_log.unreadable(session.whose, text, now, str(error))
            self._reject(session, _id_in(text), None, "malformed", str(error))
            return
        heartbeat = message if isinstance(message, Heartbeat) else None
        self._presence.note(session.agent_id, now, heartbeat, session.epoch)
        if isinstance(message, Hello) == session.has_said_hello:
            reason = "Hello is said once, first" if session.has_said_hello else "Hello comes first"
            self._frame_log.received(session.whose, message, text, now, f"state: {reason}")
            # What is durable may be taken once the agent has said Hello.
            code = SERVER_FAILED if isinstance(message, DURABLE) else "state"
            self._refuse(session, message, code, reason)
            if session.peer is not None and not session.has_said_hello:
                # Its Hello was lost or unreadable: on this connection it would wait for commands for ever.
                session.peer.close(CLOSE_PROTOCOL, reason)
            return
        session.has_said_hello = True
        if isinstance(message, Rejected) and message.code == NOT_KEPT:
            session.unkept_at = now
        if heartbeat is None:
            self._writer.submit(self._job(session, message, text, now))
        else:
            self._frame_log.received(session.whose, message, text, now)

    def _job(self, session: AgentSession, message: ToServer, text: str, now: datetime) -> Job:
        row = self._frame_log.row_of(session.whose, message, text, now)

        def failed(error: Exception) -> None:
            name = type(message).__name__
            if not is_final(error):
                log.error("%s of agent %d failed", name, session.agent_id, exc_info=error)
            elif isinstance(message, DURABLE):
                log.warning("%s of agent %d is refused for good: %s", name, session.agent_id, error)
            self._refuse(session, message, *refusal_of(error))
            if isinstance(message, Hello):
                # Its only one: on this socket nothing would ever be sent to it.
                _close_failed(session)

        def frame(error: Exception | None) -> dict[str, Any]:
            if error is None:
                return row
            return {**row, "error": fitting(": ".join(refusal_of(error)), ERROR_CHARACTERS)}

        return Job(lambda work: self._apply(work, session, message, now), failed, frame)

    def _apply(self, work: WorkSession, session: AgentSession, message: ToServer, now: datetime) -> None:
        agent = _agent(work, session.agent_id)
        if isinstance(message, Hello):
            self._greet(work, session, agent, message, now)
        elif isinstance(message, Log):
            if message.level != "info":
                agent.last_error = fitting(mask(message.text), REASON_CHARACTERS)
                work.touch("agents")
        elif not isinstance(message, DURABLE) or is_first(work, agent.id, message, now):
            require_answer(work, agent, message)
            for handler in self._handlers.get(type(message), ()):
                handler(work, agent, message, now)
        if isinstance(message, DURABLE):
            ack = Ack(id=_new_id(), command_id=message.command_id, of=message.id)
            work.after_commit(lambda: self._send(session, ack))

    def _greet(
        self, work: WorkSession, session: AgentSession, agent: Agent, hello: Hello, now: datetime
    ) -> None:
        if agent.epoch != session.epoch:
            # A later handshake was counted: of another start, of a socket given up, or a new token was made.
            is_revoked = agent.revoked_at is not None or agent.token_hash != session.token_hash
            work.after_commit(lambda: self._end_overtaken(session, is_revoked))
            return
        is_new_journal = service.introduce(work, agent, hello, now)
        session.boot_id = agent.boot_id
        unknown = recovery.reconcile(work, agent, hello, is_new_journal, now)
        wanted = recovery.list_wanted(work, agent, hello, now)

        def go_on() -> None:
            try:
                self._make_ready(session, hello, unknown, wanted)
            except Exception:
                # Whatever it is: it would be there, and be sent nothing, for ever.
                log.exception("agent %d could not be made ready", session.agent_id)
                _close_failed(session)

        work.after_commit(go_on)

    def _make_ready(
        self, session: AgentSession, hello: Hello, unknown: list[str], wanted: list[Message]
    ) -> None:
        for command_id in unknown:
            cancel = Cancel(
                id=f"{command_id}.cancel", command_id=command_id, reason="not known to the server"
            )
            self._send(session, cancel)
        session.fixer_codes = frozenset(hello.fixer_codes)
        session.features = frozenset(hello.features)
        if self._hub.register(session):
            for command in wanted:
                self._send(session, command)
            session.is_ready = not session.is_lost
        self._look_now()

    def _end_overtaken(self, session: AgentSession, is_revoked: bool) -> None:
        """It may dial again: should another start have taken over, one of the two is closed for good then."""
        if session.peer is None:
            return
        if is_revoked:
            session.peer.close(CLOSE_REVOKED, "the token was revoked")
        else:
            session.peer.close(CLOSE_OVERTAKEN, "another socket of this agent came between: dial again")

    # ---- answers

    def _refuse(self, session: AgentSession, message: ToServer, code: str, reason: str) -> None:
        # A Rejected is never answered by another, or the two sides would go on for ever.
        if not isinstance(message, Rejected):
            self._reject(session, message.id, message.command_id, code, reason)

    def _reject(
        self, session: AgentSession, of: str | None, command_id: str | None, code: str, reason: str
    ) -> None:
        answer = Rejected(
            id=_new_id(), command_id=command_id, of=of, code=code, reason=reason[:REASON_CHARACTERS]
        )
        self._send(session, answer)

    def _send(self, session: AgentSession, message: Message) -> None:
        try:
            self._hub.send(session, message)
        except ProtocolError as error:
            log.error("an answer to agent %d is too large: %s", session.agent_id, error)


def _close_failed(session: AgentSession) -> None:
    if session.peer is not None:
        session.peer.close(SERVER_ERROR, "internal error")


def _agent(work: WorkSession, agent_id: int) -> Agent:
    """Return the agent; looked up once a unit of work, which often holds many of its messages."""
    known: dict[int, Agent] = work.info.setdefault("agents", {})
    if agent_id not in known:
        known[agent_id] = service.get(work, agent_id)
    return known[agent_id]


def _check_ids(message: Message) -> None:
    """Raise ProtocolError for an id the database could not keep."""
    for name, value in (("id", message.id), ("command_id", message.command_id)):
        if value is not None and (not value or len(value) > ID_CHARACTERS or not value.isprintable()):
            raise ProtocolError(f"{name} must have 1 to {ID_CHARACTERS} printable characters")


def _id_in(text: str) -> str | None:
    try:
        found = _outline.decode(text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found[:ID_CHARACTERS] if found else None


def _new_id() -> str:
    return uuid.uuid4().hex
