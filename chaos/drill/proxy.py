"""A TCP proxy on loopback that treats bytes badly: it delays, drops, repeats, cuts and withholds them.

One thread with an asyncio loop serves every connection. It knows nothing of what it carries.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from chaos.drill.wire_faults import Fate, Fates, FatesOf, Kind, WireFault

CHUNK_BYTES: Final = 16 * 1024
RESETTING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends a reset, and what was not sent yet is lost."""
LISTENING: Final = 128


class Proxy:
    """Listens on ``port`` and carries each connection to ``target_port``, with the faults it is dealt.

    ``counts`` has how often each kind of fault has happened. Until ``heal`` the faults are on.
    """

    def __init__(self, name: str, target_port: int, fates_of: FatesOf) -> None:
        self.name = name
        self.counts: Counter[Kind] = Counter()
        self.connections = 0
        self._target_port = target_port
        self._fates_of = fates_of
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=LISTENING)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._healed = asyncio.Event()
        self._carriers: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._serve, name=f"proxy-{name}", daemon=True)
        self._thread.start()

    def heal(self) -> None:
        """No more faults from now on; a connection that suffers from one, stalled or half closed, is cut."""
        self._call(self._healed.set)

    def sicken(self) -> None:
        """Switch the faults on again, for connections there are and for new ones."""
        self._call(self._healed.clear)

    def close(self) -> None:
        """Cut every connection and listen no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, change: Callable[[], object]) -> None:
        """Make a change on the loop's thread; it is made on return."""
        made = threading.Event()
        self._loop.call_soon_threadsafe(change)
        self._loop.call_soon_threadsafe(made.set)
        made.wait()

    # ---- on the proxy's thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        for task in (accepting, *self._carriers):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(accepting, *self._carriers, return_exceptions=True))
        self._listener.close()
        self._loop.close()

    async def _accept(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            fates = self._fates_of(self.connections)
            self.connections += 1
            task = self._loop.create_task(self._carry(near, fates))
            self._carriers.add(task)
            task.add_done_callback(self._carriers.discard)

    async def _carry(self, near: socket.socket, fates: Fates) -> None:
        far = socket.socket()
        with _closing(near, far):
            if fates.is_refused and not self._healed.is_set():
                self.counts[Kind.REFUSE] += 1
                _reset(near)
                return
            for one in (near, far):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await self._loop.sock_connect(far, ("127.0.0.1", self._target_port))
            except OSError:
                _reset(near)
                return
            await self._both_ways(near, far, fates)

    async def _both_ways(self, near: socket.socket, far: socket.socket, fates: Fates) -> None:
        """Carry either direction until both have ended, or one of them has cut the connection."""
        ways = [
            self._loop.create_task(self._one_way(near, far, fates.up)),
            self._loop.create_task(self._one_way(far, near, fates.down)),
        ]
        try:
            await asyncio.gather(*ways)
        except (_CutError, OSError):
            pass
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _one_way(self, source: socket.socket, sink: socket.socket, fate: Fate) -> None:
        while chunk := await self._loop.sock_recv(source, CHUNK_BYTES):
            # Drawn healed or not: the faults of a connection stand by its chunks, whenever it heals.
            fault = fate()
            if fault is None or self._healed.is_set():
                await self._loop.sock_sendall(sink, chunk)
                continue
            self.counts[fault.kind] += 1
            await self._strike(fault, chunk, source, sink)
            if fault.kind is Kind.HALF_CLOSE:
                return
        sink.shutdown(socket.SHUT_WR)

    async def _strike(
        self, fault: WireFault, chunk: bytes, source: socket.socket, sink: socket.socket
    ) -> None:
        """Do to a chunk what it is dealt; raises _CutError where that ends the connection."""
        part = max(1, round(len(chunk) * fault.share))
        match fault.kind:
            case Kind.DELAY:
                await asyncio.sleep(fault.seconds)
                await self._loop.sock_sendall(sink, chunk)
            case Kind.DUPLICATE:
                # What is repeated is the chunk's end, so that the bytes before it stay as they were.
                await self._loop.sock_sendall(sink, chunk + chunk[-part:])
            case Kind.TRUNCATE:
                await self._loop.sock_sendall(sink, chunk[: min(part, len(chunk) - 1)])
                raise _CutError
            case Kind.HALF_CLOSE:
                await self._loop.sock_sendall(sink, chunk)
                sink.shutdown(socket.SHUT_WR)
                await self._swallow(source, None)
            case Kind.DROP:
                await self._swallow(source, fault.seconds)
                raise _reset_both(source, sink)
            case Kind.STALL:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._healed.wait(), fault.seconds)
                raise _reset_both(source, sink)
            case _:
                raise _reset_both(source, sink)

    async def _swallow(self, source: socket.socket, seconds: float | None) -> None:
        """Read and forget until the source has ended or the time is over. Raises _CutError at healing."""
        healing = self._loop.create_task(self._healed.wait())
        swallowing = self._loop.create_task(self._read_all(source))
        both = (healing, swallowing)
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if healing.done():
                raise _CutError
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _read_all(self, source: socket.socket) -> None:
        while await self._loop.sock_recv(source, CHUNK_BYTES):
            pass


class _CutError(Exception):
    """The connection is over, both ways."""


def _reset(one: socket.socket) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)


def _reset_both(source: socket.socket, sink: socket.socket) -> _CutError:
    for one in (source, sink):
        _reset(one)
    return _CutError()


@contextlib.contextmanager
def _closing(*sockets: socket.socket) -> Iterator[None]:
    try:
        yield
    finally:
        for one in sockets:
            one.close()
