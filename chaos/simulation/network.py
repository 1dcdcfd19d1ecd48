"""The network between agents and server: frames that keep their order, and faults that do not.

A connection is two lanes. A fault drops a frame, repeats it, cuts it short, or ends the connection with
whatever is still on its way.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agent.connection import LinkSettings
from agent.wire import WireClosedError, WireError, WireRefusedError
from chaos.simulation.loom import Loom, Signal

LATENCY: Final = (0.001, 0.05)
ABNORMAL: Final = 1006
PING: Final = b"ping"
HEARTBEAT: Final = b'"type":"Heartbeat"'
REPAIR: Final = b'"type":"Repair"'
ECHO_SECONDS: Final = 15.0


@dataclass
class Weather:
    """How likely each fault is for one frame, while ``is_rough``."""

    chance: random.Random
    counts: Counter[str]
    is_rough: bool = True
    rate: float = 0.02
    is_parted: bool = False
    muted: tuple[float, float] = (0.0, 0.0)

    def fault(self) -> str:
        """Return what befalls a frame, '' for nothing."""
        if not self.is_rough or self.chance.random() >= self.rate:
            return ""
        fault = self.chance.choice(("drop", "repeat", "cut", "cut off", "cut off", "slow"))
        self.counts[f"frame {fault}"] += 1
        return fault


@dataclass
class Lane:
    """Frames on their way in one direction, each with the moment it arrives. ``longest``: most at once."""

    signal: Signal
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    last: float = 0.0
    longest: int = 0

    def add(self, frame: bytes, times: int = 1) -> None:
        """Send a frame so many times, to arrive at ``last``."""
        self.frames.extend([(self.last, frame)] * times)
        self.longest = max(self.longest, len(self.frames))
        self.signal.set()


class _Ether:
    """Whose strand an echo is; it never dies."""

    name = "ether"
    is_dead = False


class Connection:
    """One connection, seen from both ends. ``to_agent`` and ``to_server`` are its lanes."""

    def __init__(self, loom: Loom, weather: Weather, *, is_echoing: bool = False) -> None:
        self.loom = loom
        self._is_echoing = is_echoing
        self._weather = weather
        self.to_agent = Lane(Signal(loom))
        self.to_server = Lane(Signal(loom))
        self.close_code: int | None = None
        self.on_closed: Callable[[int], None] = lambda code: None

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.close_code is None

    def put(self, lane: Lane, frame: bytes) -> None:
        """Send a frame; one that meets a fault arrives otherwise, or not."""
        begin, end = self._weather.muted
        if not self.is_open or (HEARTBEAT in frame and begin <= self.loom.seconds < end):
            return
        if self._is_echoing and REPAIR in frame:
            self.loom.spawn(_Ether(), "echo", lambda: self._echo(lane, frame))
        fault = self._weather.fault()
        if fault == "cut off":
            self.close(ABNORMAL)
            return
        if fault == "drop":
            return
        if fault == "cut":
            frame = frame[: self._weather.chance.randrange(len(frame))]
        delay = self._weather.chance.uniform(*LATENCY) + (20.0 if fault == "slow" else 0.0)
        lane.last = max(lane.last, self.loom.seconds + delay)
        times = self._weather.chance.choice((2, 3, 100)) if fault == "repeat" else 1
        lane.add(frame, times)

    def _echo(self, lane: Lane, frame: bytes) -> None:
        self.loom.sleep(ECHO_SECONDS)
        if self.is_open:
            lane.last = max(lane.last, self.loom.seconds)
            lane.add(frame)

    def ping(self, lane: Lane) -> None:
        """Show the other side that one is there: a ping, or its answer. It is no message."""
        if self.is_open:
            lane.last = max(lane.last, self.loom.seconds)
            lane.add(PING)

    def arrived(self, lane: Lane) -> bytes | None:
        """Return the next frame that has arrived, None while there is none."""
        if lane.frames and lane.frames[0][0] <= self.loom.seconds:
            return lane.frames.pop(0)[1]
        return None

    def until_next(self, lane: Lane) -> float:
        """Return the seconds until the next frame of the lane arrives, infinity where none is on its way."""
        return max(0.0, lane.frames[0][0] - self.loom.seconds) if lane.frames else float("inf")

    def close(self, code: int) -> None:
        """End it for both sides; an abnormal end loses what is on its way."""
        if not self.is_open:
            return
        self.close_code = code
        if code == ABNORMAL:
            for lane in (self.to_agent, self.to_server):
                lane.frames[:] = [frame for frame in lane.frames if frame[0] <= self.loom.seconds]
        self.to_agent.signal.set()
        self.to_server.signal.set()
        self.on_closed(code)


class SimWire:
    """The agent's end (agent.wire.AnyWire)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def fileno(self) -> int:
        """No descriptor stands behind it."""
        return -1

    def has_buffered(self) -> bool:
        """Whether a frame, or the end, can be read now."""
        lane = self._connection.to_agent
        return self._connection.until_next(lane) <= 0 or not (self._connection.is_open or lane.frames)

    def receive(self) -> bytes | None:
        """Return a frame; None for a ping, which is answered. Raises WireError at the end."""
        frame = self._connection.arrived(self._connection.to_agent)
        if frame is None and not self._connection.is_open:
            self._raise_end()
        if frame != PING:
            return frame
        self._connection.ping(self._connection.to_server)
        return None

    def send(self, frame: bytes) -> None:
        """Send a frame. Raises WireError."""
        if not self._connection.is_open:
            self._raise_end()
        self._connection.put(self._connection.to_server, frame)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye."""
        self._connection.close(code)

    def abandon(self) -> None:
        """Drop it."""
        self._connection.close(ABNORMAL)

    def wait(self, waker: Signal, seconds: float) -> bool:
        """Wait for a frame or the waker; return whether there is something to read."""
        lane, loom = self._connection.to_agent, self._connection.loom
        if not self.has_buffered() and not waker.is_set():
            lane.signal.clear()
            loom.wait_for_any((lane.signal, waker), min(seconds, self._connection.until_next(lane)))
        waker.clear()
        return self.has_buffered()

    def _raise_end(self) -> None:
        code = self._connection.close_code or ABNORMAL
        if code == ABNORMAL:
            raise WireError("the connection broke")
        raise WireClosedError(code, "")


Accept = Callable[[str, Connection], bool]
"""A server's answer to a handshake with a token; false: not known."""


