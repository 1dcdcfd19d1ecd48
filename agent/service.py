"""The agent's life: from the journal's opening to an ordered end."""

import enum
import logging
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from agent.commands import Dispatcher
from agent.connection import Ending, Link
from agent.journal import Journal
from agent.outbox import Outbox
from agent.pacing import Waker
from agent.runner import Runner

log: Final = logging.getLogger("agent.service")

GRACE_SECONDS: Final = 15.0
"""How long repairs may go on after a stop was asked; they are then stopped between two steps."""
BOUNDARY_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 3.0
JOIN_SECONDS: Final = 3.0


class ExitCode(enum.IntEnum):
    """How the process ends."""

    STOPPED = 0
    FAILED = 1
    MISCONFIGURED = 2
    REPLACED = 3
    REVOKED = 4
    JOURNAL = 5


_CODES: Final = {
    Ending.STOPPED: ExitCode.STOPPED,
    Ending.REPLACED: ExitCode.REPLACED,
    Ending.REVOKED: ExitCode.REVOKED,
}


class Service:
    """Runs the connection on a thread and stops everything in order when a signal or the server says so."""

    def __init__(
        self, journal: Journal, outbox: Outbox, link: Link, runner: Runner, dispatcher: Dispatcher
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._link = link
        self._runner = runner
        self._dispatcher = dispatcher
        # Not an event or a queue: a signal's handler breaks into the very wait that holds their lock.
        self._over = Waker()
        self._ending = Ending.STOPPED
        self._thread = threading.Thread(target=self._connect, name="connection", daemon=True)

    def run(self) -> ExitCode:
        """Work until SIGTERM or SIGINT, or until the server ends it. Raises JournalError at the start."""
        # The interpreter's own handler wakes, whichever thread a signal meets and whatever that is doing.
        signal.set_wakeup_fd(self._over.writing_end(), warn_on_full_buffer=False)
        self._on_signals(self._ask_to_stop)
        self._dispatcher.resume()
        self._thread.start()
        select.select([self._over], [], [])
        # Once is enough; and the interpreter, as it ends, would put back the default, which kills.
        self._on_signals(signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        return self._leave()

    @staticmethod
    def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, _frame: FrameType | None) -> None:
        self._over()

    def _connect(self) -> None:
        self._ending = self._link.run(self._dispatcher)
        self._over()

    def _leave(self) -> ExitCode:
        """Finish the work in hand, deliver what can be delivered, close with 1001."""
        log.info("stopping: no new commands; the work in hand is finished")
        if not self._runner.stop(GRACE_SECONDS, BOUNDARY_SECONDS):
            log.warning("left running work behind; it is taken up again from production's step table")
        if self._link.is_live.is_set() and not self._outbox.wait_until_empty(FLUSH_SECONDS):
            log.warning("some messages are not acknowledged yet; the journal keeps them")
        self._link.stop()
        self._thread.join(JOIN_SECONDS)
        self._journal.close()
        log.info("stopped")
        return _CODES[self._ending]
