"""Sending by apprise: the few of its services we allow, named here and loaded here, and none of the others.

apprise tells only whether a message went; why not stands in its log, which would also show tokens. So its log
goes nowhere, and what it said of one message becomes the text of that message's error, without secrets.
"""

import logging
import threading
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from apprise import AppriseAsset, NotifyBase, NotifyFormat, NotifyType
from apprise.exception import AppriseException
from apprise.plugins.custom_json import NotifyJSON
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.lark import NotifyLark
from apprise.plugins.slack import NotifySlack

from app.alerts.events import Severity
from app.alerts.robots import DingTalkRobot, FeishuRobot, WeComRobot
from app.alerts.secrecy import without_secrets
from app.alerts.sender import BadUrlError, Destination, SendError

PLUGINS: Final[dict[str, type[NotifyBase]]] = {
    "dingtalk": DingTalkRobot,
    "wecombot": WeComRobot,
    "feishu": FeishuRobot,
    "lark": NotifyLark,
    "mailto": NotifyEmail,
    "mailtos": NotifyEmail,
    "slack": NotifySlack,
    "json": NotifyJSON,
    "jsons": NotifyJSON,
}

READS_FILES: Final = ("template", "pgp", "wkd")
"""Parameters by which a URL would have a file of the server read, or another address asked."""

TIMEOUT_SECONDS: Final = 5.0
_SCHEMES_IN_CLEAR: Final = ("json", "mailto")


class AppriseSender:
    """See app.alerts.sender.Sender. Redirects are not followed: they would carry a token elsewhere."""

    def __init__(self) -> None:
        self._asset = AppriseAsset(app_id="Piculus", app_desc="Piculus", http_redirects=False)
        self._ear = _Ear()
        log = logging.getLogger("apprise")
        log.handlers, log.propagate = [self._ear], False
        log.setLevel(logging.DEBUG)

    def written(self, url: str) -> str:
        """See Sender.written."""
        pasted = url.strip()
        if not pasted.lower().startswith("https://") or _reads_files(pasted):
            return url
        for service in dict.fromkeys(PLUGINS.values()):
            told = service.parse_native_url(pasted)
            if told:
                return self._shortest(service, told) or url
        return url

    def check(self, url: str) -> Destination:
        """See Sender.check."""
        plugin = self._plugin(url)
        if isinstance(plugin, NotifyEmail):
            return Destination(is_encrypted=plugin.secure_mode != "insecure")
        return Destination(is_encrypted=urlsplit(url.strip()).scheme.lower() not in _SCHEMES_IN_CLEAR)

    def send(self, url: str, title: str, body: str, severity: Severity) -> None:
        """See Sender.send."""
        try:
            plugin = self._plugin(url)
        except BadUrlError as error:
            raise SendError(error.code) from None
        plugin.socket_connect_timeout = plugin.socket_read_timeout = TIMEOUT_SECONDS
        self._ear.listen()
        try:
            is_sent = plugin.notify(
                body=body, title=title, notify_type=NotifyType(severity), body_format=NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001
            # Somebody else's code, and its text may show the URL: what kind of error it was must do.
            raise SendError(type(error).__name__) from None
        finally:
            heard = self._ear.heard()
        if not is_sent:
            raise SendError(without_secrets(heard, url) or "refused")

    def _shortest(self, service: type[NotifyBase], told: dict[str, Any]) -> str | None:
        """Return a URL without what goes without saying, which secrecy would take for secrets.

        None: what was told is not enough.
        """
        try:
            whole: str = service(**{**told, "asset": self._asset}).url()
        except (AppriseException, TypeError, ValueError):
            return None
        short = whole.partition("?")[0].rstrip("/")
        try:
            return short if self._plugin(short).url() == whole else whole
        except BadUrlError:
            return whole

    def _plugin(self, url: str) -> NotifyBase:
        service = PLUGINS.get(urlsplit(url.strip()).scheme.lower())
        if service is None or _reads_files(url.strip()):
            raise BadUrlError("alert_url")
        self._ear.listen()
        try:
            told: dict[str, Any] | None = service.parse_url(url.strip())
            if not told:
                raise BadUrlError("alert_url")
            return service(**{**told, "asset": self._asset})
        except (AppriseException, TypeError, ValueError):
            # Its text repeats the token.
            raise BadUrlError("alert_token") from None
        finally:
            self._ear.heard()


def _reads_files(url: str) -> bool:
    return any(name.lower().startswith(READS_FILES) for name, _value in parse_qsl(url.partition("?")[2]))


class _Ear(logging.Handler):
    """Keeps what apprise says in this thread while somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = threading.local()

    def listen(self) -> None:
        """Begin anew."""
        self._kept.lines = []

    def heard(self) -> str:
        """Return the warnings, and what the connection said, since ``listen``; and stop listening."""
        lines: list[str] = getattr(self._kept, "lines", None) or []
        self._kept.lines = None
        return " ".join(lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line that says why; addresses and contents of messages are debug lines, and not kept."""
        lines: list[str] | None = getattr(self._kept, "lines", None)
        message = record.getMessage() if lines is not None else ""
        if lines is not None and (record.levelno >= logging.WARNING or "Exception:" in message):
            lines.append(message)
