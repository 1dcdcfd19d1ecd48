"""Binds commands to production: an order becomes a repair, a look or a collection over the agent's ports."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec import UNSET

from agent import clock
from agent.answers import FactsRead, RepairFinished, ReportedTrade, StepRecord
from agent.collectors import collect
from agent.envelope import new_id
from agent.errors import PortError
from agent.fixers import Fixer
from agent.fixers.base import repair, verify
from agent.fixers.leaving import leave
from agent.fixers.order import RepairOrder, RepairReport, RepairSettings
from agent.fixers.result import result_of
from agent.jobs import Progress
from agent.orders import Holder
from agent.ports import Cancellation, Ports
from agent.protocol import Collect, Repair, Verify
from agent.records import EPOCH, StepRow, Window


class ProductionWork:
    """The work of one agent. ``fixers`` are those it offers; ``name`` is written beside each claim.

    ``watch`` tells whether this machine has stood still.
    """

    def __init__(
        self, name: str, ports: Ports, settings: RepairSettings, fixers: Mapping[str, Fixer]
    ) -> None:
        self._name = name
        self._ports = ports
        self._settings = settings
        self._fixers = fixers
        self.watch = settings.watch
        with suppress(PortError):  # without it the first claim is what later ones are held against
            self.watch.note(ports.trades.now(), settings.monotonic())

    @property
    def fixer_codes(self) -> tuple[str, ...]:
        """The fixers this agent offers."""
        return tuple(self._fixers)

    def collect(
        self, command: Collect, progress: Progress, cancellation: Cancellation
    ) -> Iterator[Sequence[ReportedTrade]]:
        """Yield the broken trades of the command's shard. Raises PortError."""
        window = Window(
            start=clock.from_iso(command.window_start),
            end=clock.from_iso(command.window_end),
            shard=command.shard,
            shards=command.shards,
        )
        return collect(
            command.fixer_codes, window, self._ports, self._settings, cancellation, progress, self._fixers
        )

    def repair(
        self,
        command: Repair,
        command_id: str,
        holder: Holder,
        note: Callable[[StepRecord], None],
        cancellation: Cancellation,
    ) -> RepairFinished:
        """Repair one trade and report how that ended."""
        began = self._settings.clock()

        def tell(step: StepRow) -> None:
            note(recorded(step))

        order = self._order(command, holder)
        report = repair(order, self._ports, self._settings, tell, cancellation, self._fixers)
        return self._finished(command, command_id, report, began)

    def leave(self, command: Repair, command_id: str, holder: Holder, reason: str) -> RepairFinished:
        """Do nothing more of a repair, and report how far it came. Raises PortError."""
        began = self._settings.clock()
        report = leave(self._order(command, holder), self._ports, self._settings, reason)
        return self._finished(command, command_id, report, began)

    def _order(self, command: Repair, holder: Holder) -> RepairOrder:
        return RepairOrder(
            trade_no=command.trade_no,
            fixer_code=command.fixer_code,
            row_hash=command.row_hash,
            fence=command.fence,
            agent=self._name,
            boot_id=holder.boot_id,
            former=holder.former,
            given_at=holder.given_at,
            is_by_person=command.by_person is True,
            max_amount_minor=None if command.max_amount_minor is UNSET else command.max_amount_minor,
            action=command.action or None,
            facts_hash=command.facts_hash or "",
        )

    def _finished(
        self, command: Repair, command_id: str, report: RepairReport, began: datetime
    ) -> RepairFinished:
        return RepairFinished(
            id=new_id(),
            command_id=command_id,
            trade_no=command.trade_no,
            fence=command.fence,
            outcome=report.outcome,
            reason=report.reason,
            is_confirmed_failed=report.is_confirmed_failed,
            money_moved=report.money_moved,
            before=report.before,
            after=report.after,
            facts_before=report.facts_before,
            facts_after=report.facts_after,
            steps=tuple(map(recorded, report.steps)),
            row_hash=report.row_hash,
            started_at=clock.to_iso(began),
            duration_ms=_milliseconds(began, self._settings.clock()),
        )

    def verify(self, command: Verify, command_id: str) -> FactsRead:
        """Read one trade's facts and decide, writing nothing."""
        report = verify(command.trade_no, self._ports, self._settings, self._fixers)
        return FactsRead(
            id=new_id(),
            command_id=command_id,
            trade_no=command.trade_no,
            outcome=report.outcome,
            fixer_code=report.fixer_code,
            reason=report.reason,
            row=report.row,
            row_hash=report.row_hash,
            facts=report.facts,
            after=report.after,
            steps=report.steps,
        )


def recorded(step: StepRow) -> StepRecord:
    """Return a step of production's table as it travels: what it left behind is told in words.

    A start that cannot be read travels as the beginning of 1970.
    """
    result = result_of(step)
    reverses = result.reverses and f"reverses {result.reverses}"
    started_at = step.started_at or EPOCH
    told = (result.voucher_no, reverses, result.request_no, result.status, result.code, result.detail)
    return StepRecord(
        seq=step.seq,
        name=step.name,
        key=step.key,
        state=step.state,  # type: ignore[arg-type]  # the table's words are the protocol's
        moves_money=step.moves_money,
        started_at=clock.to_iso(started_at),
        finished_at=clock.to_iso(step.finished_at) if step.finished_at else None,
        duration_ms=_milliseconds(started_at, step.finished_at) if step.finished_at else 0,
        detail=" · ".join(filter(None, told)),
    )


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(0, round((end - start).total_seconds() * 1000))
