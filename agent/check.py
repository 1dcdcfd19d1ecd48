"""What ``python -m agent check`` finds: every port tried read-only, one line each."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agent.adapters.verdicts import CLOCKS_DIFFER
from agent.errors import AgentError, ConfigurationError, JournalInUseError, PortError
from agent.journal import Journal
from agent.stop_file import StopFile

CONNECT_SECONDS: Final = 5.0
DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
UPGRADE_REQUIRED: Final = HTTPStatus.UPGRADE_REQUIRED
REFUSALS: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "refuses the token: it is unknown or revoked",
    HTTPStatus.SERVICE_UNAVAILABLE: "is not ready for agents",
}


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


def knock(url: str, token: str, ca_file: str | None = None) -> str:
    """Say whether the server takes the token. Raises PortError.

    It asks for the agents' endpoint without a handshake, which the server answers once it has looked at the
    token. A session would push out the agent that is running under the same token.
    """
    parts = urlsplit(url)
    address = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    place = f"{address[0]} port {address[1]}"
    connection = _connection(parts.scheme, address, ca_file)
    try:
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:
        raise PortError(f"{place} does not answer: {error}") from error
    finally:
        connection.close()
    if status != UPGRADE_REQUIRED:
        raise PortError(f"{place} {REFUSALS.get(status, f'is no Piculus server: HTTP {status}')}")
    return f"{place} takes the token (no session opened)"


def _connection(scheme: str, address: tuple[str, int], ca_file: str | None) -> HTTPConnection:
    if scheme == "ws":
        return HTTPConnection(*address, timeout=CONNECT_SECONDS)
    context = ssl.create_default_context(cafile=ca_file)
    return HTTPSConnection(*address, timeout=CONNECT_SECONDS, context=context)


def compare_clocks(production: Callable[[], datetime], bank: Callable[[], datetime | None]) -> str:
    """Say how far the bank's clock is from production's. Raises PortError where that is too far.

    By these two it is judged whether a failed payout has settled.
    """
    at, of_bank = production(), bank()
    if of_bank is None:
        return "the bank does not date its answers: its failures settle by production's clock"
    apart = of_bank - at
    told = f"the bank's is {apart.total_seconds():+.0f} s from production's"
    if abs(apart) > CLOCKS_DIFFER:
        most = CLOCKS_DIFFER.total_seconds()
        raise PortError(f"{told}, more than {most:.0f} s: failed payouts settle late, or by the files alone")
    return told


def open_journal(path: Path) -> str:
    """Say what the journal holds, that it is not there yet, or that it is in use. Raises JournalError."""
    if not path.exists():
        return f"{path} is not there yet; the first start makes it"
    try:
        journal = Journal(path)
    except JournalInUseError:
        return f"{path} is in use: the agent is running"
    try:
        return f"{len(journal.unfinished())} commands unfinished, {journal.outbox_length()} messages unsent"
    finally:
        journal.close()


def look_for_stop(file: StopFile) -> str:
    """Say whether the agent is stopped by its own file, and where that stands or would stand."""
    why = file.reason()
    return f"no; a file {file.path} would stop repairs" if why is None else f"STOPPED by {file.path}: {why}"


def as_table(findings: Sequence[Finding]) -> str:
    """Lay findings out in lines."""
    width = max(len(finding.subject) for finding in findings)
    return "\n".join(
        f"{'ok  ' if finding.is_well else 'FAIL'}  {finding.subject:<{width}}  {finding.text}"
        for finding in findings
    )
