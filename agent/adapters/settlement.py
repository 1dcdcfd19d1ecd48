"""Settlement files: the second of the two negatives that prove that the bank never moved the money.

A file counts only when its trailer proves it whole; verified files are kept in memory, within bounds.
"""

import csv
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from agent.adapters.bank_client import BadAnswerError, BankClient, NoAnswerError
from agent.adapters.names import BankNames
from agent.adapters.rows import UNDATED
from agent.errors import PortError

HEADER: Final = [
    "request_no",
    "kind",
    "amount_minor",
    "currency",
    "account",
    "status",
    "code",
    "completed_at",
]
MOST_FILES: Final = 2_000
MOST_NUMBERS: Final = 2_000_000
_TRAILER: Final = b"#TRAILER,"

AFTER_OPENING: Final = timedelta(minutes=5)
"""How far production's clock may be ahead of the bank's: so long the day before may hold it too."""

Aware = Annotated[datetime, msgspec.Meta(tz=True)]


class BankDay(msgspec.Struct, frozen=True):
    """A bank day, [opens_at, closes_at); a request counts into the day in which the bank accepted it."""

    day: str
    opens_at: Aware
    closes_at: Aware
    is_closed: bool
    settlement_ready: bool


class DayAnswer(msgspec.Struct, frozen=True):
    """The answer of GET /days."""

    days: list[BankDay]


def read_settlement(content: bytes) -> frozenset[str]:
    """The request numbers in a settlement file. BadAnswerError unless rows, amount and digest agree.

    It is read line by line: taken apart as a whole it would be ten times as large.
    """
    start = content.rfind(b"\n" + _TRAILER) + 1
    body, trailer = content[:start], content[start:].removesuffix(b"\n").removesuffix(b"\r")
    numbers: set[str] = set()
    found = gained = 0
    try:
        mark, rows, total, digest = trailer.decode("ascii").split(",")
        for line in _lines(body):
            found += 1
            gained += int(line[2])
            numbers.add(line[0])
            if len(line) != len(HEADER):
                raise ValueError("a line of another length")
        is_whole = (
            mark + "," == _TRAILER.decode()
            and int(rows) == found == len(numbers)
            and int(total) == gained
            and hashlib.sha256(body).hexdigest() == digest.lower()
        )
    except (ValueError, IndexError, csv.Error) as error:
        raise BadAnswerError("the settlement file cannot be read") from error
    if not is_whole:
        raise BadAnswerError("the settlement file does not agree with its trailer")
    return frozenset(numbers)


