"""The messages between server and agent: JSON text frames, each a typed, validated struct.

Here are a session, its commands and the frames of both directions; agent.answers has what commands are
answered with. docs/protocol.md tells the rules and a worked session; ``python -m agent schema`` prints the
JSON Schema. At most MAX_FRAME_BYTES a frame; larger reports go in chunks.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agent.answers import (
    AnomaliesReported,
    Cancelled,
    CollectFinished,
    CollectProgress,
    FactsRead,
    RepairFinished,
    Started,
    StepRecorded,
)
from agent.errors import ProtocolError
from agent.message import Count, Message, Milliseconds, Time
from agent.unpaid import ACTIONS, Action

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 256 * 1024

BY_PERSON: Final = "by_person"
MAX_AMOUNT: Final = "max_amount_minor"
FEATURES: Final = (BY_PERSON, MAX_AMOUNT, *ACTIONS)
"""What this agent can be asked beyond the first version of the protocol; named in Hello. The server leaves
out of its frames what an agent does not name: an agent refuses a field that it does not know."""

REFUSED_FOR_GOOD: Final = frozenset({"malformed", "state", "task", "shard"})
"""With these codes a server refuses a message that it can never take. Any other says nothing of the message:
what is durable is kept and sent again."""
SERVER_FAILED: Final = "error"
"""The code of the server's own failure."""

CLOSE_REPLACED: Final = 4001
"""A newer session of the same agent took over; this process exits 3."""
CLOSE_OVERTAKEN: Final = 4002
CLOSE_REVOKED: Final = 4003
"""The agent's token was revoked; this process exits 4."""
CLOSE_PROTOCOL: Final = 1002
CLOSE_BAD_DATA: Final = 1007
CLOSE_TOO_BIG: Final = 1009
CLOSE_GOING_AWAY: Final = 1001
CLOSE_SLOW: Final = 4008
"""The peer did not read, or two heartbeats were missed."""


# ---- server to agent


class Welcome(Message, frozen=True, kw_only=True, tag=True):
    """First frame after the handshake. ``heartbeat_ms`` is the interval the agent keeps."""

    epoch: int
    server_time: str
    heartbeat_ms: int
    group: str


class Collect(Message, frozen=True, kw_only=True, tag=True):
    """Collect broken trades of shard ``shard`` of ``shards`` (trade id modulo), changed inside the window."""

    run_id: int
    fixer_codes: tuple[str, ...]
    window_start: str
    window_end: str
    shard: int
    shards: Count
    deadline_ms: Milliseconds


class Repair(Message, frozen=True, kw_only=True, tag=True):
    """Repair one trade. Never an amount or a payee: the agent reads those itself.

    ``by_person`` and ``max_amount_minor``, only for agents with the feature of this name: a person has asked
    for this attempt; the amount it was judged by, above which the agent begins nothing.
    ``action``, only to an agent whose Hello names it: what a person has ordered of a trade debited and
    finally unpaid, on exactly the facts of ``facts_hash`` (agent.unpaid.digest_of).
    """

    trade_no: str
    fixer_code: str
    row_hash: str
    fence: Count
    deadline_ms: Milliseconds
    by_person: bool | UnsetType = UNSET
    max_amount_minor: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    facts_hash: str | UnsetType = UNSET


class Verify(Message, frozen=True, kw_only=True, tag=True):
    """Read the facts of one trade and decide, writing nothing; answered by FactsRead."""

    trade_no: str
    fence: Count = 0
    deadline_ms: Milliseconds = 60_000


class Cancel(Message, frozen=True, kw_only=True, tag=True):
    """Stop the command before its next outside effect; never after money has moved."""

    reason: str = ""


# ---- either way


class Ack(Message, frozen=True, kw_only=True, tag=True):
    """``of`` is durable here: forget it. An agent acknowledges a command only after its journal holds it."""

    of: str


