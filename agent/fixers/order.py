"""What a repair is told and what it answers."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from agent.answers import Outcome
from agent.decision import RowCodes
from agent.facts import Facts, Row
from agent.records import RepairRow, StepRow
from agent.standstill import Watch
from agent.unpaid import Action

VerifyOutcome = Literal["repair", "consistent", "wait", "human", "resume", "missing", "error"]


def _host_clock() -> datetime:
    return datetime.now(UTC)


def _nothing() -> None:
    return None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent's own configuration allows at most; None, or no amounts: no limit.

    Amounts are minor units by currency. Hour and day are the last 60 minutes and 24 hours by production's
    clock, over every agent of the group: production's own table of repairs is what is counted.
    """

    max_amount_minor: Mapping[str, int] = {}
    max_amount_minor_per_hour: Mapping[str, int] = {}
    max_amount_minor_per_day: Mapping[str, int] = {}
    max_trades_per_hour: int | None = None
    max_trades_per_day: int | None = None


@dataclass(frozen=True, kw_only=True)
class RepairSettings:
    """What holds for a whole system group.

    ``stuck_after``: a processing trade younger than this is in flight. ``quiet_for``: so is one whose row
    changed less than this ago. ``number_pattern``: what a well-formed trade number matches. ``page``: rows
    asked at a time. ``clock`` is the agent's own, aware UTC, for evidence; decisions use production's.
    ``max_age``: an older trade is only repaired by a person's word. ``limits``: what this agent does at most.
    ``stopped`` says why this agent is to begin nothing, None while it may. ``monotonic`` counts seconds and
    cannot be set; ``watch`` tells whether it stood still.
    """

    sys_code: str
    stuck_after: timedelta = timedelta(minutes=30)
    quiet_for: timedelta = timedelta(minutes=10)
    number_pattern: str = r"^[A-Za-z0-9]{8,40}\Z"
    codes: RowCodes = field(default_factory=RowCodes)
    page: int = 500
    clock: Callable[[], datetime] = _host_clock
    max_age: timedelta = timedelta(days=90)
    limits: Limits = field(default_factory=Limits)
    stopped: Callable[[], str | None] = _nothing
    monotonic: Callable[[], float] = time.monotonic
    watch: Watch = field(default_factory=Watch)


class RepairOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: the server's Repair, and who carries it out: ``boot_id``, in place of ``former`` starts.

    ``is_by_person``: a person asked for it. ``max_amount_minor``: what its amount was judged by, None where
    the server does not say. ``action`` is what a person has ordered of a trade debited and
    unpaid, on the facts of ``facts_hash`` (agent.unpaid.digest_of); None for a repair by its plan.
    ``given_at``: when the agent was given it, in seconds of the monotonic clock; None where nobody knows.
    """

    trade_no: str
    fixer_code: str
    row_hash: str
    fence: int
    agent: str
    boot_id: str
    former: tuple[str, ...] = ()
    is_by_person: bool = False
    max_amount_minor: int | None = None
    given_at: float | None = None
    action: Action | None = None
    facts_hash: str = ""

    def over(self, standing: RepairRow | None) -> str | None:
        """The start of the agent whose place this one takes under the same fence: the one that holds the
        repair as just read, where it had this order before. None: only a higher fence takes the repair over.
        """
        if standing is None or standing.fence != self.fence:
            return None
        return standing.boot_id if standing.boot_id in self.former else None


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, with its evidence; the fields of RepairFinished."""

    outcome: Outcome
    reason: str
    is_confirmed_failed: bool
    money_moved: bool
    before: Row | None
    after: Row | None
    facts_before: Facts | None
    facts_after: Facts | None
    steps: tuple[StepRow, ...]
    row_hash: str


class FactsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a trade is in now; the fields of FactsRead. ``after`` is the row a repair would leave, ``steps``
    what it would do."""

    outcome: VerifyOutcome
    fixer_code: str | None = None
    reason: str = ""
    row: Row | None = None
    row_hash: str = ""
    facts: Facts | None = None
    after: Row | None = None
    steps: tuple[str, ...] = ()
