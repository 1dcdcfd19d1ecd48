"""An agent as the server sees one: the other end of the protocol, driven by the test."""

import struct
import uuid
from collections.abc import Iterable
from typing import TypeVar

import websocket
from websocket import ABNF

from agent.message import Message
from agent.protocol import (
    FEATURES,
    Ack,
    Collect,
    Hello,
    Repair,
    ToAgent,
    Verify,
    Welcome,
    decode_to_agent,
    encode,
)
from tests.app.live_server import LiveServer

PATIENCE = 10.0
M = TypeVar("M", bound=Message)


class AgentClient:
    """One connection. Messages are received in order; ``expect`` skips what the test is not about."""

    def __init__(self, server: LiveServer, token: str, headers: Iterable[str] = ()) -> None:
        self.ws = websocket.create_connection(
            server.agent_url,
            timeout=PATIENCE,
            header=[f"Authorization: Bearer {token}", *headers],
            suppress_origin=True,
        )

    def send(self, message: Message) -> None:
        """Send a message of the protocol."""
        self.ws.send(encode(message).decode())

    def send_text(self, text: str) -> None:
        """Send any text."""
        self.ws.send(text)

    def send_bytes_as_text(self, payload: bytes) -> None:
        """Send a text frame whose bytes need not be UTF-8."""
        self.ws.send_frame(ABNF.create_frame(payload, ABNF.OPCODE_TEXT))

    def send_in_pieces(self, text: str, size: int) -> None:
        """Send one message as several fragments."""
        pieces = [text[begin : begin + size] for begin in range(0, len(text), size)]
        for number, piece in enumerate(pieces):
            code = ABNF.OPCODE_TEXT if number == 0 else ABNF.OPCODE_CONT
            self.ws.send_frame(ABNF(number == len(pieces) - 1, 0, 0, 0, code, 1, piece.encode()))

    def receive(self) -> ToAgent:
        """Return the next message. Raises websocket.WebSocketTimeoutException when none comes."""
        frame = self.ws.recv()
        assert frame, "the server closed the connection"
        return decode_to_agent(frame)

    def expect(self, kind: type[M]) -> M:
        """Return the next message of this kind."""
        while True:
            message = self.receive()
            if isinstance(message, kind):
                return message

    def receive_command(self) -> Collect | Repair | Verify:
        """Return the next command, whichever it is."""
        while True:
            message = self.receive()
            if isinstance(message, Collect | Repair | Verify):
                return message

    def close_code(self) -> int:
        """Read until the server closes; return its code."""
        while True:
            code, payload = self.ws.recv_data(control_frame=True)
            if code == ABNF.OPCODE_CLOSE:
                return int(struct.unpack("!H", payload[:2])[0]) if len(payload) >= 2 else 1005
            if code == ABNF.OPCODE_PING:
                self.ws.pong(payload)

    def greet(self, *, fixer_codes: tuple[str, ...] = ("interRecharge",), **values: object) -> Welcome:
        """Wait for Welcome and say Hello."""
        welcome = self.expect(Welcome)
        self.send(hello(fixer_codes=fixer_codes, **values))
        return welcome

    def take(self, kind: type[M]) -> M:
        """Wait for a command and acknowledge it."""
        command = self.expect(kind)
        self.send(Ack(id=new_id(), command_id=command.command_id, of=command.id))
        return command

    def close(self) -> None:
        """Leave."""
        self.ws.close()


def new_id() -> str:
    """Return a fresh message id."""
    return uuid.uuid4().hex


def hello(*, fixer_codes: tuple[str, ...] = ("interRecharge",), **values: object) -> Hello:
    """Return a Hello; ``values`` replace its fields."""
    fields: dict[str, object] = {
        "id": new_id(),
        "name": "pbap-1",
        "boot_id": "boot",
        "journal_id": "journal",
        "version": "1",
        "host": "here",
        "fixer_codes": fixer_codes,
        "features": FEATURES,
        "agent_time": "2026-03-02T12:00:00Z",
    }
    return Hello(**{**fields, **values})  # type: ignore[arg-type]
