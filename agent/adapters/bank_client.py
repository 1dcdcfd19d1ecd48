"""One HTTP call to the bank at a time: bounded in time and size, no redirects, and an honest 'no answer'."""

import re
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
import urllib3

from agent.adapters.bank_pool import Deadline, bank_pool
from agent.adapters.names import BankNames
from agent.errors import ConfigurationError, PortError

DEADLINE_FACTOR: Final = 4
"""A whole call, to the last byte of its answer, may take this many times the time-out of one read."""
PART: Final = 65_536
"""Bytes read at most at a time."""


class NoAnswerError(PortError):
    """The bank did not answer: nothing is known of the effect."""


class BadAnswerError(PortError):
    """The bank's answer is not what its interface promises: nothing is known of the effect."""


class Answer(msgspec.Struct, frozen=True):
    """What came back, whole. ``at``: the bank's own time of answering (``Date``), aware, None if not told."""

    status: int
    content: bytes
    at: datetime | None = None

    def json(self) -> object:
        """The JSON of the content. Raises BadAnswerError."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswerError(f"HTTP {self.status} without usable JSON") from error


class Transport(Protocol):
    """Carries calls: urllib3's pool of connections to one host, or what stands in for it."""

    def urlopen(self, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send one request; the answer's content is yet to be read. Raises urllib3's HTTPError."""

    def close(self) -> None:
        """Give the connections back."""


class BankClient:
    """Calls the bank over a pool of connections; safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        token: str,
        names: BankNames,
        monotonic: Callable[[], float] = time.monotonic,
        transport: Transport | None = None,
    ) -> None:
        self._names = names
        self._deadline = Deadline(monotonic)
        if not re.match(r"https?://[^/?#\[\]@]+|https?://\[[0-9a-fA-F:.]+\]", base_url):
            raise ConfigurationError("the bank's address is no http or https URL")
        if not re.fullmatch(r"[\x20-\x7e]*", token):
            raise ConfigurationError("the bank's token cannot be sent in a header")
        try:
            self._path = urlsplit(base_url).path.rstrip("/")
            self._transport: Transport = transport or bank_pool(base_url, names, self._deadline)
        except (urllib3.exceptions.LocationValueError, ValueError) as error:
            raise ConfigurationError("the bank's address cannot be used") from error
        self._headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def get(
        self, path: str, *, params: dict[str, str] | None = None, most_bytes: int | None = None
    ) -> Answer:
        """Raises NoAnswerError, BadAnswerError."""
        query = f"?{urlencode(params)}" if params else ""
        return self._call("GET", path + query, most_bytes or self._names.max_answer_bytes, self._headers)

    def post(self, path: str, wanted: object) -> Answer:
        """Raises NoAnswerError, BadAnswerError."""
        headers = self._headers | {"Content-Type": "application/json"}
        return self._call("POST", path, self._names.max_answer_bytes, headers, msgspec.json.encode(wanted))

    def _call(
        self, method: str, path: str, most_bytes: int, headers: dict[str, str], body: bytes | None = None
    ) -> Answer:
        self._deadline.start(DEADLINE_FACTOR * self._names.timeout_s)
        try:
            response = self._transport.urlopen(
                method,
                self._path + path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                pool_timeout=self._names.timeout_s,
                preload_content=False,
                decode_content=False,
            )
            # Closed, so that what is left of it is not read; one read to its end is in the pool by then.
            with closing(response):
                content = _read(response, most_bytes)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswerError(f"no answer: {type(error).__name__}") from error
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise BadAnswerError("an answer in an encoding nobody asked for")
        return Answer(response.status, content, _date(response.headers.get("Date")))


def _read(response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    content = bytearray()
    while part := response.read1(PART):
        content += part
        if len(content) > most_bytes:
            raise BadAnswerError(f"HTTP {response.status} with more than {most_bytes} bytes")
    return bytes(content)


@lru_cache(maxsize=8)  # A bank dates many answers with one second.
def _date(header: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else None
