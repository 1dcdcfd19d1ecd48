"""What psycopg is to do otherwise: with times that Python has none for (infinity, before Christ, after the
year 9999), and with a server that no longer answers.
"""

import time
from collections.abc import Generator
from typing import Any, Final

_TIMES: Final = ("timestamp", "timestamptz", "date")
_TEXT: Final = 0
"""The format in which an answer comes unless binary is asked for."""


def let_pass_unreadable_times(connection: Any) -> None:
    """Have a connection of psycopg return such a time as its text: one bad value, not the end of a fetch.

    Its own loaders raise, and the whole statement is lost with every other row.
    """
    adapters = connection.adapters
    for name in _TIMES:
        oid = adapters.types[name].oid
        adapters.register_loader(oid, _tolerant(adapters.get_loader(oid, _TEXT), connection.DataError))


def _tolerant(strict: Any, unreadable: type[Exception]) -> type:
    """A loader as psycopg wants it that asks its own one first."""

    class Tolerant:
        format = strict.format

        def __init__(self, oid: int, context: object = None) -> None:
            self._load = strict(oid, context).load

        def load(self, data: Any) -> object:
            try:
                return self._load(data)
            except unreadable:
                return bytes(data).decode("utf-8", "replace")

    return Tolerant


def give_up_on_silence(connection: Any, seconds: float) -> None:
    """Have a connection of psycopg wait no longer than this for one answer: it is closed then, and the call
    raises OperationalError.

    The server itself ends what is slow, and the kernel notices a peer that is gone. A proxy or load balancer
    whose server is gone stays: it would be waited for without end.
    """
    wait = connection.wait

    def patient(steps: Any, *args: Any, **options: Any) -> Any:
        try:
            return wait(_until(time.monotonic() + seconds, steps), *args, **options)
        except TimeoutError as error:
            connection.close()
            raise connection.OperationalError(f"no answer for {seconds:g} s") from error

    connection.wait = patient


def _until(end: float, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """What psycopg takes in steps, each once there is something to read, or a tenth of a second later."""
    ready = None
    while True:
        try:
            wanted = steps.send(ready)
        except StopIteration as whole:
            return whole.value
        ready = yield wanted
        if not ready and time.monotonic() >= end:
            raise TimeoutError
