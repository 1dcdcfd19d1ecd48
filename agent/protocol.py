"""The messages between server and agent: JSON text frames, each a typed, validated struct.

``app`` may import this module and no other of the agent. docs/protocol.md tells the rules and a worked
session; ``python -m agent schema`` prints the JSON Schema. At most MAX_FRAME_BYTES a frame; larger reports go
in chunks.
"""

from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agent.errors import ProtocolError
from agent.facts import Facts, Row
from agent.money import MAX_MINOR
from agent.unpaid import ACTIONS, Action

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 256 * 1024
MAX_CHUNK_ROWS: Final = 100

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

Outcome = Literal[
    "repaired", "already_consistent", "failed", "unknown", "wait", "refused", "needs_human", "cancelled"
]
"""How an attempt ended. Only ``failed`` spends a retry."""

BROKE_OFF: Final = "internal error"
"""How the reason of an outcome ``unknown`` begins where the work broke off in a way nobody foresaw."""

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""How many, or a number that counts from 0."""
Milliseconds = Annotated[int, Meta(ge=0, le=2**40)]
Code = Annotated[str, Meta(min_length=1, max_length=80)]
"""A fixer code."""
StepName = Annotated[str, Meta(min_length=1, max_length=40)]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")]
"""A time in ISO 8601 with its zone."""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every message carries: its version, its own id, and the command it belongs to."""

    v: Literal[1] = 1
    id: str
    command_id: str | None = None


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


class Hello(Message, frozen=True, kw_only=True, tag=True):
    """First frame of the agent. ``boot_id`` changes with each start, ``journal_id`` with each journal file.

    ``unfinished`` are the ids of commands its journal holds unfinished, ``features`` what it can be asked
    beyond the first version (FEATURES), ``stopped`` why it begins no repair, None while it may.
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
    agent_time: Time


class Heartbeat(Message, frozen=True, kw_only=True, tag=True):
    """Sign of life; renews the leases of ``running``. ``stopped`` as in Hello."""

    running: tuple[str, ...] = ()
    journal_length: int = 0
    stopped: str | None = None
    agent_time: Time


class Started(Message, frozen=True, kw_only=True, tag=True):
    """Work on the command has begun."""


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a repair. ``moves_money`` steps cannot be taken back by a cancel."""

    seq: int
    name: str
    key: str
    state: Literal["intended", "done", "failed", "skipped"]
    moves_money: bool = False
    started_at: str
    finished_at: str | None = None
    duration_ms: int = 0
    detail: str = ""


class StepRecorded(Message, frozen=True, kw_only=True, tag=True):
    """A step was written down, before or after its effect."""

    trade_no: str
    fence: int
    step: StepRecord


class CollectProgress(Message, frozen=True, kw_only=True, tag=True):
    """How far a collection is. ``estimated`` is 0 where not known."""

    run_id: int
    shard: int
    scanned: Count
    reported: Count
    estimated: Count = 0


class ReportedTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One broken trade.

    ``fixer_code`` is the pattern's candidate, None for a row that makes no sense. ``outcome`` is what the
    decision says: repair, wait, human (never consistent). ``reason`` is the decision's, or ``out_of_range``
    (越界), ``meaningless`` (无意义), ``malformed`` (格式非法), with what is wrong after ``: ``.
    ``trade_no`` of such a row may be empty or of any length; ``row`` has ROW_COLUMNS, or nothing where the
    frame had no room. ``amount_minor`` is None where it cannot be read. ``after`` is the row a repair would
    leave, with null voucher numbers still to come.
    """

    trade_no: str
    trade_id: int
    kind: str | None
    bookkeeping: str | None
    amount_minor: Annotated[int, Meta(ge=0, le=MAX_MINOR)] | None
    currency: str
    channel: str | None
    row: Row
    row_hash: str
    row_changed_at: Time | None
    fixer_code: Code | None
    outcome: Literal["repair", "wait", "human"]
    reason: str
    facts: Facts | None = None
    after: Row | None = None


class AnomaliesReported(Message, frozen=True, kw_only=True, tag=True):
    """Chunk ``chunk`` (from 0) of a shard's report."""

    run_id: int
    shard: int
    chunk: Count
    rows: Annotated[tuple[ReportedTrade, ...], Meta(max_length=MAX_CHUNK_ROWS)]


class CollectFinished(Message, frozen=True, kw_only=True, tag=True):
    """The trailer: chunks, rows and amount of all chunks of the shard must match what the server received.

    ``error`` is set when the shard could not be read to its end; the run is then incomplete.
    """

    run_id: int
    shard: int
    chunks: Count
    rows: Count
    amount_minor: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    scanned: Count
    unverified: Count
    duration_ms: Count
    error: str | None = None


class FactsRead(Message, frozen=True, kw_only=True, tag=True):
    """Answers Verify. ``outcome`` is the decision, or resume (a repair half done), missing, error.

    ``steps`` are the names of the steps a repair would take; an older agent names none.
    """

    trade_no: str
    outcome: Literal["repair", "consistent", "wait", "human", "resume", "missing", "error"]
    fixer_code: Code | None
    reason: str
    row: Row | None
    row_hash: str
    facts: Facts | None
    after: Row | None = None
    steps: Annotated[tuple[StepName, ...], Meta(max_length=20)] = ()


class RepairFinished(Message, frozen=True, kw_only=True, tag=True):
    """How an attempt ended, with its evidence.

    ``is_confirmed_failed``: the row was set to failed (确认失败) rather than success (修复为成功).
    ``money_moved``: this repair, now or in an earlier attempt, has posted or paid.
    """

    trade_no: str
    fence: int
    outcome: Outcome
    reason: str
    is_confirmed_failed: bool
    money_moved: bool
    before: Row | None
    after: Row | None
    facts_before: Facts | None
    facts_after: Facts | None
    steps: tuple[StepRecord, ...]
    row_hash: str
    started_at: str
    duration_ms: int


class Cancelled(Message, frozen=True, kw_only=True, tag=True):
    """The command was stopped before any outside effect that moves money."""

    reason: str = ""


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
