"""The head of an answer, without the parser of e-mail where it is as plain as it nearly always is."""

import re
from http.client import HTTPMessage, HTTPResponse
from typing import Final

_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 (200|202|[45]\d\d) ([!-~][ -~]*)\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~]*\r\n){1,50})\r\n"
)
_LENGTH: Final = re.compile(r"[0-9]{1,9}")
_FRAMING: Final = frozenset({"connection", "transfer-encoding"})


class PlainHead(HTTPResponse):
    """Says of each answer what http.client says of it, which itself reads all that are not plain.

    Plain: of one length and a connection that stays, its head whole in one read, each header on a line.
    """

    def begin(self) -> None:
        """Read the head. Raises HTTPException, OSError."""
        if self.headers is None and self._method in ("GET", "POST"):
            plain = _PLAIN.match(self.fp.peek())
            if plain and (headers := _headers(plain[3])):
                self.fp.read(plain.end())
                self.code = self.status = int(plain[1])
                self.reason = plain[2].decode("ascii").strip()
                self.version, self.chunked, self.will_close = 11, False, False
                self.length = int(headers["Content-Length"])
                self.headers = self.msg = headers
        super().begin()  # Once the headers are known it reads nothing.


def _headers(lines: bytes) -> HTTPMessage | None:
    """None where they are not those of a plain answer."""
    headers = HTTPMessage()
    for line in lines.decode("ascii").splitlines():
        name, _, value = line.partition(":")
        headers[name] = value.lstrip(" ")
    names = [name.lower() for name in headers]
    if names.count("content-length") != 1 or not _FRAMING.isdisjoint(names):
        return None
    return headers if _LENGTH.fullmatch(headers["Content-Length"]) else None
