"""A sender that keeps what it is given, with switches for what goes wrong."""

from typing import NamedTuple

from app.alerts.events import Severity
from app.alerts.sender import Destination, SendError


class Sent(NamedTuple):
    """One message that arrived."""

    url: str
    title: str
    body: str
    severity: Severity


class FakeSender:
    """See app.alerts.sender.Sender.

    ``failing``: URLs that refuse, and what they say; ``dies_after_sending``: the server ends there.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.failing: dict[str, str] = {}
        self.dies_after_sending = False

    def written(self, url: str) -> str:
        """See Sender.written; it knows no service's own address."""
        return url

    def check(self, url: str) -> Destination:
        """See Sender.check; every URL can be sent to."""
        return Destination(is_encrypted=not url.startswith("json://"))

    def send(self, url: str, title: str, body: str, severity: Severity) -> None:
        """See Sender.send."""
        if url in self.failing:
            raise SendError(self.failing[url])
        self.sent.append(Sent(url, title, body, severity))
        if self.dies_after_sending:
            raise KeyboardInterrupt
