"""What may be shown of a channel's URL, and of a text that may repeat parts of it."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

MASK: Final = "***"
HOST_IS_SHOWN: Final = ("json", "jsons", "mailto", "mailtos")
"""Of the other schemes the place of the host holds the token."""

SHORTEST_SECRET: Final = 4
_plumbing = re.compile(
    r"HTTPS?Connection(?:Pool)?\([^)]*\): |Max retries exceeded with url: \S+ |\(Caused by \w+\([\"']?"
)
_end = re.compile(r"[\"']?\)\)\.?$")
"""What requests and urllib3 put around the cause of an error."""
_separators = re.compile(r"[/?&=:@+,;#\s]+")


def masked(url: str) -> str:
    """Return what of a URL may be shown: its scheme, and the host where that is no token."""
    parts = urlsplit(url.strip())
    host = ""
    if parts.scheme.lower() in HOST_IS_SHOWN:
        host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme.lower()}://{host}{'/' if host else ''}{MASK}"


def without_secrets(text: str, url: str) -> str:
    """Return a text without any part of the URL but its scheme and a shown host, on one line.

    Of an error of a connection only its cause stays.
    """
    cause = _plumbing.sub("", text)
    text = (text if cause == text else _end.sub("", cause)).replace(url, masked(url))
    for part in sorted(_secret_parts(url), key=len, reverse=True):
        text = text.replace(part, MASK)
    return " ".join(text.split())


def _secret_parts(url: str) -> set[str]:
    scheme, _, rest = url.strip().partition("://")
    shown = set()
    if scheme.lower() in HOST_IS_SHOWN:
        host = urlsplit(url.strip()).netloc.rpartition("@")[2]
        shown = {host, host.partition(":")[0], host.rpartition(":")[2]}
    pieces = _separators.split(rest)
    parts = {*pieces, *(unquote(piece) for piece in pieces)} - shown
    return {part for part in parts if len(part) >= SHORTEST_SECRET}
