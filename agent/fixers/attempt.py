"""One attempt at a repair: what it has read, what it holds, and how its steps are written down."""

import hashlib
from collections.abc import Set
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.answers import Outcome
from agent.errors import AgentError, FencedError, PortError
from agent.facts import Facts, Leg, LegFact, LegState, Row, Status
from agent.fixers.order import RepairOrder, RepairReport, RepairSettings
from agent.fixers.plan import FIRST_POSTINGS, LEG_OF, PAYOUTS, REVERSED_LEG, WRITE_ROW
from agent.fixers.result import ASKED, StepResult, result_of, text_of
from agent.ports import Cancellation, Ports, StepLog
from agent.records import BankRequest, RepairRow, StepRow, Trade
from agent.standstill import EFFECT_WITHIN

OPEN: Final = "open"
DONE: Final = "done"
ABANDONED: Final = "abandoned"
UNPAID: Final = "unpaid"
"""State of a repair whose payout has finally failed after its debit: a person's order goes on from there."""

INTENDED: Final = "intended"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

ASLEEP_SECONDS: Final = EFFECT_WITHIN.total_seconds()
STOOD_STILL: Final = "the agent stood still before an effect"
MAY_STILL_COME: Final = timedelta(minutes=20)
"""So long after it was written down, by production's clock, a posting may still reach the ledger: sent just
within EFFECT_WITHIN, and then held up by every time-out of the way."""
STILL_COMING: Final = "a posting of this repair may still reach the ledger"

KEY_CHARACTERS: Final = 160
"""No key is longer: so wide is production's table of steps, and the server's."""
DIGEST_CHARACTERS: Final = 40
"""So short that the longest sys_code and trade number leave room for it."""

MONEY_STEPS: Final = frozenset({*LEG_OF, *PAYOUTS, *REVERSED_LEG})


class AttemptEnded(AgentError):
    """The attempt is over.

    ``is_void``: this repair surely had no effect; it is closed as abandoned, so that nothing resumes it.
    """

    def __init__(self, outcome: Outcome, reason: str, *, is_void: bool = False) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.is_void = is_void


