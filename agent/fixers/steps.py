"""The steps every fixer is made of. Each is written down before and after its effect and may be replayed."""

from collections.abc import Callable, Mapping
from typing import Final

from agent.decision import decide
from agent.errors import InsufficientBalanceError, LedgerRejectedError, LegTakenError, RowChangedError
from agent.facts import Facts, Kind, Leg, LegState, Status
from agent.fixers.attempt import DONE, FAILED, SKIPPED, Attempt, AttemptEnded
from agent.fixers.lost_lines import LINE_LOST, find_lost_line
from agent.fixers.nonsense import find_nonsense
from agent.fixers.payout import pay
from agent.fixers.plan import (
    LEG_OF,
    PAY,
    PAY_AGAIN,
    PAYOUTS,
    POST_BOTH,
    POST_FIRST,
    POST_SECOND,
    READ_BACK,
    WRITE_ROW,
)
from agent.fixers.reading import (
    IN_FLIGHT,
    ROW_CHANGED,
    find_the_row,
    read_facts,
)
from agent.fixers.result import StepResult, result_of
from agent.fixers.row import is_as_wanted, wanted_row, write_row
from agent.money import Money
from agent.records import Posting, StepRow, Trade

NOT_AS_WRITTEN: Final = "the row is not as it was written"
MOVED_SINCE: Final = "the ledger or the bank has changed meanwhile"


def post_leg(attempt: Attempt, name: str) -> None:
    """Post one entry; the same key gives the same voucher number, however often it is asked for."""
    if attempt.is_done(name):
        return
    trade, facts = attempt.seen
    intended_at = attempt.ports.ledger.now()
    step = _intended(attempt, name)
    posting = Posting(
        key=step.key,
        trade_no=trade.trade_no,
        kind=facts.kind,
        leg=LEG_OF[name],
        account_no=trade.account_no,
        amount=Money(facts.amount_minor, facts.currency),
        intended_at=intended_at,
    )
    attempt.require_awake()
    try:
        voucher = attempt.ports.ledger.post(posting)
    except LegTakenError:
        _take_over_posting(attempt, step)
    except LedgerRejectedError as error:
        _reject(attempt, step, error)
    else:
        attempt.vouchers |= dict.fromkeys(_slots(name), voucher)
        attempt.record_with_next(attempt.conclude(step, DONE, StepResult(voucher_no=voucher)))


def _intended(attempt: Attempt, name: str) -> StepRow:
    """Write down that a leg is about to be posted, as the row says.

    Raises AttemptEnded where that has changed since it was read.
    """
    is_first = not attempt.money_moved
    try:
        return attempt.intend(name)
    except RowChangedError as error:
        if is_first:
            raise AttemptEnded("refused", ROW_CHANGED, is_void=True) from error
        raise AttemptEnded("wait", IN_FLIGHT) from error


def _slots(name: str) -> tuple[Leg, ...]:
    return (Leg.FIRST, Leg.SECOND) if name == POST_BOTH else (LEG_OF[name],)


def _reject(attempt: Attempt, step: StepRow, error: LedgerRejectedError) -> None:
    """The ledger surely posted nothing for this step."""
    attempt.record(attempt.conclude(step, FAILED, StepResult(detail=str(error))))
    if attempt.money_moved:
        raise AttemptEnded("needs_human", f"the ledger refused after money moved: {error}")
    if isinstance(error, InsufficientBalanceError):
        raise AttemptEnded("needs_human", "insufficient balance", is_void=True)
    raise AttemptEnded("failed", f"the ledger refused: {error}", is_void=True)


def _take_over_posting(attempt: Attempt, step: StepRow) -> None:
    """Someone else posted this leg. Before money of ours that ends the attempt; after it, theirs will do."""
    trade, _ = attempt.seen
    attempt.record(attempt.conclude(step, FAILED, StepResult(detail="another entry holds the leg")))
    if not attempt.money_moved:
        raise AttemptEnded("refused", "another entry holds the leg", is_void=True)
    attempt.know(read_facts(trade, attempt.ports))
    slots = _slots(step.name)
    if not all(slot in attempt.vouchers for slot in slots):
        raise AttemptEnded("needs_human", "another entry holds the leg and does not fit the trade")
    voucher = attempt.vouchers[slots[0]]
    attempt.record(
        attempt.conclude(step, SKIPPED, StepResult(voucher_no=voucher, detail="posted by another"))
    )


