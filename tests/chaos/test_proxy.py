"""The proxy does to bytes what it is dealt, counts it, and stops when it is healed."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from chaos.drill.proxy import Proxy
from chaos.drill.terms import BANK_MIX, Terms
from chaos.drill.wire_faults import Fates, FatesOf, Kind, Mix, WireFault, seeded

LONGEST_S = 30.0
"""A socket that is waited for in vain raises after this."""


def nothing() -> WireFault | None:
    return None


def at_first(fault: WireFault, dealt: threading.Event | None = None) -> FatesOf:
    """The first connection's first chunk on its way up suffers, and ``dealt`` is set; nothing else does."""
    waiting = [fault]

    def deal() -> WireFault | None:
        if not waiting:
            return None
        if dealt is not None:
            dealt.set()
        return waiting.pop()

    return lambda _number: Fates(False, deal, nothing)


class Wire:
    """A proxy before a listening socket, and the two ends of one connection through it."""

    def __init__(self, fates_of: FatesOf) -> None:
        self.target = socket.create_server(("127.0.0.1", 0))
        self.target.settimeout(LONGEST_S)
        self.proxy = Proxy("test", self.target.getsockname()[1], fates_of)
        self.ends: list[socket.socket] = []

    def dial(self) -> socket.socket:
        near = socket.create_connection(("127.0.0.1", self.proxy.port), LONGEST_S)
        self.ends.append(near)
        return near

    def connect(self) -> tuple[socket.socket, socket.socket]:
        near = self.dial()
        far, _ = self.target.accept()
        far.settimeout(LONGEST_S)
        self.ends.append(far)
        return near, far

    def close(self) -> None:
        for one in (*self.ends, self.target):
            one.close()
        self.proxy.close()