class Network:
    """Connects agents to whichever servers are up."""

    def __init__(self, loom: Loom, weather: Weather, *, is_echoing: bool = False) -> None:
        self._loom = loom
        self._weather = weather
        self._is_echoing = is_echoing
        self.doors: list[Accept] = []
        self.lanes: list[Lane] = []

    def dial(self, settings: LinkSettings) -> SimWire:
        """Open a connection to one of the servers. Raises WireError, WireRefusedError."""
        self._loom.sleep(self._weather.chance.uniform(*LATENCY))
        if not self.doors or self._weather.is_parted:
            raise WireError("no connection to the server")
        connection = Connection(self._loom, self._weather, is_echoing=self._is_echoing)
        if not self._weather.chance.choice(self.doors)(settings.token, connection):
            raise WireRefusedError(401)
        self.lanes += (connection.to_agent, connection.to_server)
        return SimWire(connection)


class SimPeer:
    """The server's end, in place of app.agents.peer.Peer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.refused_size = 0
        self.is_paused = False

    def send(self, frame: bytes) -> None:
        """Send a text message; dropped when the connection is closed."""
        self._connection.put(self._connection.to_agent, frame)

    def close(self, code: int, reason: str = "") -> None:
        """Close with this code."""
        self._connection.close(code)

    def pause(self) -> None:
        """Read nothing more until ``resume``."""
        self.is_paused = True

    def resume(self) -> None:
        """Read again."""
        self.is_paused = False
        self._connection.to_server.signal.set()
