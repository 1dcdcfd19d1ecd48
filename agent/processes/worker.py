"""A worker process: carries out one order at a time on connections of its own, and ends with its agent.

``python -m agent.processes.worker N``: ``N`` is the descriptor of its line to the agent that started it.
"""

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeAlias

from agent.answers import StepRecord, sendable
from agent.config import Configuration
from agent.errors import StoppedError
from agent.fixers.plan import READ_BACK
from agent.jobs import Work, describe
from agent.log import set_up
from agent.processes.messages import (
    Begin,
    Broken,
    Cancel,
    Ended,
    Halt,
    Halted,
    Noted,
    Order,
    ToWorker,
    decode_to_worker,
    encode,
)
from agent.protocol import Repair
from agent.standstill import Watch
from agent.wiring import production_work

MEANT_FOR_THE_AGENT: Final = (signal.SIGTERM, signal.SIGINT)
"""Sent to a whole group of processes these mean the agent, which sees to the rest."""

Line: TypeAlias = "Connection[Any, Any]"

log: Final = logging.getLogger("agent.processes")


class Errand:
    """An order in hand. It is the Cancellation of its own work."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.is_cancelled = order.is_cancelled
        self.is_halted = False

    def is_set(self) -> bool:
        """Whether the work is to stop before its next outside effect."""
        return self.is_cancelled


class Worker:
    """Carries out what comes over the line. ``leave`` ends the process at once, wherever its work is.

    ``watch`` is that of the work.
    """

    def __init__(self, line: Line, leave: Callable[[], None], watch: Watch) -> None:
        self._line = line
        self._leave = leave
        self._watch = watch
        self._errands: queue.SimpleQueue[Errand | None] = queue.SimpleQueue()
        self._errand: Errand | None = None

    def serve(self, work: Work) -> None:
        """Carry out orders until the agent is gone."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while (errand := self._errands.get()) is not None:
            answer = self._carry_out(errand, work)
            if (seen := self._watch.seen) is not None:
                self._say(encode(seen))
            self._say(answer)

    def take(self, message: ToWorker) -> None:
        """Take what the agent says. What is meant for an order that has ended meanwhile changes nothing."""
        match message:
            case Order():
                if message.seen is not None:
                    self._watch.learn(message.seen)
                self._errand = Errand(message)
                self._errands.put(self._errand)
            case Cancel() if self._errand is not None:
                self._errand.is_cancelled = True
            case Halt() if self._errand is not None:
                self._errand.is_halted = True

    def _listen(self) -> None:
        """Hear the agent while work is under way. Should it die, or not be understood, nothing more is begun
        here.
        """
        try:
            while True:
                self.take(decode_to_worker(self._line.recv_bytes()))
        except (EOFError, OSError):
            pass
        finally:
            self._leave()
            self._errands.put(None)

    def _say(self, frame: bytes) -> None:
        try:
            self._line.send_bytes(frame)
        except OSError:
            self._leave()

    def _carry_out(self, errand: Errand, work: Work) -> bytes:
        """Return the answer, as it travels."""
        order = errand.order

        def note(step: StepRecord) -> None:
            self._say(encode(Noted(step)))
            # Behind the last step nothing is left to stop, and only its result is not yet kept.
            if errand.is_halted and step.state == "done" and step.name != READ_BACK:
                raise StoppedError

        try:
            if isinstance(order.command, Repair):
                return encode(Ended(work.repair(order.command, order.command_id, order.holder, note, errand)))
            return encode(Ended(work.verify(order.command, order.command_id)))
        except StoppedError:
            return encode(Halted())
        except Exception as error:
            # The edge of the process: a fault in a fixer must end this order only, and say so.
            log.exception("%s ended with an unexpected error", describe(order.command))
            return encode(Broken(sendable(f"{type(error).__name__}: {error}")))


def main(descriptor: int) -> None:
    """Serve the agent at the other end of the line."""
    for number in MEANT_FOR_THE_AGENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, MEANT_FOR_THE_AGENT)
    set_up()
    line: Line = Connection(descriptor)
    try:
        begin = decode_to_worker(line.recv_bytes())
    except EOFError:  # the agent was gone before it said anything
        return
    assert isinstance(begin, Begin)
    work = production_work(Configuration(Path(begin.file), begin.tables))
    # No handler runs and nothing is written any more: whoever takes the repair over finds it as it stands.
    Worker(line, lambda: os._exit(0), work.watch).serve(work)


if __name__ == "__main__":
    main(int(sys.argv[1]))
