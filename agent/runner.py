"""Runs the commands in hand on worker threads and leaves each result in the outbox."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agent.answers import BROKE_OFF, Cancelled, Started, StepRecord, StepRecorded, why_it_broke_off
from agent.envelope import new_id
from agent.errors import JournalError, PortError, StoppedError
from agent.failpoints import Failpoint
from agent.fixers.plan import READ_BACK
from agent.jobs import Halt, Job, Work, describe, failure, look_back
from agent.journal import Journal
from agent.message import Message
from agent.orders import Entry, Key, key_of
from agent.outbox import Outbox
from agent.protocol import Collect, Repair, Verify
from agent.reporting import Report, cut, fitted
from agent.workers import Crew, Workers

log: Final = logging.getLogger("agent.runner")

CHUNK_WINDOW: Final = 16
"""Chunks of one collection that may be unacknowledged: then the collection waits for the server."""
POLL_SECONDS: Final = 0.5
_BEGIN: Final = Failpoint("agent.work.begin")
_END: Final = Failpoint("agent.work.end")
DEADLINE_PASSED: Final = "the deadline passed before the work began"


class Runner:
    """The commands in hand. Repairs and verifications share a pool, collections run one after the other.

    ``hint`` sends a message that may be lost; ``is_live`` is set while there is a session to send it on.
    ``halting`` is set once repairs are to stop between two steps; work elsewhere may look at it, too.
    ``monotonic`` and ``wall`` are clocks in seconds. ``crew`` makes the workers of a name, so many.
    """

    def __init__(
        self,
        journal: Journal,
        outbox: Outbox,
        work: Work,
        hint: Callable[[Message], None],
        is_live: threading.Event,
        *,
        workers: int = 4,
        halting: threading.Event | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        crew: Callable[[str, int], Crew] = Workers,
    ) -> None:
        self._journal = journal
        self._outbox = outbox
        self._work = work
        self._hint = hint
        self._is_live = is_live
        self._monotonic = monotonic
        self._wall = wall
        self._jobs: dict[Key, Job] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._halting = halting or threading.Event()
        self._repairers = crew("repair", workers)
        self._collector = crew("collect", 1)

    @property
    def is_stopping(self) -> bool:
        """Whether the agent is leaving and takes nothing more."""
        return self._stopping.is_set()

    def in_hand(self) -> tuple[str, ...]:
        """Return the ids of commands accepted and not finished."""
        with self._changed:
            return tuple(dict.fromkeys(command_id for command_id, _ in self._jobs))

    def at_work(self) -> tuple[str, ...]:
        """Return those of them that do not wait for the server to send them again: their leases live on."""
        with self._changed:
            return tuple(dict.fromkeys(job.command_id for job in self._jobs.values() if not job.is_waiting))

    def is_awaiting(self) -> bool:
        """Whether a repair of an earlier start waits for the server to send it again."""
        with self._changed:
            return any(job.is_waiting for job in self._jobs.values())

    def is_running(self, key: Key) -> bool:
        """Whether work on this order has begun and not ended."""
        with self._changed:
            job = self._jobs.get(key)
            return job is not None and job.has_begun

    def submit(self, entry: Entry, boot_id: str, *, is_resumed: bool) -> None:
        """Queue an order that the journal holds; one that is in hand already is not queued a second time.

        ``boot_id`` is this start of the agent. ``is_resumed``: an earlier one took the order. A repair then
        waits for ``go_on``: the server may have given it up meanwhile.
        """
        allowed = entry.command.deadline_ms / 1000
        used = max(0.0, self._wall() - entry.received_at) if is_resumed else 0.0
        job = Job(entry, boot_id, self._monotonic() + allowed - used, self._monotonic, is_resumed)
        with self._changed:
            if job.key in self._jobs:
                log.error("%s is in hand already", describe(job.command))
                return
            job.follows = any(one.has_begun for one in self._of(job.command_id))
            self._jobs[job.key] = job
            if job.is_waiting and job.cancel_reason is not None:
                self._leave(job, job.cancel_reason)
                return
        if not job.is_waiting:
            self._queue(job)

    def _queue(self, job: Job) -> None:
        workers = self._collector if isinstance(job.command, Collect) else self._repairers
        workers.submit(lambda: self._run(job))

    def go_on(self, command: Repair) -> bool:
        """The server still wants a repair of an earlier start: queue it as sent now, with its time left.

        Returns whether it waited for that word.
        """
        with self._changed:
            job = self._jobs.get(key_of(command))
            if job is None or not job.is_waiting:
                return False
            job.is_waiting = False
            job.renew(command)
        log.info("the server still wants %s: it goes on", describe(job.command))
        self._queue(job)
        return True

    def leave_late(self) -> None:
        """Leave repairs of an earlier start as they stand that nobody has asked for again in their time."""
        with self._changed:
            for job in self._jobs.values():
                if job.is_waiting and job.is_late():
                    self._leave(job, DEADLINE_PASSED)

    def _leave(self, job: Job, reason: str) -> None:
        """Have a repair that waits, or has not begun again, end with a look at how far it came."""
        was_waiting, job.is_waiting, job.left_for = job.is_waiting, False, reason
        if was_waiting and not self._stopping.is_set():
            self._queue(job)

    def give_up(self, entry: Entry) -> None:
        """Answer an order of an earlier start without working on it: what it did, nobody here knows."""
        job = Job(entry, entry.boot_id, 0.0, self._monotonic, is_resumed=True)
        job.money_begun = isinstance(entry.command, Repair)
        self._end(job, failure(job, f"{BROKE_OFF}: the agent ended {entry.starts} times at this command"))

    def cancel(self, key: Key, reason: str) -> None:
        """Ask an order, and older ones of its command, to stop before their next outside effect.

        One that waits behind no other ends at once; a repair of an earlier start that has not begun again
        does nothing more, though money may have moved.
        """
        with self._changed:
            for one in self._of(key[0]):
                one.cancel_reason = reason
                if one.is_resumed and isinstance(one.command, Repair) and not one.has_begun:
                    self._leave(one, reason)
            job = self._jobs.get(key)
            if job is None:
                return
            is_ours = not job.has_begun and job.may_be_dropped
            job.has_begun = job.has_begun or is_ours
        if is_ours:
            self._end(job, Cancelled(id=new_id(), command_id=job.command_id, reason=reason))

    def _of(self, command_id: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.command_id == command_id]

    def drop_older(self, command_id: str, fence: int) -> list[Key]:
        """Take back the command's orders of a lower fence that have not begun; return them."""
        with self._changed:
            older = [one for one in self._of(command_id) if one.key[1] < fence and not one.has_begun]
            for job in older:
                job.has_begun = True
                del self._jobs[job.key]
        return [job.key for job in older]

    def stop(self, grace: float, boundary: float) -> bool:
        """Take nothing more; let work end within ``grace`` seconds, then stop repairs between two steps.

        For the latter they have ``boundary`` seconds. What is left stays in the journal and in production's
        step table, to be taken up again. Returns whether no work is running any more.
        """
        self._stopping.set()
        if not (is_idle := self._wait_until_idle(grace)):
            self._halting.set()
            is_idle = self._wait_until_idle(boundary)
        self._repairers.close()
        self._collector.close()
        return is_idle

    def _wait_until_idle(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(job.has_begun for job in self._jobs.values()), timeout=seconds
            )

    # ---- on a worker thread

    def _run(self, job: Job) -> None:
        with self._changed:
            if self._stopping.is_set() or job.has_begun:
                return
            job.has_begun = True
        try:
            _BEGIN()
            result = self._begin(job)
            result = fitted(result) if result else None
            _END()
        except StoppedError:
            result = None
        except Exception as error:
            # The command dispatch edge: a fault in a fixer must end this command only, and say so.
            log.exception("%s ended with an unexpected error", describe(job.command))
            result = failure(job, why_it_broke_off(error))
        self._end(job, result)

    def _begin(self, job: Job) -> Message | None:
        if job.left_for is not None and isinstance(job.command, Repair):
            return look_back(job, job.command, self._work)
        if job.may_be_dropped and job.is_set():
            reason = job.cancel_reason or DEADLINE_PASSED
            return Cancelled(id=new_id(), command_id=job.command_id, reason=reason)
        if isinstance(job.command, Collect):
            self._await_session(job)
        self._journal.start(job.key, job.holder.boot_id if job.is_resumed else "")
        if job.is_resumed:
            # It may be what ended the agent before: that it was begun, and by whom, is to outlive this start.
            with suppress(JournalError):
                self._journal.flush()
        self._hint(Started(id=new_id(), command_id=job.command_id))
        match job.command:
            case Collect():
                return self._collect(job, job.command)
            case Repair():
                note = self._noter(job, job.command)
                return self._work.repair(job.command, job.command_id, job.holder, note, job)
            case Verify():
                return self._work.verify(job.command, job.command_id)

    def _end(self, job: Job, result: Message | None) -> None:
        """Leave the result in the outbox; None leaves the command for the next start of the agent."""
        if result is not None:
            self._keep(job, result)
            outcome = getattr(result, "outcome", "")
            log.info("%s: %s %s", describe(job.command), type(result).__name__, outcome)
        with self._changed:
            if result is None:
                job.has_begun = False
            else:
                self._jobs.pop(job.key, None)
            self._changed.notify_all()

    def _keep(self, job: Job, result: Message) -> None:
        try:
            self._outbox.finish(job.key, result)
        except Exception:
            # The command dispatch edge: a worker that ended here would be missing, and its command in hand,
            # for ever.
            log.exception("the result of %s could not be kept; it waits", describe(job.command))
            self._outbox.hold(job.key, result)

    def _await_session(self, job: Job) -> None:
        """Wait for a session: Started must arrive before the first chunk, or old chunks would count."""
        while not (job.is_set() or self._stopping.is_set() or self._is_live.wait(POLL_SECONDS)):
            pass

    def _collect(self, job: Job, command: Collect) -> Message | None:
        halt = Halt(job, self._stopping)
        report = Report(command, job.command_id, self._outbox.put, self._hint, self._monotonic)
        error: str | None = None
        try:
            for rows in cut(self._work.collect(command, report.progress, halt)):
                self._outbox.wait_for_room(job.command_id, CHUNK_WINDOW, halt.is_set)
                if halt.is_set():
                    break
                report.add(rows)
        except (PortError, JournalError) as problem:
            error = str(problem)
        if job.cancel_reason is not None:
            return Cancelled(id=new_id(), command_id=job.command_id, reason=job.cancel_reason)
        if self._stopping.is_set():
            return None
        return report.trailer(error or ("the deadline passed" if job.is_late() else None))

    def _noter(self, job: Job, command: Repair) -> Callable[[StepRecord], None]:
        def note(step: StepRecord) -> None:
            job.money_begun = job.money_begun or (step.moves_money and step.state != "failed")
            self._hint(
                StepRecorded(
                    id=new_id(),
                    command_id=job.command_id,
                    trade_no=command.trade_no,
                    fence=command.fence,
                    step=step,
                )
            )
            # Behind the last step nothing is left to stop, and only its result is not yet kept.
            if self._halting.is_set() and step.state == "done" and step.name != READ_BACK:
                raise StoppedError

        return note