@pytest.fixture
def wire() -> Iterator[Callable[[FatesOf], Wire]]:
    made: list[Wire] = []

    def make(fates_of: FatesOf) -> Wire:
        made.append(Wire(fates_of))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until_end(end: socket.socket) -> bytes:
    """Everything that arrives; a reset ends it like a close."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := end.recv(4096):
            parts.append(part)
    return b"".join(parts)


def exactly(end: socket.socket, count: int) -> bytes:
    """The next ``count`` bytes."""
    found = b""
    while len(found) < count and (part := end.recv(count - len(found))):
        found += part
    return found


def expect_reset(wire: Wire) -> None:
    """A new connection is reset, be it while it is made or after."""
    with pytest.raises(ConnectionResetError):
        wire.dial().recv(1)


Make = Callable[[FatesOf], Wire]


def test_without_a_fault_bytes_pass_both_ways_and_so_does_their_end(wire: Make) -> None:
    near, far = wire(lambda _: Fates(False, nothing, nothing)).connect()
    sent = bytes(range(256)) * 400
    near.sendall(sent)
    near.shutdown(socket.SHUT_WR)
    assert until_end(far) == sent
    far.sendall(b"answer")
    far.close()
    assert until_end(near) == b"answer"


def test_a_refused_connection_is_reset_and_never_reaches_the_target(wire: Make) -> None:
    made = wire(lambda _: Fates(True, nothing, nothing))
    expect_reset(made)
    made.target.settimeout(0)
    with pytest.raises(BlockingIOError):
        made.target.accept()
    assert made.proxy.counts == {Kind.REFUSE: 1}


def test_a_delayed_chunk_arrives_whole_and_before_the_next(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.DELAY, seconds=0.01))).connect()
    near.sendall(b"first")
    near.sendall(b"second")
    assert exactly(far, 11) == b"firstsecond"


def test_a_duplicate_repeats_the_end_of_a_chunk(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.DUPLICATE, share=0.5))).connect()
    near.sendall(b"12345678")
    assert exactly(far, 12) == b"123456785678"


def test_a_truncated_chunk_is_cut_and_both_ends_are_closed(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.TRUNCATE, share=0.5))).connect()
    near.sendall(b"12345678")
    assert until_end(far) == b"1234"
    assert until_end(near) == b""


def test_a_truncation_never_lets_a_chunk_pass_whole(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.TRUNCATE, share=1.0))).connect()
    near.sendall(b"12345678")
    assert until_end(far) == b"1234567"


def test_half_closed_the_target_sees_the_end_and_its_answer_still_arrives(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.HALF_CLOSE))).connect()
    near.sendall(b"question")
    assert until_end(far) == b"question"
    far.sendall(b"answer")
    assert exactly(near, 6) == b"answer"


def test_dropped_bytes_are_taken_in_and_never_arrive(wire: Make) -> None:
    made = wire(at_first(WireFault(Kind.DROP, seconds=0.01)))
    near, far = made.connect()
    near.sendall(b"lost")
    assert until_end(far) == b""
    assert until_end(near) == b""
    assert made.proxy.counts == {Kind.DROP: 1}


def test_a_reset_loses_the_chunk_and_both_ends(wire: Make) -> None:
    near, far = wire(at_first(WireFault(Kind.RESET))).connect()
    near.sendall(b"lost")
    with pytest.raises(ConnectionResetError):
        far.recv(1)
    with pytest.raises(ConnectionResetError):
        near.recv(1)


@pytest.mark.parametrize("kind", [Kind.STALL, Kind.DROP, Kind.HALF_CLOSE])
def test_healing_cuts_what_suffers_and_new_connections_are_whole(wire: Make, kind: Kind) -> None:
    dealt = threading.Event()
    made = wire(at_first(WireFault(kind, seconds=3600), dealt))
    near, far = made.connect()
    near.sendall(b"first")
    assert dealt.wait(LONGEST_S)
    made.proxy.heal()
    assert until_end(near) == b""
    assert until_end(far) == (b"first" if kind is Kind.HALF_CLOSE else b"")
    near, far = made.connect()
    near.sendall(b"second")
    assert exactly(far, 6) == b"second"


def test_sickened_again_it_strikes_again(wire: Make) -> None:
    made = wire(lambda _: Fates(True, nothing, nothing))
    made.proxy.heal()
    near, far = made.connect()
    near.sendall(b"well")
    assert exactly(far, 4) == b"well"
    made.proxy.sicken()
    expect_reset(made)


def test_a_target_that_is_down_is_a_reset(wire: Make) -> None:
    made = wire(lambda _: Fates(False, nothing, nothing))
    made.target.close()
    expect_reset(made)


MIX = Mix(refused=0.2, chunks={Kind.DELAY: 0.3, Kind.DROP: 0.2, Kind.RESET: 0.1})


def drawn(seed: str, number: int) -> list[object]:
    fates = seeded(seed, MIX)(number)
    return [fates.is_refused, *(fates.up() for _ in range(50)), *(fates.down() for _ in range(50))]


def test_one_seed_deals_the_same_to_each_connection_and_another_deals_otherwise() -> None:
    assert drawn("7", 3) == drawn("7", 3)
    assert drawn("7", 3) != drawn("7", 4)
    assert drawn("7", 3) != drawn("8", 3)


def test_what_is_dealt_follows_the_mix() -> None:
    fates = [seeded("mix", MIX)(number) for number in range(500)]
    faults = [one.up() for one in fates]
    shares = {kind: sum(f is not None and f.kind is kind for f in faults) / 500 for kind in Kind}
    assert sum(one.is_refused for one in fates) / 500 == pytest.approx(0.2, abs=0.06)
    for kind in Kind:
        assert shares[kind] == pytest.approx(MIX.chunks.get(kind, 0.0), abs=0.06)


def test_nothing_is_repeated_on_the_wire_to_a_bank_that_pays_each_time() -> None:
    mix = Terms(cycles=1, seed=1, deduplicates=False).bank_mix
    assert {*BANK_MIX.chunks} - {*mix.chunks} == {Kind.DUPLICATE}
    assert Terms(cycles=1, seed=1).bank_mix == BANK_MIX