def _lines(body: bytes) -> Iterator[list[str]]:
    """The lines of a file, without its header and empty ones."""
    lines = filter(None, csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8", newline=""), strict=True))
    first = next(lines, HEADER)
    if first != HEADER:
        yield first
    yield from lines


class SettlementShelf:
    """Verified files of closed days, the oldest used thrown away first. Safe to share between threads."""

    def __init__(self, client: BankClient, names: BankNames) -> None:
        self._client = client
        self._names = names
        self._lock = threading.Lock()
        self._files: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._numbers = 0
        self._pairs: OrderedDict[datetime, tuple[BankDay, BankDay]] = OrderedDict()

    def known_pair(self, at: datetime) -> tuple[BankDay, BankDay] | None:
        """The closed day that held ``at`` and the closed one after it, where they were asked for before."""
        with self._lock:
            return next((pair for pair in self._pairs.values() if _holds(pair[0], at)), None)

    def ask_pair(self, at: datetime) -> tuple[BankDay, BankDay]:
        """The day that holds ``at`` and the next. Raises NoAnswerError, BadAnswerError."""
        answer = self._client.get(
            "/days", params={"at": at.astimezone(UTC).isoformat().replace("+00:00", "Z")}
        )
        if answer.status != 200:
            raise BadAnswerError(f"bank days: HTTP {answer.status}")
        try:
            days = msgspec.json.decode(answer.content, type=DayAnswer).days
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswerError("bank days without usable JSON") from error
        if len(days) != 2 or not _holds(days[0], at) or not _follows(days[0], days[1]):
            raise BadAnswerError("bank days that do not hold the time asked for")
        pair = (days[0], days[1])
        if all(day.is_closed and day.settlement_ready for day in pair):
            with self._lock:
                self._pairs[pair[0].opens_at] = pair
                if len(self._pairs) > MOST_FILES:
                    self._pairs.popitem(last=False)
        return pair

    def numbers_of(self, day: str) -> frozenset[str]:
        """The request numbers of a closed day. Raises NoAnswerError, BadAnswerError."""
        with self._lock:
            if day in self._files:
                self._files.move_to_end(day)
                return self._files[day]
        answer = self._client.get(
            f"/settlements/{quote(day, safe='')}", most_bytes=self._names.max_settlement_bytes
        )
        if answer.status != 200:
            raise BadAnswerError(f"settlement file {day}: HTTP {answer.status}")
        numbers = read_settlement(answer.content)
        self._keep(day, numbers)
        return numbers

    def _keep(self, day: str, numbers: frozenset[str]) -> None:
        with self._lock:
            if day not in self._files:
                self._numbers += len(numbers)
            self._files[day] = numbers
            while len(self._files) > MOST_FILES or (self._numbers > MOST_NUMBERS and len(self._files) > 1):
                self._numbers -= len(self._files.popitem(last=False)[1])


def _holds(day: BankDay, at: datetime) -> bool:
    return day.opens_at <= at < day.closes_at


def _follows(day: BankDay, other: BankDay) -> bool:
    return day.day != other.day and day.closes_at <= other.opens_at < other.closes_at


class Absence(msgspec.Struct, frozen=True):
    """Whether settlement files prove a request absent; None where they prove nothing.

    ``days`` are the bank days whose files prove it, ``closed_at`` is when the last one closed.
    """

    is_absent: bool | None
    evidence: str
    days: tuple[str, ...] = ()
    closed_at: datetime | None = None


class SettlementSearch:
    """Looks numbers up in settlement files during one inquiry: what failed once is not asked again."""

    def __init__(self, shelf: SettlementShelf) -> None:
        self._shelf = shelf
        self._pairs: list[tuple[BankDay, BankDay]] = []
        self._failures: dict[str, str] = {}
        self._silence = ""

    def look(self, request_no: str, *moments: datetime) -> Absence:
        """Whether the days of these times and the next after each, all closed, hold the number.

        Just after a day has opened the one before is looked at too: the bank files by its own clock.
        """
        if UNDATED in moments:
            return Absence(None, "not found; the request has no readable time")
        try:
            searched = list(dict.fromkeys(day for at in moments for day in self._days(at)))
            unsettled = [day.day for day in searched if not (day.is_closed and day.settlement_ready)]
            if unsettled:
                return Absence(None, f"not found, but bank day {unsettled[-1]} is not settled yet")
            days = tuple(dict.fromkeys(day.day for day in searched))
            listed = [day for day in days if request_no in self._numbers(day)]
        except PortError as error:
            return Absence(None, f"not found, but {error}")
        if listed:
            return Absence(False, f"not found by inquiry, but settlement file {listed[0]} lists it")
        evidence = f"not found; absent from settlement files {', '.join(days)}"
        return Absence(True, evidence, days, max(day.closes_at for day in searched))

    def _days(self, at: datetime) -> tuple[BankDay, ...]:
        pair = self._pair(at)
        if at - pair[0].opens_at >= AFTER_OPENING:
            return pair
        return (self._pair(pair[0].opens_at - timedelta(microseconds=1))[0], *pair)

    def _pair(self, at: datetime) -> tuple[BankDay, BankDay]:
        seen = next((pair for pair in self._pairs if _holds(pair[0], at)), None) or self._shelf.known_pair(at)
        if seen is None:
            self._refuse_if_silent()
            try:
                seen = self._shelf.ask_pair(at)
            except NoAnswerError as error:
                self._silence = str(error)
                raise
            self._pairs.append(seen)
        return seen

    def _numbers(self, day: str) -> frozenset[str]:
        if day in self._failures:
            raise BadAnswerError(self._failures[day])
        self._refuse_if_silent()
        try:
            return self._shelf.numbers_of(day)
        except NoAnswerError as error:
            self._silence = str(error)
            raise
        except BadAnswerError as error:
            self._failures[day] = str(error)
            raise

    def _refuse_if_silent(self) -> None:
        # A bank that is away must not cost a time-out for each of hundreds of numbers.
        if self._silence:
            raise NoAnswerError(self._silence)
