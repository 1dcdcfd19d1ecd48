"""What the agent has in hand: the work it can ask for, one job an order, the answer of work that broke."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from agent import clock
from agent.answers import FactsRead, RepairFinished, ReportedTrade, StepRecord, sendable
from agent.envelope import new_id
from agent.errors import PortError
from agent.fixers.leaving import NOT_RESUMED
from agent.message import Message
from agent.orders import Entry, Holder, command_id_of, key_of
from agent.ports import Cancellation
from agent.protocol import Collect, Command, Repair, Verify
from agent.reporting import Report

Progress = Callable[[int, int, int], None]
"""Rows scanned, rows that could not be verified, rows expected (0 where not known)."""


class Work(Protocol):
    """What commands ask of production, bound to its ports. Nothing here knows of sockets or journals."""

    @property
    def fixer_codes(self) -> tuple[str, ...]:
        """The fixers this agent offers."""
        ...

    def collect(
        self, command: Collect, progress: Progress, cancellation: Cancellation
    ) -> Iterator[Sequence[ReportedTrade]]:
        """Yield broken trades page by page; ends early when cancelled. Raises PortError."""
        ...

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        """Repair one trade. ``holder``: under which name it is claimed, and from whom it is taken over."""
        ...

    def leave(self, command: Repair, command_id: str, holder: Holder, reason: str) -> RepairFinished:
        """Do nothing more of a repair, and report how far it came. Raises PortError."""
        ...

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        """Read one trade's facts and decide, writing nothing."""
        ...


class Job:
    """A command in hand. It is the Cancellation of its own work: cancelled by a person, or past its deadline.

    ``is_resumed``: an earlier start of the agent accepted it and may have worked on it; a repair then
    ``is_waiting`` until the server sends it again. ``left_for`` is why no more is to be done of it.
    ``follows``: an older order of the same command has begun here.
    """

    def __init__(
        self, entry: Entry, boot_id: str, deadline: float, monotonic: Callable[[], float], is_resumed: bool
    ) -> None:
        self.command: Command = entry.command
        self.command_id = command_id_of(entry.command)
        self.key = key_of(entry.command)
        former = (entry.boot_id, *entry.taken_up_by) if is_resumed else ()
        self.holder = Holder(boot_id, former, monotonic())
        self.is_resumed = is_resumed
        self.is_waiting = is_resumed and isinstance(entry.command, Repair)
        self.left_for: str | None = None
        self.cancel_reason = entry.cancel_reason
        self.follows = False
        self.has_begun = False
        self.money_begun = False
        self._deadline = deadline
        self._monotonic = monotonic

    def is_set(self) -> bool:
        """Whether the work is to stop before its next outside effect."""
        return self.cancel_reason is not None or self.is_late()

    def renew(self, command: Repair) -> None:
        """Take the order as the server has sent it anew; the time left counts from now."""
        self.command = command
        now = self._monotonic()
        self.holder = msgspec.structs.replace(self.holder, given_at=now)
        self._deadline = now + command.deadline_ms / 1000

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self._monotonic() >= self._deadline

    @property
    def may_be_dropped(self) -> bool:
        """Whether it can end unlooked at. A repair resumed, or following another, may have moved money."""
        return not ((self.is_resumed or self.follows) and isinstance(self.command, Repair))


class Halt:
    """The Cancellation of a collection: its job's own, or the agent leaving."""

    def __init__(self, job: Job, stopping: threading.Event) -> None:
        self._job = job
        self._stopping = stopping

    def is_set(self) -> bool:
        return self._job.is_set() or self._stopping.is_set()


def look_back(job: Job, command: Repair, work: Work) -> Message:
    """Return how far a repair came that is left as it is; where that cannot be seen, it is in doubt."""
    try:
        return work.leave(command, job.command_id, job.holder, job.left_for or "")
    except PortError as error:
        job.money_begun = True
        return failure(job, f"{NOT_RESUMED}: {job.left_for}, and could not be looked at: {error}")


def failure(job: Job, reason: str) -> Message:
    """Return the result of work that broke off where nothing was expected to break."""
    reason = sendable(reason)
    match job.command:
        case Repair():
            return _broken_repair(job, job.command, reason)
        case Verify():
            return FactsRead(
                id=new_id(),
                command_id=job.command_id,
                trade_no=job.command.trade_no,
                outcome="error",
                fixer_code=None,
                reason=reason,
                row=None,
                row_hash="",
                facts=None,
            )
        case Collect():
            report = Report(job.command, job.command_id, lambda _: None, lambda _: None, time.monotonic)
            return report.trailer(reason)


def _broken_repair(job: Job, command: Repair, reason: str) -> RepairFinished:
    """Unknown, never failed: what had its effect stands in production's step table."""
    return RepairFinished(
        id=new_id(),
        command_id=job.command_id,
        trade_no=command.trade_no,
        fence=command.fence,
        outcome="unknown",
        reason=reason,
        is_confirmed_failed=False,
        money_moved=job.money_begun,
        before=None,
        after=None,
        facts_before=None,
        facts_after=None,
        steps=(),
        row_hash=command.row_hash,
        started_at=clock.to_iso(clock.now()),
        duration_ms=0,
    )


def describe(command: Command) -> str:
    """Return a command in a few words for the log."""
    if isinstance(command, Collect):
        shard = f"shard {command.shard} of {command.shards}"
        return f"Collect {command_id_of(command)} (run {command.run_id}, {shard})"
    return (
        f"{type(command).__name__} {command_id_of(command)} (trade {command.trade_no}, fence {command.fence})"
    )
