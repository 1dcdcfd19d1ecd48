"""What is kept of every WebSocket message: its row for the monitor, masked before it is stored."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from agent.message import Message
from app.clock import Clock
from app.columns import fitting

Direction = Literal["in", "out"]
"""``in``: from an agent; ``out``: to an agent."""

UNREADABLE: Final = "unreadable"
"""The type of a frame that is no message of the protocol."""
CONVERSATIONS_KEPT: Final = 50_000
BODY_CHARACTERS: Final = 256 * 1024
ERROR_CHARACTERS: Final = 300

_READABLE_KEYS = (
    "id|of|v|type|command_id|key|trade_no|trade_id|TRD_NUM|TRD_ID|ACC_TRD_NUM|E_ACC_TRD_NUM|voucher_no|request_no"
    "|row_hash|boot_id|journal_id|amount_minor|epoch|run_id|fence"
)
"""Numbers that people follow a trade by; they are never taken for a card."""
_QUOTE = r'\\{0,9}"'
"""A JSON string begins and ends with it, also within JSON that is text of JSON."""

_key = re.compile(r'"([\w-]{2,60})\\{0,9}"\s*:\s*')
_account_key = re.compile(
    r"(.*(account|acct|acc[_-]?(?=n)|iban)|(.*[_-]|bank|(?-i:.*(?=C)))?card|pan)([_-]?(no|num|number|id))?s?",
    re.IGNORECASE,
)
"""``account``, ``cardNo``, ``payeeAccounts``, ``BANK_ACC_NO``; not ``discard``, not ``ACC_TRD_NUM``."""
_content = re.compile(
    rf'(?P<quote>{_QUOTE})(?P<text>.*?)(?:(?=(?P=quote))|\Z)|(?P<inner>\[[^\]]*|{{[^}}]*)|(?P<bare>[^"\\,}}\]\s]+)',
    re.DOTALL,
)
"""What stands after a key: a string, a list or an object, or a bare value."""
_value = re.compile(rf'{_QUOTE}[^"\\]*{_QUOTE}\s*:|[^"\\,:\[\]{{}}\s][^"\\,:\[\]{{}}]*')
"""A key, or a value without its quotes."""
_between = re.compile(r"[ -]")
_readable = re.compile(
    rf'{_QUOTE}(?:{_READABLE_KEYS}){_QUOTE}\s*:\s*(?:{_QUOTE}[^"\\]*{_QUOTE}|[^",}}\]\s]+)'
)
_digits = re.compile(
    # The first neither within a word, but for the letters of an escape (\n, \u8d26), nor within a fraction.
    r"[0-9](?:(?<![0-9A-Za-z].)(?<![0-9]\..)|(?<=\\[bfnrt].)|(?<=\\u[0-9A-Fa-f]{4}.))"
    r"(?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])"
)


def mask(text: str) -> str:
    """Return the frame with account and card numbers hidden but for the first and last four digits.

    An account is known by its key, whatever it is written like; anywhere else 13 to 19 digits in a row, with
    blanks or dashes between them or without, are taken for one. Trade, request and voucher numbers stay
    readable.
    """
    masked = _mask_accounts(text)
    if _digits.search(masked) is None:
        return masked
    pieces: list[str] = []
    end = 0
    for kept in _readable.finditer(masked):
        pieces.append(_mask_numbers(masked[end : kept.start()]))
        pieces.append(kept[0])
        end = kept.end()
    pieces.append(_mask_numbers(masked[end:]))
    return "".join(pieces)


def mask_number(number: str) -> str:
    """Hide the middle of a number; of one shorter than twelve characters only the last two stay."""
    if number in ("null", "None"):
        return number
    number = _between.sub("", number)
    if len(number) >= 12:
        return f"{number[:4]}****{number[-4:]}"
    return f"****{number[-2:]}" if len(number) > 4 else "****"


def _mask_accounts(text: str) -> str:
    pieces: list[str] = []
    end = 0
    for key in _key.finditer(text):
        if key.start() < end or not _is_account(key[1]):
            continue
        content = _content.match(text, key.end())
        if content is not None:
            pieces += text[end : key.end()], _mask_content(content)
            end = content.end()
    return "".join((*pieces, text[end:]))


@lru_cache(maxsize=1_000)
def _is_account(key: str) -> bool:
    return _account_key.fullmatch(key) is not None


def _mask_content(found: re.Match[str]) -> str:
    if found["inner"] is not None:
        return _value.sub(_mask_value, found["inner"])
    if found["bare"] is not None:
        return mask_number(found["bare"])
    return found["quote"] + (mask_number(found["text"]) if found["text"] else "")


def _mask_value(found: re.Match[str]) -> str:
    return found[0] if found[0].endswith(":") else mask_number(found[0].rstrip())


def _mask_numbers(text: str) -> str:
    return _digits.sub(lambda found: mask_number(found[0]), text)


@dataclass(frozen=True)
class Correspondent:
    """Whose frame it is."""

    agent_id: int
    group_id: int


class FrameLog:
    """Turns messages into frame rows and hands them to ``keep`` (the writer). Safe from any thread.

    It remembers when each command was sent and for which trade, so that an answer has its latency and its
    trade.
    """

    def __init__(self, keep: Callable[[dict[str, Any]], None], clock: Clock) -> None:
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()
        self._conversations: OrderedDict[str, tuple[datetime, str | None]] = OrderedDict()

    def now(self) -> datetime:
        """The time frames are kept with."""
        return self._clock()

    def sent(self, whose: Correspondent, message: Message, frame: bytes) -> None:
        """Keep a frame that goes to an agent."""
        now = self._clock()
        trade_no: str | None = getattr(message, "trade_no", None)
        if message.command_id is not None and hasattr(message, "deadline_ms"):
            self._begin(message.command_id, now, trade_no)
        row = self._row(whose, "out", message, frame.decode(), now)
        self._keep({**row, "latency_ms": None, "trade_no": trade_no or self._find(message)[1]})

    def received(
        self, whose: Correspondent, message: Message, text: str, at: datetime, error: str = ""
    ) -> None:
        """Keep a frame of an agent; ``error`` says why it was not taken."""
        self._keep({**self.row_of(whose, message, text, at), "error": _fault(error)})

    def row_of(self, whose: Correspondent, message: Message, text: str, at: datetime) -> dict[str, Any]:
        """Return the row of an agent's frame, without an error, for the one who keeps it."""
        sent_at, trade_no = self._find(message)
        latency = None if sent_at is None else max(0, int((at - sent_at).total_seconds() * 1000))
        own: str | None = getattr(message, "trade_no", None)
        kept_trade = (own or trade_no or "")[:64] or None
        return {
            **self._row(whose, "in", message, text, at),
            "latency_ms": latency,
            "trade_no": kept_trade,
        }

    def unreadable(
        self, whose: Correspondent, text: str, at: datetime, error: str, size: int | None = None
    ) -> None:
        """Keep a frame that could not be read, with the reason; ``size`` where its text is not there."""
        self._keep(
            {
                "at": at,
                "group_id": whose.group_id,
                "agent_id": whose.agent_id,
                "direction": "in",
                "type": UNREADABLE,
                "size": len(text.encode()) if size is None else size,
                "message_id": "",
                "command_id": None,
                "trade_no": None,
                "latency_ms": None,
                "body": _body(text),
                "error": _fault(error),
            }
        )

    def _row(
        self, whose: Correspondent, direction: Direction, message: Message, text: str, at: datetime
    ) -> dict[str, Any]:
        return {
            "at": at,
            "group_id": whose.group_id,
            "agent_id": whose.agent_id,
            "direction": direction,
            "type": type(message).__name__[:24],
            "size": len(text) if text.isascii() else len(text.encode()),
            "message_id": message.id[:40].replace("\0", ""),
            "command_id": message.command_id and message.command_id[:32].replace("\0", ""),
            "body": _body(text),
            "error": "",
        }

    def _begin(self, command_id: str, now: datetime, trade_no: str | None) -> None:
        with self._lock:
            self._conversations[command_id] = (now, trade_no)
            if len(self._conversations) > CONVERSATIONS_KEPT:
                self._conversations.popitem(last=False)

    def _find(self, message: Message) -> tuple[datetime | None, str | None]:
        if message.command_id is None:
            return None, None
        with self._lock:
            return self._conversations.get(message.command_id, (None, None))


def _fault(error: str) -> str:
    return fitting(error, ERROR_CHARACTERS)


def _body(text: str) -> str:
    # PostgreSQL stores no NUL.
    return mask(text)[:BODY_CHARACTERS].replace("\0", "")
