"""An agent as the server sees one: it keeps a journal, obeys the protocol, dies, forgets and wakes again.

What it says of a repair is chosen by the machine; how it says it is what docs/protocol.md asks of an agent.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agent.answers import Cancelled, Started
from agent.message import Message
from agent.protocol import (
    REFUSED_FOR_GOOD,
    Ack,
    Cancel,
    Collect,
    Heartbeat,
    Hello,
    Rejected,
    Repair,
    Verify,
    decode_to_agent,
    encode,
)
from app.agents.hub import AgentSession
from tests.app.machines.stage import Stage

ABNORMAL: Final = 1006


class Line:
    """The server's end of a socket whose other end is a list."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.close_code: int | None = None

    def send(self, frame: bytes) -> None:
        """Take a frame of the server."""
        if self.close_code is None:
            self.frames.append(frame)

    def close(self, code: int, reason: str = "") -> None:
        """The server closes."""
        self.close_code = self.close_code or code


@dataclass
class Held:
    """A command in the journal. ``state``: taken, running, finished."""

    command: Repair | Verify | Collect
    state: str = "taken"
    is_cancelled: bool = False

    @property
    def fence(self) -> int:
        """The fence it was ordered with; a collection has none."""
        return getattr(self.command, "fence", 1)


@dataclass
class Pretender:
    """One agent. ``outbox`` holds durable messages not acknowledged; ``said`` all it ever said of them."""

    stage: Stage
    id: int
    group_id: int
    codes: tuple[str, ...]
    journal: dict[str, Held] = field(default_factory=dict)
    outbox: dict[str, Message] = field(default_factory=dict)
    said: list[Message] = field(default_factory=list)
    journal_id: str = "journal-1"
    boots: int = 1
    is_deaf: bool = False
    session: AgentSession | None = None
    _line: Line = field(default_factory=Line)

    @property
    def is_there(self) -> bool:
        """Whether it has a session that neither side has closed."""
        return self.session is not None and not self.session.is_lost and self._line.close_code is None

    # ---- sockets

    def connect(self) -> None:
        """Dial, say Hello, send the outbox again."""
        self._line = Line()
        session = AgentSession(self.stage.hub, self.id, self.group_id, "PBAP", "127.0.0.1")
        session.peer = self._line  # type: ignore[assignment]
        self.session = session
        self.stage.inbox.connect(session)
        self._tell(
            Hello(
                id=new_id(),
                name=f"agent-{self.id}",
                boot_id=f"boot-{self.boots}",
                journal_id=self.journal_id,
                version="1",
                host="here",
                fixer_codes=self.codes,
                unfinished=tuple(self.unfinished()),
                agent_time=self._time(),
            )
        )
        for message in list(self.outbox.values()):
            self._tell(message)

    def come_back(self) -> None:
        """What a running agent does by itself: it listens, and dials again when it is alone."""
        self.is_deaf = False
        if not self.is_there:
            self.connect()

    def hang_up(self) -> None:
        """The socket is lost, with every frame under way, and the server knows."""
        if self.session is not None and not self.session.is_lost:
            self.stage.hub.lose(self.session, ABNORMAL, "", 0)
        self._line.frames.clear()

    def die(self, *, is_noticed: bool) -> None:
        """kill -9: the journal stays. Unnoticed, its socket stands half open."""
        if is_noticed:
            self.hang_up()
        self._line.frames.clear()
        self.session = None
        self.boots += 1
        for held in self.journal.values():
            held.state = "taken" if held.state == "running" else held.state

    def lose_journal(self) -> None:
        """Its disk is new: nothing is known of before."""
        self.die(is_noticed=True)
        self.journal.clear()
        self.outbox.clear()
        self.journal_id = f"journal-{self.boots}"

    # ---- reading

    def read(self) -> None:
        """Take every frame that has come, in order."""
        while self.is_there and self._line.frames:
            self._take(decode_to_agent(self._line.frames.pop(0)))

    def _take(self, message: Message) -> None:
        match message:
            case Ack():
                self.outbox.pop(message.of, None)
            case Rejected():
                if message.of is not None and message.code in REFUSED_FOR_GOOD:
                    self.outbox.pop(message.of, None)
            case Cancel():
                self._cancel(message)
            case Repair() | Verify() | Collect():
                self._obey(message)

    def _obey(self, command: Repair | Verify | Collect) -> None:
        command_id = str(command.command_id)
        held = self.journal.get(command_id)
        if held is None or getattr(command, "fence", 1) > held.fence:
            self.journal[command_id] = Held(command)
        elif held.state == "finished":
            self._repeat(command_id)
        self._tell(Ack(id=new_id(), command_id=command_id, of=command.id))

    def _repeat(self, command_id: str) -> None:
        for message in self.said:
            if message.command_id == command_id:
                self.outbox[message.id] = message
                self._tell(message)

    def _cancel(self, cancel: Cancel) -> None:
        held = self.journal.get(str(cancel.command_id))
        if held is None:
            reason = "no such command here"
            refusal = Rejected(
                id=new_id(), command_id=cancel.command_id, of=cancel.id, code="unknown_command", reason=reason
            )
            self._tell(refusal)
        elif held.state == "finished":
            self._repeat(str(cancel.command_id))
        else:
            held.is_cancelled = True

    # ---- working

    def unfinished(self, state: str | None = None) -> list[str]:
        """The commands in hand, of one state or of either."""
        states = ("taken", "running") if state is None else (state,)
        return [command_id for command_id, held in self.journal.items() if held.state in states]

    def begin(self, command_id: str) -> None:
        """Begin to work on a command."""
        self.journal[command_id].state = "running"
        self._tell(Started(id=new_id(), command_id=command_id))

    def finish(self, command_id: str, *messages: Message) -> None:
        """Say durably what became of a command; the last message is its result."""
        self.journal[command_id].state = "finished"
        for message in messages:
            self.say(message)

    def say(self, message: Message) -> None:
        """Keep a message until it is acknowledged, and send it."""
        self.outbox[message.id] = message
        self.said.append(message)
        self._tell(message)

    def stop(self, command_id: str) -> None:
        """Stop before the first effect."""
        self.finish(command_id, Cancelled(id=new_id(), command_id=command_id, reason="by hand"))

    def refuse(self, command_id: str) -> None:
        """Take a command back that was not begun, as one that it cannot keep."""
        held = self.journal.pop(command_id)
        answer: dict[str, Any] = {"command_id": command_id, "of": held.command.id}
        self._tell(Rejected(id=new_id(), code="journal", reason="the disk is full", **answer))

    def hint(self, message: Message) -> None:
        """Say what may be lost."""
        self._tell(message)

    def say_again(self, message: Message) -> None:
        """A frame the network gives twice, or late."""
        self._tell(message)

    def beat(self, running: Iterable[str] | None = None) -> None:
        """A heartbeat that names what is in hand."""
        names = tuple(self.unfinished() if running is None else running)
        self._tell(Heartbeat(id=new_id(), running=names, agent_time=self._time()))

    def _time(self) -> str:
        return self.stage.clock().isoformat()

    def _tell(self, message: Message) -> None:
        if self.is_there:
            assert self.session is not None
            self.stage.inbox.receive(self.session, encode(message).decode())


def new_id() -> str:
    """A fresh message id. What is drawn from chance elsewhere decides nothing here."""
    return uuid.uuid4().hex
