"""Worker threads that take jobs in the order given.

They are daemon threads on purpose: a repair that hangs in a driver must not keep a stopping process alive; it
is resumed from production's own step table.
"""

import queue
import threading
from collections.abc import Callable
from typing import Protocol


class Crew(Protocol):
    """What takes jobs; Workers says how."""

    def submit(self, job: Callable[[], None]) -> None: ...

    def close(self) -> None: ...


class Workers:
    """A fixed number of threads over one queue."""

    def __init__(self, name: str, count: int) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job, which must not raise."""
        self._jobs.put(job)

    def close(self) -> None:
        """Let each thread end after the jobs queued so far; does not wait."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
