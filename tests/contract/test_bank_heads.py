"""The head of an answer as we read it, against the standard library's reading of the same bytes."""

import io
from http.client import HTTPException, HTTPResponse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.bank_heads import PlainHead

CONTENT = b'{"a":1}\r\n\r\n'
LENGTH = f"Content-Length: {len(CONTENT)}"
HEADS = {
    "plain": ["HTTP/1.1 200 OK", "Server: x", "Date: Mon, 30 Nov 2026 22:39:03 GMT", LENGTH],
    "accepted": ["HTTP/1.1 202 Accepted", LENGTH],
    "conflict": ["HTTP/1.1 409 Conflict", LENGTH],
    "reason of words": ["HTTP/1.1 503 Service Unavailable  ", LENGTH],
    "no reason": ["HTTP/1.1 200", LENGTH],
    "empty reason": ["HTTP/1.1 200 ", LENGTH],
    "no content": ["HTTP/1.1 204 No Content", LENGTH],
    "redirect": ["HTTP/1.1 302 Found", "Location: /elsewhere", LENGTH],
    "interim": ["HTTP/1.1 100 Continue", "", "HTTP/1.1 200 OK", LENGTH],
    "old": ["HTTP/1.0 200 OK", LENGTH],
    "next": ["HTTP/2 200 OK", LENGTH],
    "no HTTP": ["SSH-2.0-OpenSSH", LENGTH],
    "status of letters": ["HTTP/1.1 2OO OK", LENGTH],
    "status of four": ["HTTP/1.1 2000 OK", LENGTH],
    "chunked": ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"],
    "chunked with a length": ["HTTP/1.1 200 OK", "transfer-ENCODING: chunked", LENGTH],
    "closes": ["HTTP/1.1 200 OK", "connection: Close", LENGTH],
    "stays": ["HTTP/1.1 200 OK", "Connection: keep-alive", LENGTH],
    "no length": ["HTTP/1.1 200 OK", "Server: x"],
    "no headers": ["HTTP/1.1 200 OK"],
    "two lengths": ["HTTP/1.1 200 OK", "Content-Length: 3", "content-length: 4"],
    "negative length": ["HTTP/1.1 200 OK", "Content-Length: -3"],
    "signed length": ["HTTP/1.1 200 OK", "Content-Length: +3"],
    "length of letters": ["HTTP/1.1 200 OK", "Content-Length: three"],
    "length with a space after it": ["HTTP/1.1 200 OK", "Content-Length: 3 "],
    "empty length": ["HTTP/1.1 200 OK", "Content-Length:"],
    "folded": ["HTTP/1.1 200 OK", "X: a", " Content-Length: 3", LENGTH],
    "tab": ["HTTP/1.1 200 OK", "X:\ta", LENGTH],
    "name with a space": ["HTTP/1.1 200 OK", "X : a", LENGTH],
    "no name": ["HTTP/1.1 200 OK", ": a", LENGTH],
    "no colon": ["HTTP/1.1 200 OK", "X", LENGTH],
    "mail": ["HTTP/1.1 200 OK", "From nobody", LENGTH],
    "twice": ["HTTP/1.1 200 OK", "X: a", "X: b", LENGTH],
    "value with spaces": ["HTTP/1.1 200 OK", "X:   a : b  ", LENGTH],
    "letters beyond": ["HTTP/1.1 200 OK", "X: \xe4\x85", LENGTH],
    "bare return": ["HTTP/1.1 200 OK", "X: a\rContent-Length: 3", LENGTH],
    "bare line feed": ["HTTP/1.1 200 OK", "X: a\nContent-Length: 3", LENGTH],
    "many": ["HTTP/1.1 200 OK", *(f"X-{number}: a" for number in range(98)), LENGTH],
    "too many": ["HTTP/1.1 200 OK", *(f"X-{number}: a" for number in range(101)), LENGTH],
    "long": ["HTTP/1.1 200 OK", "X: " + "a" * 9000, LENGTH],
    "too long": ["HTTP/1.1 200 OK", "X: " + "a" * 70_000, LENGTH],
    "several parts": ["HTTP/1.1 200 OK", "Content-Type: multipart/mixed", LENGTH],
}


def said(reader: type[HTTPResponse], answer: bytes, method: str = "POST") -> Any:
    """What the reader makes of it: all that urllib3 asks it for, and the content; or the error."""
    response = reader(_Socket(answer), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
    except HTTPException as error:
        return type(error), str(error)
    head = (response.status, response.code, response.reason, response.version, response.headers.items())
    framing = (response.chunked, response.length, response.will_close, response.msg is response.headers)
    return head, framing, response.fp.read() if response.fp else None


class _Socket:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._answer))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("name", HEADS)
def test_each_head_is_read_as_the_standard_library_reads_it(name: str, method: str) -> None:
    answer = "\r\n".join([*HEADS[name], "", ""]).encode("latin-1") + CONTENT
    assert said(PlainHead, answer, method) == said(HTTPResponse, answer, method)


@pytest.mark.parametrize("end", range(60))
def test_a_head_that_breaks_off_is_read_as_the_standard_library_reads_it(end: int) -> None:
    answer = ("\r\n".join(HEADS["accepted"]) + "\r\n\r\n").encode()[:end]
    assert said(PlainHead, answer) == said(HTTPResponse, answer)


LINES = st.lists(
    st.sampled_from(sorted({line for head in HEADS.values() for line in head if len(line) < 100}))
    | st.text("aX:- \t\r\n\x00\x1c\x85~0", max_size=8),
    max_size=6,
)


@given(LINES, st.sampled_from(["\r\n", "\n"]))
def test_any_lines_are_read_as_the_standard_library_reads_them(lines: list[str], end: str) -> None:
    answer = end.join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1") + CONTENT
    assert said(PlainHead, answer) == said(HTTPResponse, answer)


@pytest.mark.parametrize("name", ["plain", "accepted", "conflict", "reason of words", "twice"])
def test_a_plain_head_is_read_without_the_parser_of_email(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("http.client.parse_headers", lambda *_: pytest.fail("parsed"))
    answer = "\r\n".join([*HEADS[name], "", ""]).encode() + CONTENT
    assert said(PlainHead, answer)[-1] == CONTENT
