"""What an agent answers a command with: that it began, steps, a collection's report, facts, the result.

The messages of agent.protocol that belong to a command; docs/protocol.md tells when each is sent.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from agent.facts import Facts, Row
from agent.message import Code, Count, Message, StepName, Time
from agent.money import MAX_MINOR

MAX_CHUNK_ROWS: Final = 100

Outcome = Literal[
    "repaired", "already_consistent", "failed", "unknown", "wait", "refused", "needs_human", "cancelled"
]
"""How an attempt ended. Only ``failed`` spends a retry."""

BROKE_OFF: Final = "internal error"
"""How a reason begins where work broke off in a way nobody foresaw."""
MOST_REASON: Final = 500
"""Characters told of why work broke off."""


def why_it_broke_off(error: Exception, what: str = "") -> str:
    """Return the reason of work that broke off with an error that nobody foresaw, ``what`` told before it."""
    told = f"{what}: " if what else ""
    return sendable(f"{BROKE_OFF}: {told}{type(error).__name__}: {error}")


def sendable(reason: str) -> str:
    """Return a reason that fits a frame: what an error says may be of any length and of no encoding."""
    return reason.encode("utf-8", "replace").decode()[:MOST_REASON]


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
