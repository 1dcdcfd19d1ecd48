"""What an agent and its worker processes say to each other: JSON, one message after the other."""

from typing import Final

import msgspec

from agent.answers import FactsRead, RepairFinished, StepRecord
from agent.config import Tables
from agent.orders import Holder
from agent.protocol import Repair, Verify
from agent.standstill import Seen


class Begin(msgspec.Struct, frozen=True, tag=True):
    """The first message: the configuration, as the agent itself has read it from ``file``."""

    file: str
    tables: Tables


class Order(msgspec.Struct, frozen=True, tag=True):
    """Work to begin: a command and who carries it out. A worker process has one in hand at most.

    ``is_cancelled``: it was asked to stop while it waited. ``seen``: what the agent has seen of production's
    clock, so that a process started since knows of a standstill before it.
    """

    command: Repair | Verify
    command_id: str
    holder: Holder
    is_cancelled: bool = False
    seen: Seen | None = None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """The order in hand is to stop before its next outside effect."""


class Halt(msgspec.Struct, frozen=True, tag=True):
    """The agent is leaving: the order in hand is to stop behind the step it is at."""


class Noted(msgspec.Struct, frozen=True, tag=True):
    """A step of the order in hand was written down."""

    step: StepRecord


class Ended(msgspec.Struct, frozen=True, tag=True):
    """How the order ended."""

    result: RepairFinished | FactsRead


class Halted(msgspec.Struct, frozen=True, tag=True):
    """The order was stopped between two steps; the agent's next start goes on with it."""


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The order broke off with an error that nobody foresaw."""

    error: str


ToWorker = Begin | Order | Cancel | Halt
Answer = Ended | Halted | Broken
FromWorker = Noted | Seen | Answer

_TO_WORKER: Final[msgspec.json.Decoder[ToWorker]] = msgspec.json.Decoder(ToWorker)
_FROM_WORKER: Final[msgspec.json.Decoder[FromWorker]] = msgspec.json.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """Return the bytes of a message."""
    return msgspec.json.encode(message)


def decode_to_worker(frame: bytes) -> ToWorker:
    """Return what an agent said."""
    return _TO_WORKER.decode(frame)


def decode_from_worker(frame: bytes) -> FromWorker:
    """Return what a worker process said."""
    return _FROM_WORKER.decode(frame)
