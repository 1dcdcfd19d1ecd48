"""The port through which messages leave: what a sender promises, whoever it is."""

from dataclasses import dataclass
from typing import Final, Protocol

from app.alerts.events import Severity

SCHEMES: Final = {
    "dingtalk": ("dingtalk",),
    "wecom": ("wecombot",),
    "feishu": ("feishu", "lark"),
    "mail": ("mailtos", "mailto"),
    "slack": ("slack",),
    "webhook": ("jsons", "json"),
}
"""The only schemes there are, by kind of channel."""

OWN_ADDRESSES: Final = {
    "dingtalk": ("https://oapi.dingtalk.com/",),
    "wecom": ("https://qyapi.weixin.qq.com/",),
    "feishu": ("https://open.feishu.cn/", "https://open.larksuite.com/"),
    "slack": ("https://hooks.slack.com/",),
}
"""How the addresses begin that services show to be pasted, by kind of channel; see Sender.written."""


class SendError(Exception):
    """The message did not arrive, or nobody knows whether it did. Its text holds no secret."""


class BadUrlError(Exception):
    """A URL no message can be sent to. ``code`` is a code of app.messages: alert_url or alert_token."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Destination:
    """What is known of a URL that can be sent to. ``is_encrypted``: nobody on the way can read along."""

    is_encrypted: bool


class Sender(Protocol):
    """Sends text to a URL of SCHEMES. Safe from any thread."""

    def written(self, url: str) -> str:
        """Return in SCHEMES the address that a service shows (OWN_ADDRESSES), any other as it is."""
        ...

    def check(self, url: str) -> Destination:
        """Look at a URL without sending. Raises BadUrlError."""
        ...

    def send(self, url: str, title: str, body: str, severity: Severity) -> None:
        """Send, within seconds; services show how grave it is, by a colour say. Raises SendError."""
        ...
