"""The report of a collection: rows cut into chunks that fit a frame, and a trailer that adds them up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from agent.answers import (
    MAX_CHUNK_ROWS,
    AnomaliesReported,
    CollectFinished,
    CollectProgress,
    FactsRead,
    RepairFinished,
    ReportedTrade,
)
from agent.envelope import new_id
from agent.errors import PortError
from agent.facts import Row
from agent.message import Message
from agent.protocol import MAX_FRAME_BYTES, Collect, encode

ENVELOPE_BYTES: Final = 2_048
"""Room left in a frame for everything that is not rows."""
MOST_CHARACTERS: Final = 2_000
"""Told of each text of a row that is too large for a frame."""
PROGRESS_SECONDS: Final = 0.5

_encoder: Final = msgspec.json.Encoder()


def cut(pages: Iterable[Sequence[ReportedTrade]]) -> Iterator[tuple[ReportedTrade, ...]]:
    """Yield the rows again in chunks of at most MAX_CHUNK_ROWS that fit a frame; no chunk is empty.

    A single row too large for a frame goes without its facts, then without its predicted row and its cells,
    then with the beginnings of its texts. What the pages raise passes through, behind the rows that came
    before.
    """
    chunk: list[ReportedTrade] = []
    size = 0
    limit = MAX_FRAME_BYTES - ENVELOPE_BYTES
    try:
        for row in (row for page in pages for row in page):
            row, length = _fitting(row, limit)
            if chunk and (len(chunk) == MAX_CHUNK_ROWS or size + length > limit):
                yield tuple(chunk)
                chunk, size = [], 0
            chunk.append(row)
            size += length
    except PortError:
        if chunk:
            yield tuple(chunk)
        raise
    if chunk:
        yield tuple(chunk)


def _fitting(row: ReportedTrade, limit: int) -> tuple[ReportedTrade, int]:
    length = len(_encoder.encode(row)) + 1
    if length > limit:
        row = msgspec.structs.replace(row, facts=None)
        length = len(_encoder.encode(row)) + 1
    if length > limit:
        row = msgspec.structs.replace(row, after=None, row={})
        length = len(_encoder.encode(row)) + 1
    if length > limit:
        row = msgspec.structs.replace(
            row,
            trade_no=row.trade_no[:MOST_CHARACTERS],
            currency=row.currency[:MOST_CHARACTERS],
            channel=row.channel and row.channel[:MOST_CHARACTERS],
        )
        length = len(_encoder.encode(row)) + 1
    return row, length


def fitted(message: Message) -> Message:
    """Return a result that fits a frame: one that is too large tells of long texts of its rows the beginning,
    and where that is not enough goes without its facts.

    Production's step table and the bank's own records outlive the frame. Raises ProtocolError when even that
    is too large.
    """
    if len(_encoder.encode(message)) <= MAX_FRAME_BYTES:
        return message
    message = _with_short_rows(message)
    if len(_encoder.encode(message)) <= MAX_FRAME_BYTES:
        return message
    if isinstance(message, RepairFinished):
        message = msgspec.structs.replace(message, facts_before=None, facts_after=None)
    elif isinstance(message, FactsRead):
        message = msgspec.structs.replace(message, facts=None)
    encode(message)
    return message


def _with_short_rows(message: Message) -> Message:
    if isinstance(message, RepairFinished):
        return msgspec.structs.replace(message, before=_short(message.before), after=_short(message.after))
    if isinstance(message, FactsRead):
        return msgspec.structs.replace(message, row=_short(message.row), after=_short(message.after))
    return message


def _short(row: Row | None) -> Row | None:
    return row and {
        name: f"{cell[:MOST_CHARACTERS]}…" if isinstance(cell, str) and len(cell) > MOST_CHARACTERS else cell
        for name, cell in row.items()
    }


class Report:
    """The messages of one shard's report, numbered and added up.

    ``put`` keeps a chunk, ``hint`` sends progress (at most two a second by ``monotonic``).
    """

    def __init__(
        self,
        command: Collect,
        command_id: str,
        put: Callable[[Message], None],
        hint: Callable[[Message], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._command = command
        self._command_id = command_id
        self._put = put
        self._hint = hint
        self._monotonic = monotonic
        self._began = monotonic()
        self._last_progress = self._began - PROGRESS_SECONDS
        self._chunks = self._rows = self._amount_minor = self._scanned = self._unverified = 0

    def add(self, rows: tuple[ReportedTrade, ...]) -> None:
        """Send one chunk. Raises JournalError when it cannot be kept."""
        self._put(
            AnomaliesReported(
                id=new_id(),
                command_id=self._command_id,
                run_id=self._command.run_id,
                shard=self._command.shard,
                chunk=self._chunks,
                rows=rows,
            )
        )
        self._chunks += 1
        self._rows += len(rows)
        self._amount_minor += sum(row.amount_minor or 0 for row in rows)

    def progress(self, scanned: int, unverified: int, estimated: int) -> None:
        """Note how far the collection is, and tell the server now and then."""
        self._scanned, self._unverified = scanned, unverified
        now = self._monotonic()
        if now - self._last_progress < PROGRESS_SECONDS:
            return
        self._last_progress = now
        self._hint(
            CollectProgress(
                id=new_id(),
                command_id=self._command_id,
                run_id=self._command.run_id,
                shard=self._command.shard,
                scanned=scanned,
                reported=self._rows,
                estimated=estimated,
            )
        )

    def trailer(self, error: str | None = None) -> CollectFinished:
        """Return the trailer over everything added; ``error`` marks a report that is not whole."""
        return CollectFinished(
            id=new_id(),
            command_id=self._command_id,
            run_id=self._command.run_id,
            shard=self._command.shard,
            chunks=self._chunks,
            rows=self._rows,
            amount_minor=self._amount_minor,
            scanned=self._scanned,
            unverified=self._unverified,
            duration_ms=round((self._monotonic() - self._began) * 1000),
            error=error,
        )
