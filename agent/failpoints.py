"""Failpoints: named moments of agent and server at which a test kills, fails or holds up the program.

A point is declared once, where it stands, so that ``declared`` lists them all. Off, reaching one costs a
comparison; on, the hook hears its name and does what it will: raise, wait, end the process. Nothing but
chaos/ and tests ever sets one.

A point whose name ends in ``.commit`` lies inside a transaction: locks are held there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Hook = Callable[[str], None]

_declared: Final[set[str]] = set()
_hook: Hook | None = None


class Failpoint:
    """One named moment; call it where it lies."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Declare the point. Raises ValueError for a name that stands already."""
        if name in _declared:
            raise ValueError(f"the failpoint {name} is declared twice")
        _declared.add(name)
        self.name = name

    def __call__(self) -> None:
        if _hook is not None:
            _hook(self.name)


class Span:
    """The moments around one effect, and the one inside its transaction, before it is made to last."""

    __slots__ = ("after", "before", "commit")

    def __init__(self, name: str) -> None:
        self.before = Failpoint(f"{name}.before")
        self.commit = Failpoint(f"{name}.commit")
        self.after = Failpoint(f"{name}.after")


def around(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Put a point before and one after each call of a function; one that raises does not reach the second."""
    before, after = Failpoint(f"{name}.before"), Failpoint(f"{name}.after")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            before()
            answer = function(*args, **kwargs)
            after()
            return answer

        return call

    return decorate


def declared() -> tuple[str, ...]:
    """Return the names of all points of the modules imported so far."""
    return tuple(sorted(_declared))


def is_inside(name: str) -> bool:
    """Return whether the point lies inside a transaction."""
    return name.endswith(".commit")


@contextmanager
def armed(hook: Hook) -> Iterator[None]:
    """Let ``hook`` hear of every point reached in this process until the block ends."""
    global _hook
    earlier, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = earlier
