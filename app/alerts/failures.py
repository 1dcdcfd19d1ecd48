"""Why a message did not go out, in the reader's language; what the connection said stands beside it."""

import re
from typing import Any, Final

from flask import Flask
from flask_babel import lazy_gettext as _

from app.messages import TEXTS

CAUSES: Final[tuple[tuple[str, Any], ...]] = (
    (r"Failed to resolve|NameResolution|getaddrinfo|Name or service not known", _("域名解析失败")),
    (r"SSLError|CERTIFICATE|certificate", _("对方的证书不可信")),
    (r"[Tt]imed? ?out|Timeout", _("连接超时，对方没有应答")),
    (r"[Cc]onnection refused|ConnectionRefused", _("连接不上，对方拒绝连接")),
    (r"ConnectionError|Connection Exception|ConnectionReset|unreachable|Connection aborted", _("连接不上")),
    (r"^errcode ", _("对方没有接受这条消息")),
    (r"^interrupted$", _("服务停止时没有发完")),
    (r"^refused$", _("对方没有接受，也没有说明原因")),
)
"""What an error holds, as a pattern, and what it comes to; the first that fits."""


def failure_words(error: str) -> str:
    """Return why a message did not go out; '' where only the error itself can tell."""
    if error in TEXTS:
        return str(TEXTS[error])
    return next((str(words) for pattern, words in CAUSES if re.search(pattern, error)), "")


def init_app(app: Flask) -> None:
    """Add the filter ``failure`` to the templates."""
    app.jinja_env.filters["failure"] = failure_words
