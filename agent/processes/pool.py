"""The agent's side of its worker processes: hands out orders, passes notes on, starts anew what has died."""

import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from typing import Final

import msgspec

from agent.answers import FactsRead, RepairFinished, ReportedTrade, StepRecord
from agent.config import Configuration
from agent.errors import AgentError, StoppedError
from agent.jobs import Progress, Work
from agent.orders import Holder
from agent.ports import Cancellation
from agent.processes.messages import (
    Answer,
    Begin,
    Broken,
    Cancel,
    Ended,
    FromWorker,
    Halt,
    Halted,
    Noted,
    Order,
    ToWorker,
    decode_from_worker,
    encode,
)
from agent.processes.worker import MEANT_FOR_THE_AGENT, Line
from agent.protocol import Collect, Repair, Verify
from agent.standstill import Seen, Watch
from agent.work import ProductionWork

log: Final = logging.getLogger("agent.processes")

POLL_SECONDS: Final = 0.05
"""A cancel or a halt reaches the worker process so much later at most."""
MOST_LATE_SECONDS: Final = 900.0
"""A worker process that goes on for so long after it was told to stop hangs, and is ended. Every call that a
repair makes ends in time by itself, so that an honest one is done long before."""


class WorkerDiedError(AgentError):
    """The worker process died."""


class WorkBrokeOffError(AgentError):
    """The work broke off in its process."""


class Overdue:
    """The Cancellation of work that nobody cancels, but that is asked to stop after so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def is_set(self) -> bool:
        """Whether they are over."""
        return time.monotonic() >= self._until


class WorkerProcess:
    """One worker process, started anew by the next order when it has died. Used by one thread at a time.

    ``watch`` is the agent's, which outlives it.
    """

    def __init__(
        self, configuration: Configuration, watch: Watch, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._begin = Begin(str(configuration.file), configuration.tables)
        self._watch = watch
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Line | None = None

    @property
    def pid(self) -> int | None:
        """The process that is there, if any."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a process; an order given before it is ready waits. Raises WorkerDiedError."""
        ours, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-m", "agent.processes.worker", str(theirs.fileno())]
            # Held back from it until it ignores them.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, MEANT_FOR_THE_AGENT)
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            except OSError as error:
                ours.close()
                raise WorkerDiedError(f"no worker process can be started: {error}") from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._line = ours
        self._say(ours, self._begin)

    def end(self) -> None:
        """End the process as it stands."""
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def carry_out(
        self,
        order: Order,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
        halting: threading.Event,
    ) -> RepairFinished | FactsRead:
        """Have an order carried out, its steps noted as they come; ``halting``: it is to stop between two.

        Raises StoppedError, WorkBrokeOffError; WorkerDiedError: nobody knows how far the order came.
        """
        if self._process is None or self._process.poll() is not None:
            self.end()
            self.start()
        with ExitStack() as unanswered:
            # What it may still say must not be taken for the answer to another order.
            unanswered.callback(self._give_up, order)
            answer = self._await_answer(order, note, cancellation, halting)
            unanswered.pop_all()
        match answer:
            case Ended(result):
                return result
            case Halted():
                raise StoppedError
            case Broken(error):
                raise WorkBrokeOffError(error)

    def _give_up(self, order: Order) -> None:
        log.error(
            "command %s has no answer of its worker process; the next has another one", order.command_id
        )
        self.end()

    def _await_answer(
        self,
        order: Order,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
        halting: threading.Event,
    ) -> Answer:
        line = self._line
        assert line is not None, "it was started"
        is_cancelled, is_halted = cancellation.is_set(), False
        told_at = self._monotonic() if is_cancelled else None
        self._say(line, msgspec.structs.replace(order, is_cancelled=is_cancelled, seen=self._watch.seen))
        while True:
            must_halt = False
            match self._hear(line):
                case Noted(step):
                    try:
                        note(step)
                    except StoppedError:
                        must_halt = True
                case Seen() as seen:
                    self._watch.learn(seen)
                case Ended() | Halted() | Broken() as answer:
                    return answer
                # Only once all that it has said is heard: the agent itself may have stood still.
                case None if told_at is not None and self._monotonic() - told_at > MOST_LATE_SECONDS:
                    raise WorkerDiedError("The worker process hangs.")
                case None:
                    pass
            if not is_halted and (must_halt or halting.is_set()):
                is_halted = True
                self._tell(line, Halt())
            if told_at is None and cancellation.is_set():
                told_at = self._monotonic()
                self._tell(line, Cancel())

    def _tell(self, line: Line, message: Cancel | Halt) -> None:
        """Say it, if anybody listens: what one that has died said before is yet to be heard, then its end."""
        with suppress(WorkerDiedError):
            self._say(line, message)

    @staticmethod
    def _say(line: Line, message: ToWorker) -> None:
        try:
            line.send_bytes(encode(message))
        except OSError as error:
            raise WorkerDiedError from error

    @staticmethod
    def _hear(line: Line) -> FromWorker | None:
        try:
            return decode_from_worker(line.recv_bytes()) if line.poll(POLL_SECONDS) else None
        except (EOFError, OSError) as error:
            raise WorkerDiedError from error


class ProcessPool:
    """Work of which repairs and looks are done in worker processes, each by one that is idle.

    ``here`` does the rest: collections, one after the other, and what is left as it stands. Once ``halting``
    is set repairs stop between two steps.
    """

    def __init__(self, here: Work, workers: Sequence[WorkerProcess], halting: threading.Event) -> None:
        self._here = here
        self._halting = halting
        self._workers = tuple(workers)
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    @classmethod
    def of(
        cls, configuration: Configuration, here: ProductionWork, halting: threading.Event
    ) -> "ProcessPool":
        """Return a pool of as many processes as the configuration has workers, all of them started.

        Raises WorkerDiedError.
        """
        count = configuration.tables.agent.workers
        workers = [WorkerProcess(configuration, here.watch) for _ in range(count)]
        for worker in workers:
            worker.start()
        return cls(here, workers, halting)

    def close(self) -> None:
        """End every process as it stands."""
        for worker in self._workers:
            worker.end()

    @property
    def fixer_codes(self) -> tuple[str, ...]:
        """The fixers this agent offers."""
        return self._here.fixer_codes

    def collect(
        self, command: Collect, progress: Progress, cancellation: Cancellation
    ) -> Iterator[Sequence[ReportedTrade]]:
        """Yield broken trades page by page, read here. Raises PortError."""
        return self._here.collect(command, progress, cancellation)

    def leave(self, command: Repair, command_id: str, holder: Holder, reason: str) -> RepairFinished:
        """Report how far a repair came, as seen from here. Raises PortError."""
        return self._here.leave(command, command_id, holder, reason)

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        """Have one trade repaired. Raises what WorkerProcess.carry_out does."""
        result = self._hand_out(Order(command, command_id, holder), note, cancellation)
        assert isinstance(result, RepairFinished), "a repair ends as one"
        return result

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        """Have one trade's facts read. Raises what WorkerProcess.carry_out does."""
        overdue = Overdue(command.deadline_ms / 1000)
        result = self._hand_out(Order(command, command_id, Holder("")), lambda _: None, overdue)
        assert isinstance(result, FactsRead), "a look ends as one"
        return result

    def _hand_out(
        self, order: Order, note: Callable[[StepRecord], None], cancellation: Cancellation
    ) -> RepairFinished | FactsRead:
        worker = self._idle.get()
        try:
            return worker.carry_out(order, note, cancellation, self._halting)
        finally:
            self._idle.put(worker)