def read_back(attempt: Attempt) -> None:
    """Read row, ledger and bank again: done only when they agree and the row is as predicted.

    Where they agree on a row that someone wrote after us, the repair is over and a person is told, once:
    looking again changes nothing, writing again would overwrite theirs.
    """
    step = attempt.find_step(READ_BACK) or attempt.intend(READ_BACK)
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    if nonsense := find_nonsense(trade, attempt.settings):
        raise AttemptEnded("needs_human", nonsense)
    attempt.facts_after = read_facts(trade, attempt.ports)
    decision = decide(attempt.facts_after)
    if decision.outcome == "human":
        raise AttemptEnded("needs_human", f"read back: {decision.reason}")
    if decision.outcome == "repair":  # someone was at work after us; a machine would only race with them
        changed = MOVED_SINCE if is_as_wanted(attempt, trade.row) else NOT_AS_WRITTEN
        raise AttemptEnded("needs_human", f"read back: {changed}")
    if decision.outcome != "consistent":
        raise AttemptEnded("unknown", f"read back: {decision.reason}")
    if attempt.held.target is Status.FAILED:
        _require_nothing_lost(attempt, trade, attempt.facts_after)
    else:
        _require_own_lines(attempt, attempt.facts_after)
        if attempt.facts_after.kind is Kind.WITHDRAW and len(attempt.facts_after.bank.requests) > 1:
            # Behind the first number one of ours may have been paid, and lost with its step.
            _require_nothing_lost(attempt, trade, attempt.facts_after)
    written = attempt.find_step(WRITE_ROW)
    is_ours = written is not None and written.state == DONE
    if not is_as_wanted(attempt, trade.row) or (is_ours and trade.row != wanted_row(attempt)):
        _close(attempt, attempt.conclude(step, FAILED, StepResult(detail=NOT_AS_WRITTEN)))
        raise AttemptEnded("needs_human", f"read back: {NOT_AS_WRITTEN}")
    _close(attempt, attempt.conclude(step, DONE, StepResult()))


def _require_nothing_lost(attempt: Attempt, trade: Trade, facts: Facts) -> None:
    """Without its line a number shows in no fact: the bank may have moved what is told as failed, or twice
    what is told as paid.

    Raises AttemptEnded unless the bank knows of none such; the repair stays open.
    """
    lost = find_lost_line(trade, facts, attempt.ports)
    if lost == LINE_LOST:
        raise AttemptEnded("needs_human", LINE_LOST)
    if lost is not None:
        raise AttemptEnded("unknown", f"read back: {lost}")


def _require_own_lines(attempt: Attempt, facts: Facts) -> None:
    """What agrees without the number that we paid under was paid under another one as well.

    Raises AttemptEnded; the repair stays open.
    """
    paid = {
        result_of(step).request_no
        for step in attempt.steps.values()
        if step.name in PAYOUTS and step.state == DONE
    }
    if paid - {each.request_no for each in facts.bank.requests}:
        raise AttemptEnded("needs_human", LINE_LOST)


def _close(attempt: Attempt, last: StepRow) -> None:
    """Close the repair on what was just read. Raises StoodStillError where that is too old: it stays open."""
    trade, _ = attempt.seen
    attempt.ports.trades.close_repair(attempt.held, DONE, last, looked_at=trade.read_at)
    attempt.keep(trade.read_at, last)


STEPS: Final[Mapping[str, Callable[[Attempt], None]]] = {
    POST_FIRST: lambda attempt: post_leg(attempt, POST_FIRST),
    POST_SECOND: lambda attempt: post_leg(attempt, POST_SECOND),
    POST_BOTH: lambda attempt: post_leg(attempt, POST_BOTH),
    PAY: pay,
    PAY_AGAIN: lambda attempt: pay(attempt, PAY_AGAIN),
    WRITE_ROW: write_row,
    READ_BACK: read_back,
}
"""Every step by its name in a plan, but for those of a reversal (reversing.py)."""


def missing_legs(attempt: Attempt) -> list[LegState]:
    """The ledger's word on each leg that this repair has posted, where that is no longer POSTED."""
    _, facts = attempt.seen
    states = {Leg.FIRST: facts.first.state, Leg.SECOND: facts.second.state if facts.second else LegState.NONE}
    posted = [slot for name in LEG_OF if attempt.is_done(name) for slot in _slots(name)]
    return [states[slot] for slot in posted if states[slot] is not LegState.POSTED]
