"""One HTTP call to the bank at a time: bounded in time and size, no redirects, and an honest 'no answer'."""

import re
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import msgspec

from agent.adapters.names import BankNames
from agent.errors import ConfigurationError, PortError

DEADLINE_FACTOR: Final = 4
"""A whole answer may take this many times the time-out of one read."""


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


class BankClient:
    """Calls the bank over a pool of connections; safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        token: str,
        names: BankNames,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._names = names
        self._monotonic = monotonic
        if not re.match(r"https?://[^/?#\[\]@]+|https?://\[[0-9a-fA-F:.]+\]", base_url):
            raise ConfigurationError("the bank's address is no http or https URL")
        try:
            self._client = httpx2.Client(
                base_url=base_url,
                headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
                timeout=httpx2.Timeout(names.timeout_s, connect=names.connect_timeout_s),
                limits=httpx2.Limits(
                    max_connections=names.connections, max_keepalive_connections=names.connections
                ),
                follow_redirects=False,
                trust_env=False,
                transport=transport,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise ConfigurationError("the bank's address or token cannot be used") from error

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def get(
        self, path: str, *, params: dict[str, str] | None = None, most_bytes: int | None = None
    ) -> Answer:
        """Raises NoAnswerError, BadAnswerError."""
        return self._call("GET", path, most_bytes or self._names.max_answer_bytes, params=params)

    def post(self, path: str, wanted: object) -> Answer:
        """Raises NoAnswerError, BadAnswerError."""
        return self._call(
            "POST",
            path,
            self._names.max_answer_bytes,
            content=msgspec.json.encode(wanted),
            headers={"Content-Type": "application/json"},
        )

    def _call(self, method: str, path: str, most_bytes: int, **request: Any) -> Answer:
        ends_at = self._monotonic() + DEADLINE_FACTOR * self._names.timeout_s
        content = bytearray()
        try:
            with self._client.stream(method, path, **request) as response:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > most_bytes:
                        raise BadAnswerError(f"HTTP {response.status_code} with more than {most_bytes} bytes")
                    if self._monotonic() > ends_at:
                        raise NoAnswerError("the answer took too long")
                return Answer(response.status_code, bytes(content), _date(response.headers.get("Date")))
        except httpx2.DecodingError as error:
            raise BadAnswerError("an answer in an encoding nobody asked for") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            raise NoAnswerError(f"no answer: {type(error).__name__}") from error


def _date(header: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else None
