"""Why a message did not go out, in the reader's language; what the connection said stands beside it."""

import re
from typing import Any, Final

from flask import Flask
from flask_babel import lazy_gettext as _

from app.messages import TEXTS

CAUSES: Final[tuple[tuple[str, Any], ...]] = (
    (r"error=(?P<status>40[13])\b", _("对方拒绝：令牌或密钥不对（HTTP %(status)s）")),
    (r"error=(?P<status>404|410)\b", _("对方没有这个地址（HTTP %(status)s）")),
    (r"error=(?P<status>429)\b", _("发得太多，对方暂不接受（HTTP %(status)s）")),
    (r"error=(?P<status>5\d\d)\b", _("对方的服务出错（HTTP %(status)s）")),
    (r"error=(?P<status>\d{3})\b", _("对方没有接受这条消息（HTTP %(status)s）")),
    (r"Failed to resolve|NameResolution|getaddrinfo|Name or service not known", _("域名解析失败")),
    (r"SSLError|CERTIFICATE|certificate", _("对方的证书不可信")),
    (r"[Tt]imed? ?out|Timeout", _("连接超时，对方没有应答")),
    (r"[Cc]onnection refused|ConnectionRefused", _("连接不上，对方拒绝连接")),
    (r"ConnectionError|Connection Exception|ConnectionReset|unreachable|Connection aborted", _("连接不上")),
    (r"^errcode ", _("对方没有接受这条消息")),
    (r"^interrupted$", _("服务停止时没有发完")),
    (r"^refused$", _("对方没有接受，也没有说明原因")),
)
"""What an error holds, as a pattern, and what it comes to, with its named groups; the first that fits."""


def failure_words(error: str) -> str:
    """Return why a message did not go out; '' where only the error itself can tell."""
    if error in TEXTS:
        return str(TEXTS[error])
    found = ((re.search(pattern, error), words) for pattern, words in CAUSES)
    return next((str(words) % match.groupdict() for match, words in found if match), "")


def init_app(app: Flask) -> None:
    """Add the filter ``failure`` to the templates."""
    app.jinja_env.filters["failure"] = failure_words
