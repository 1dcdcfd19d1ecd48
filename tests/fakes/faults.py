"""Failure switches of the fakes: a port call fails before or after its effect, or the world changes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar

from agent.errors import PortError

P = ParamSpec("P")
R = TypeVar("R")
Moment = Literal["before", "after"]


class Crash(Exception):
    """The agent's process died here; nothing in the agent may catch it."""


class Clock:
    """A clock that only moves when told."""

    def __init__(self, at: datetime = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **delta: float) -> None:
        """Move on by a timedelta's keywords."""
        self.at += timedelta(**delta)


class Faults:
    """Counts every port call by name and fails those it is told to.

    ``fail_call(3, "after", Crash())`` fails the third call of all, once. ``down("bank.facts")`` fails every
    call of that name until ``heal``. ``on("trades.find", change)`` runs ``change`` before each such call.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._by_index: dict[int, tuple[Moment, BaseException]] = {}
        self._by_name: dict[str, tuple[Moment, BaseException]] = {}
        self._hooks: dict[str, Callable[[], None]] = {}

    def fail_call(self, index: int, moment: Moment, error: BaseException) -> None:
        """Fail the call with this index (from 1, counted from now on) before or after its effect."""
        self.calls.clear()
        self._by_index = {index: (moment, error)}

    def down(self, name: str, moment: Moment = "before", error: BaseException | None = None) -> None:
        """Fail every call of this name until healed."""
        self._by_name[name] = (moment, error or PortError(f"{name} timed out"))

    def on(self, name: str, change: Callable[[], None]) -> None:
        """Run ``change`` before each call of this name until healed."""
        self._hooks[name] = change

    def heal(self) -> None:
        """Switch every failure off and forget the calls."""
        self.calls.clear()
        self._by_index.clear()
        self._by_name.clear()
        self._hooks.clear()

    def arrive(self, name: str) -> tuple[Moment, BaseException] | None:
        """Note a call; return how it fails, if it does."""
        self.calls.append(name)
        if change := self._hooks.get(name):
            change()
        return self._by_index.get(len(self.calls)) or self._by_name.get(name)


class HasFaults(Protocol):
    """A fake with its switches."""

    port_name: str
    faults: Faults


F = TypeVar("F", bound=HasFaults)


def port_call(method: Callable[Concatenate[F, P], R]) -> Callable[Concatenate[F, P], R]:
    """Let a method of a fake fail as its switches say."""

    @wraps(method)
    def call(self: F, /, *args: P.args, **kwargs: P.kwargs) -> R:
        failure = self.faults.arrive(f"{self.port_name}.{method.__name__}")
        if failure and failure[0] == "before":
            raise failure[1]
        answer = method(self, *args, **kwargs)
        if failure:
            raise failure[1]
        return answer

    return call
