"""What ``python -m agent check`` finds: every port tried read-only, one line each."""

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agent.errors import AgentError, ConfigurationError, PortError
from agent.journal import Journal

CONNECT_SECONDS: Final = 5.0
DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, whether it is well, and what was found.

    ``is_misconfigured``: not well because of the configuration, whatever stands beside the agent.
    """

    subject: str
    is_well: bool
    text: str
    is_misconfigured: bool = False


Look = tuple[str, Callable[[], str]]
"""A subject, and a function that says what it found or raises AgentError."""


def look_at(looks: Sequence[Look]) -> Iterator[Finding]:
    """Try each; one that fails does not keep the others from being tried."""
    for subject, look in looks:
        try:
            yield Finding(subject, True, look())
        except AgentError as error:
            yield Finding(subject, False, str(error), isinstance(error, ConfigurationError))


def reach(url: str) -> str:
    """Say whether the server's port answers. Raises PortError.

    No session is opened: it would push out the agent that is running under the same token.
    """
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])
    try:
        socket.create_connection(address, CONNECT_SECONDS).close()
    except OSError as error:
        raise PortError(f"{address[0]} port {address[1]} does not answer: {error}") from error
    return f"{address[0]} port {address[1]} answers (no session opened)"


def open_journal(path: Path) -> str:
    """Say what the journal holds, or that there is none yet. Raises JournalError."""
    if not path.exists():
        return f"{path} is not there yet; the first start makes it"
    journal = Journal(path)
    try:
        return f"{len(journal.unfinished())} commands unfinished, {journal.outbox_length()} messages unsent"
    finally:
        journal.close()


def as_table(findings: Sequence[Finding]) -> str:
    """Lay findings out in lines."""
    width = max(len(finding.subject) for finding in findings)
    return "\n".join(
        f"{'ok  ' if finding.is_well else 'FAIL'}  {finding.subject:<{width}}  {finding.text}"
        for finding in findings
    )