class Rejected(Message, frozen=True, kw_only=True, tag=True):
    """``of`` (or an unreadable frame, then null) was not taken; ``code`` is a word, ``reason`` a sentence."""

    of: str | None
    code: str
    reason: str


# ---- agent to server


MOST: Final = 2**63 - 1
Most = Annotated[int, Meta(ge=0, le=MOST)]
"""How much, or how many, at most."""
Amounts = dict[Annotated[str, Meta(pattern="^[A-Z]{3}$")], Most]
"""Minor units by currency."""


class AgentLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent does at most by its own configuration; None, or no amounts: no limit.

    Where any currency has a limit, one that is not named is not repaired at all. Hour and day are the last 60
    minutes and 24 hours, over all agents of the group.
    """

    max_age_days: Most
    max_trades_per_hour: Most | None = None
    max_trades_per_day: Most | None = None
    max_amount_minor: Amounts = {}
    max_amount_minor_per_hour: Amounts = {}
    max_amount_minor_per_day: Amounts = {}


class Hello(Message, frozen=True, kw_only=True, tag=True):
    """First frame of the agent. ``boot_id`` changes with each start, ``journal_id`` with each journal file.

    ``unfinished`` are the ids of commands its journal holds unfinished, ``features`` what it can be asked
    beyond the first version (FEATURES), ``stopped`` why it begins no repair, None while it may,
    ``limits`` what it does at most, for people to see; None from an agent that does not tell.
    """

    name: str
    boot_id: str
    journal_id: str
    version: str
    host: str
    fixer_codes: tuple[str, ...]
    unfinished: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    stopped: str | None = None
    limits: AgentLimits | None = None
    agent_time: Time


class Heartbeat(Message, frozen=True, kw_only=True, tag=True):
    """Sign of life; renews the leases of ``running``. ``stopped`` as in Hello."""

    running: tuple[str, ...] = ()
    journal_length: int = 0
    stopped: str | None = None
    agent_time: Time


class Log(Message, frozen=True, kw_only=True, tag=True):
    """A line an operator should see (journal full, adapter down …)."""

    level: Literal["info", "warning", "error"]
    text: str


ToAgent = Welcome | Collect | Repair | Verify | Cancel | Ack | Rejected
ToServer = (
    Hello
    | Heartbeat
    | Ack
    | Started
    | StepRecorded
    | CollectProgress
    | AnomaliesReported
    | CollectFinished
    | FactsRead
    | RepairFinished
    | Cancelled
    | Rejected
    | Log
)
Command = Collect | Repair | Verify
"""What the journal keeps and a Command row of the server stands for."""

_encoder: Final = msgspec.json.Encoder()
_to_agent: Final[msgspec.json.Decoder[ToAgent]] = msgspec.json.Decoder(ToAgent)
_to_server: Final[msgspec.json.Decoder[ToServer]] = msgspec.json.Decoder(ToServer)
M = TypeVar("M")


def encode(message: Message) -> bytes:
    """Return the frame of a message. Raises ProtocolError when it exceeds MAX_FRAME_BYTES."""
    frame = _encoder.encode(message)
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(f"{type(message).__name__} is {len(frame)} bytes, more than {MAX_FRAME_BYTES}")
    return frame


def decode_to_agent(frame: bytes | str) -> ToAgent:
    """Read a frame the server sent. Raises ProtocolError with the reason."""
    return _decode(_to_agent, frame)


def decode_to_server(frame: bytes | str) -> ToServer:
    """Read a frame an agent sent. Raises ProtocolError with the reason."""
    return _decode(_to_server, frame)


def _decode(decoder: msgspec.json.Decoder[M], frame: bytes | str) -> M:
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(f"frame of {len(frame)} bytes, more than {MAX_FRAME_BYTES}")
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of both directions."""
    (to_agent, to_server), components = msgspec.json.schema_components(
        [ToAgent, ToServer], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Piculus protocol {VERSION}",
        "$defs": {**components, "ToAgent": to_agent, "ToServer": to_server},
    }