class Attempt:
    """What one attempt knows. ``claim`` is set once production's own table says that the trade is ours.

    ``vouchers`` holds the number of each leg that the ledger is known to have posted.
    ``has_moved_money_before``: the repair that this one goes on from has posted or paid.
    ``has_debited_before``: one of an earlier round, of which people order, has debited, and that stands.
    """

    def __init__(
        self,
        order: RepairOrder,
        ports: Ports,
        settings: RepairSettings,
        log: StepLog,
        cancellation: Cancellation,
    ) -> None:
        self.order = order
        self.ports = ports
        self.settings = settings
        self.claim: RepairRow | None = None
        self.steps: dict[str, StepRow] = {}
        self.trade: Trade | None = None
        self.facts: Facts | None = None
        self.facts_before: Facts | None = None
        self.facts_after: Facts | None = None
        self.before: Row | None = None
        self.vouchers: dict[Leg, str] = {}
        self.has_moved_money_before = False
        self.has_debited_before = False
        self._log = log
        self._cancellation = cancellation
        self._is_void = False
        self._ended: list[StepRow] = []
        self._held_at = 0.0

    # ---- what it holds

    @property
    def held(self) -> RepairRow:
        """The claim. Only asked after it was made."""
        assert self.claim is not None, "no step runs before the claim"
        return self.claim

    @property
    def seen(self) -> tuple[Trade, Facts]:
        """The row and the facts as last read. Only asked after they were."""
        assert self.trade is not None, "no step runs before the row is read"
        assert self.facts is not None, "no step runs before the facts are read"
        return self.trade, self.facts

    @property
    def money_moved(self) -> bool:
        """Whether this repair, now or earlier, has begun a step that moves money."""
        return any(step.may_have_moved_money for step in self.steps.values())

    def see(self, trade: Trade) -> None:
        """Keep the row as read."""
        self.trade = trade
        self.before = self.before or trade.row

    def know(self, facts: Facts) -> None:
        """Keep the facts as read, and the vouchers they prove."""
        self.facts = facts
        self.facts_before = self.facts_before or facts
        for leg, fact in ((Leg.FIRST, facts.first), (Leg.SECOND, facts.second)):
            self._know_voucher(leg, fact)

    def _know_voucher(self, leg: Leg, fact: LegFact | None) -> None:
        self.vouchers.pop(leg, None)
        if fact is not None and fact.state is LegState.POSTED and fact.voucher_no:
            self.vouchers[leg] = fact.voucher_no

    def hold(self, claim: RepairRow) -> None:
        """Take the claim as production's table has it; steps of earlier attempts are told again.

        Raises AttemptEnded(unknown) where the machine has stood still since it was given the order: that may
        have been given up, stopped or settled meanwhile.
        """
        self._held_at = self.settings.monotonic()
        self.claim = claim
        self.before = claim.before
        self.steps = {step.key: step for step in claim.steps}
        for step in claim.steps:
            self._log(step)
        watch, given_at = self.settings.watch, self.order.given_at
        watch.note(claim.held_at, self._held_at)
        if given_at is not None and watch.has_stood_still_since(given_at):
            raise AttemptEnded("unknown", STOOD_STILL)

    # ---- steps

    def key_of(self, name: str, request_no: str | None = None) -> str:
        """The idempotency key of a step: from the trade and its leg, payout number or round."""
        prefix = f"PCL:{self.settings.sys_code}:{self.order.trade_no}"
        if name in LEG_OF:
            return f"{prefix}:{LEG_OF[name]}"
        if name in REVERSED_LEG:
            return f"{prefix}:reverse:{REVERSED_LEG[name]}"
        last = request_no or str(self.held.round)
        if len(f"{prefix}:{name}:{last}") > KEY_CHARACTERS:
            # Not written down behind its debit it would be stuck. The step's result has the number itself.
            last = hashlib.sha256(last.encode()).hexdigest()[:DIGEST_CHARACTERS]
        return f"{prefix}:{name}:{last}"

    def find_step(self, name: str) -> StepRow | None:
        """The newest step of this name in this round, or None."""
        found = [step for step in self.steps.values() if step.name == name]
        return found[-1] if found else None

    def is_done(self, name: str) -> bool:
        """Whether the step needs no more doing."""
        step = self.find_step(name)
        return step is not None and step.state in (DONE, SKIPPED)

    def intend(self, name: str, request_no: str | None = None, reverses: str | None = None) -> StepRow:
        """Write down that a step is about to have its effect; a cancel still stops it before any effect.

        Raises AttemptEnded when cancelled, and as ``intend_anew``: the effect must then not be begun.
        """
        self.stop_if_cancelled()
        if name in PAYOUTS:
            # By itself: a repair stopped behind an ended step is not to look as if the bank had been asked.
            self.write_down()
        trade, _ = self.seen
        ordered_at = trade.read_at.isoformat() if self.order.action is not None else None
        result = StepResult(request_no=request_no, reverses=reverses, ordered_at=ordered_at)
        return self.intend_anew(self.intention(name, result))

    def intend_anew(self, step: StepRow) -> StepRow:
        """Write down that a step is about to have its effect now, on what was last seen.

        Raises FencedError, StoodStillError where that is too old, PortError; RowChangedError where the row
        has changed since and tells what is to be posted or taken back, RequestsChangedError where an entry
        is to be taken back and production has opened, or lost, a bank request since: the effect must then
        not be begun.
        """
        trade, _ = self.seen
        intended = msgspec.structs.replace(step, started_at=None)
        takes_back = bool(result_of(step).reverses)
        seen = self._numbers_seen() if takes_back else None
        as_read = trade if takes_back or step.name in FIRST_POSTINGS else None
        self.record(intended, looked_at=trade.read_at, seen=seen, trade=as_read)
        return self.steps[step.key]

    def _numbers_seen(self) -> Set[str]:
        """Every number of the trade that the bank was asked about when the facts were last read."""
        _, facts = self.seen
        return {each.request_no for each in facts.bank.requests}

    def intention(self, name: str, result: StepResult) -> StepRow:
        """Return a step as it stands before its effect."""
        return StepRow(
            key=self.key_of(name, result.request_no),
            seq=self.held.plan.index(name) + 1,
            name=name,
            state=INTENDED,
            moves_money=name in MONEY_STEPS,
            started_at=None,
            finished_at=None,
            result=text_of(result),
        )

    def conclude(self, step: StepRow, state: str, result: StepResult) -> StepRow:
        """Return the step as it ended, by production's clock as it has gone on since it was last asked."""
        passed = timedelta(seconds=self.settings.monotonic() - self._held_at)
        finished_at = self.held.held_at + passed
        return msgspec.structs.replace(step, state=state, finished_at=finished_at, result=text_of(result))

    def record(
        self,
        step: StepRow,
        looked_at: datetime | None = None,
        seen: Set[str] | None = None,
        trade: Trade | None = None,
    ) -> None:
        """Write a step down in production's table, with what has ended before it, then tell it."""
        began = self.settings.monotonic()
        steps = (*self._ended, step)
        at = self.ports.trades.record_step(self.held, *steps, looked_at=looked_at, seen=seen, trade=trade)
        self._hold_since(began, at)
        self.keep(at, *steps)

    def open_request(self, step: StepRow, request: BankRequest) -> bool:
        """Have production's table let the bank be asked now; return whether the request's line is new.

        Raises FencedError, RowChangedError where the row is no longer as it was seen, RequestsChangedError
        where the trade has other requests than the facts tell of, NumberTakenError, StoodStillError,
        PortError: the bank must then not be asked.
        """
        trade, _ = self.seen
        began = self.settings.monotonic()
        asked = msgspec.structs.replace(result_of(step), status=ASKED)
        now = msgspec.structs.replace(step, started_at=None, result=text_of(asked))
        seen = self._numbers_seen()
        opened = self.ports.trades.open_bank_request(self.held, request, now, seen, trade)
        self._hold_since(began, opened.at)
        self.keep(opened.at, now)
        return opened.is_new

    def _hold_since(self, began: float, at: datetime) -> None:
        self._held_at = began
        self.claim = msgspec.structs.replace(self.held, held_at=at)
        self.settings.watch.note(at, self.settings.monotonic())

    def require_awake(self) -> None:
        """Asked just before an effect. Raises AttemptEnded(unknown) where this process has stood still since
        production's table last let it write: another agent may have taken over, and found nothing done.

        A machine that was paused notices nothing: what goes through a database is refused there.
        """
        if self.settings.monotonic() - self._held_at > ASLEEP_SECONDS:
            raise AttemptEnded("unknown", STOOD_STILL)

    def record_with_next(self, step: StepRow) -> None:
        """Have a step that ended written down in one transaction with the next step's intention.

        Nothing has an effect in between; an agent that dies there finds the step intended, as if it had died
        just after the effect.
        """
        self.steps[step.key] = step
        self._ended.append(step)

    def write_down(self) -> None:
        """Write down what has ended and still waits for the next step. Raises FencedError, PortError."""
        if self._ended:
            self.keep(self.ports.trades.record_step(self.held, *self._ended), *self._ended)

    def keep(self, at: datetime, *steps: StepRow) -> None:
        """Tell steps that production's table holds since ``at``, by its clock."""
        self._ended = []
        for step in steps:
            self.steps[step.key] = step.written_at(at)
            self._log(self.steps[step.key])

    def stop_if_cancelled(self) -> None:
        """End as cancelled, unless money has begun to move or the row is written: nothing stops half way.

        The agent's own stop ends it likewise.
        """
        if not (self.money_moved or self.is_done(WRITE_ROW)):
            self.end_if_cancelled()

    def end_if_cancelled(self) -> None:
        """End as cancelled, or stopped, a repair that has surely moved nothing. Raises AttemptEnded."""
        if self._cancellation.is_set():
            raise AttemptEnded("cancelled", "cancelled before the first effect", is_void=True)
        if (why := self.settings.stopped()) is not None:
            raise AttemptEnded("cancelled", f"stopped on the agent: {why}", is_void=True)

    def wait_while_stopped(self, standing: RepairRow) -> None:
        """Leave a repair half done as it stands while the agent is stopped. Raises AttemptEnded(wait)."""
        if (why := self.settings.stopped()) is not None:
            self.recall(standing)
            raise AttemptEnded("wait", f"stopped on the agent: {why}")

    def recall(self, standing: RepairRow) -> None:
        """Keep what a repair that is not taken over has done, as evidence."""
        self.before = standing.before
        self.steps = {step.key: step for step in standing.steps}

    # ---- the end

    def report(self, outcome: Outcome, reason: str) -> RepairReport:
        """The attempt's evidence."""
        is_failed = self.claim is not None and self.claim.target is Status.FAILED
        return RepairReport(
            outcome=outcome,
            reason=reason,
            is_confirmed_failed=outcome == "repaired" and is_failed,
            # An order without effect leaves a person with the debit that it was given of.
            money_moved=(outcome == "needs_human" and self.has_debited_before)
            or self.has_moved_money_before
            or (self._has_effect() if self._is_void else self.money_moved),
            before=self.before,
            after=self.trade.row if self.trade else None,
            facts_before=self.facts_before,
            facts_after=self.facts_after,
            steps=tuple(sorted(self.steps.values(), key=lambda step: step.seq)),
            row_hash=self.trade.row_hash if self.trade else "",
        )

    def close_void(self) -> None:
        """Close a repair that had no effect.

        What was only intended surely did not happen: it is reported as no money moved from here on. Where the
        closing fails the next attempt closes what has begun nothing. Raises FencedError, PortError of any
        other: it stays open, to be gone on with.
        """
        if self.claim is not None:
            try:
                self.ports.trades.close_repair(self.claim, ABANDONED)
            except (PortError, FencedError):
                if self.money_moved:
                    raise
        self._is_void = True

    def _has_effect(self) -> bool:
        return any(step.moves_money and step.state in (DONE, SKIPPED) for step in self.steps.values())
