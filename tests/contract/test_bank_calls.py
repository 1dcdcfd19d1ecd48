"""One call to the bank, bounded at sixty seconds by a clock that goes on whenever it is looked at."""

import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from agent.adapters.bank_client import BankClient, NoAnswerError
from agent.adapters.bank_pool import Deadline, TimedReads, bank_pool
from agent.adapters.names import BankNames
from tests.contract.odd_bank import OddBank, Say, odd_bank


def chunked(content: bytes) -> Say:
    return Say(content=content, headers={"Transfer-Encoding": "chunked"})


DRAWN_OUT = {
    "head": Say(headers={f"X-{number}": "a" * 60_000 for number in range(20)}),
    "interim answers": Say(before=b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000),
    "content": Say(content=b'"' + b"a" * 2_000_000 + b'"'),
    "line of a chunk": chunked(b"2;" + b"a" * 60_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "trailer": chunked(b"2\r\n{}\r\n0\r\n" + (b"X: " + b"a" * 60_000 + b"\r\n") * 20 + b"\r\n"),
}
"""Whole answers, each of more than five reads: one takes 64 KiB of content at most, 8 KiB of the rest."""


@pytest.fixture
def odd() -> Iterator[OddBank]:
    with odd_bank() as bank:
        yield bank


def every(seconds: float) -> Callable[[], float]:
    """A clock that goes on by ``seconds`` at each look."""
    return count(0.0, seconds).__next__


def client_of(odd: OddBank, seconds: float) -> BankClient:
    return BankClient(odd.url, "token", BankNames(), monotonic=every(seconds))


@pytest.mark.parametrize("part", DRAWN_OUT)
def test_an_answer_that_is_drawn_out_ends_as_none(odd: OddBank, part: str) -> None:
    odd.speak = lambda *_: DRAWN_OUT[part]
    client = client_of(odd, seconds=10)
    with pytest.raises(NoAnswerError, match="ReadTimeoutError"):
        client.post("/payouts", {})
    assert odd.heard == ["POST /payouts"]
    client.close()


@pytest.mark.parametrize("part", DRAWN_OUT)
def test_it_is_an_answer_where_it_comes_in_time(odd: OddBank, part: str) -> None:
    odd.speak = lambda *_: DRAWN_OUT[part]
    client = client_of(odd, seconds=0.01)
    assert client.post("/payouts", {}).status == 200
    client.close()


def test_each_call_over_a_connection_has_the_whole_bound(odd: OddBank) -> None:
    client = client_of(odd, seconds=10)
    assert [client.get("/healthz").content for _ in range(9)] == [b"{}"] * 9
    assert odd.connections == 1
    client.close()


def test_a_read_waits_no_longer_than_is_left_of_its_call() -> None:
    deadline = Deadline(every(25.0))
    deadline.start(60.0)
    near, far = socket.socketpair()
    with near, far, TimedReads(near, patience=15.0, deadline=deadline) as reads:
        far.sendall(b"abc")
        waits = [(reads.read(1), near.gettimeout()) for _ in range(2)]
        assert waits == [(b"a", 15.0), (b"b", 10.0)]
        with pytest.raises(TimeoutError):
            reads.read(1)


def test_a_request_leaves_in_one_piece() -> None:
    pool = bank_pool("http://127.0.0.1:1", BankNames(), Deadline(lambda: 0.0))
    connection: Any = pool.ConnectionCls("127.0.0.1", 1)
    # One message of such a socket is what was sent at once.
    connection.sock, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with connection.sock, far:
        connection.request("POST", "/payouts", body=b"{}", headers={"Authorization": "Bearer token"})
        head, _, content = far.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"POST /payouts HTTP/1.1\r\n")
        assert content == b"{}"
    pool.close()
