"""Taking back the entries of a withdrawal that was never paid, each under a key of its own.

A reversal that was intended may still reach the ledger, sent by an agent thought dead; so once one is
intended the repair is not closed as if it had not been: it goes on, waits, or goes to a person. Only one that
may not be gone on with (its fixer not offered, over a limit, cancelled) is, where all it has written down can
arrive no more and the entry still stands (resuming.py).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Literal

from agent.decision import decide
from agent.errors import EntryReversedError, LedgerRejectedError
from agent.facts import BankState, Facts, Leg, LegState
from agent.fixers.attempt import DONE, FAILED, SKIPPED, Attempt, AttemptEnded
from agent.fixers.lost_lines import require_no_lost_line
from agent.fixers.plan import REVERSE_BOTH, REVERSE_FIRST, REVERSE_SECOND, REVERSED_LEG
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY, find_the_row, read_facts
from agent.fixers.result import StepResult, result_of
from agent.fixers.steps import is_as_wanted
from agent.records import RepairRow, Reversal, StepRow
from agent.unpaid import NOT_YET_KNOWN, find_bank_obstacle

PAID_MEANWHILE: Final = "the bank has paid what is being reversed"
REVERSED_BY_ANOTHER: Final = "reversed by another"
ANOTHER_ENTRY: Final = "another entry holds the leg"


def reverse_leg(attempt: Attempt, name: str) -> None:
    """Post the entry that takes one back; the same key gives the same number, however often it is asked for.

    Before each effect row, ledger and bank are read afresh.
    """
    if attempt.is_done(name):
        return
    _look_again(attempt)
    slot = _slots(name)[0]
    step = attempt.find_step(name)
    is_new = step is None or step.state == FAILED
    if is_new or slot in attempt.vouchers:
        _require_unpaid(attempt)
    if is_new and slot not in attempt.vouchers:
        _find_it_gone(attempt, name)
        return
    intended_at = attempt.ports.ledger.now()
    if step is None or is_new:
        step = attempt.intend(name, reverses=attempt.vouchers[slot])
    else:
        step = attempt.intend_anew(step)
    _take_back(attempt, step, intended_at)


def _slots(name: str) -> tuple[Leg, ...]:
    return (Leg.FIRST, Leg.SECOND) if name == REVERSE_BOTH else (REVERSED_LEG[name],)


def _look_again(attempt: Attempt) -> None:
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    if (trade.terms, trade.row) != (attempt.held.terms, attempt.held.before):
        _stop(attempt, ROW_CHANGED_AFTER_MONEY, "the row has changed since it was reported")
    attempt.know(read_facts(trade, attempt.ports))
    _require_readable_legs(attempt)


def _require_readable_legs(attempt: Attempt) -> None:
    _, facts = attempt.seen
    legs = (facts.first.state, facts.second.state if facts.second else LegState.NONE)
    if LegState.MISMATCH in legs:
        _stop(attempt, "mismatch", "mismatch")
    if LegState.UNKNOWN in legs:
        raise AttemptEnded("wait", "ledger", is_void=not attempt.money_moved)


def _require_unpaid(attempt: Attempt) -> None:
    """Raises AttemptEnded unless the bank has explicitly refused every number of the trade, and knows none
    whose line production has lost.
    """
    _, facts = attempt.seen
    obstacle = find_bank_obstacle(facts, "reverse")
    if obstacle in NOT_YET_KNOWN:
        raise AttemptEnded("wait", obstacle, is_void=not attempt.money_moved)
    if facts.bank.state is BankState.SUCCESS:
        _stop(attempt, PAID_MEANWHILE, f"the facts do not allow it: {obstacle}")
    if obstacle is not None:
        _stop(attempt, obstacle, f"the facts do not allow it: {obstacle}")
    require_no_lost_line(attempt)


def _stop(attempt: Attempt, after_money: str, before: str) -> None:
    """End: for a person once a reversal was intended, else without a trace."""
    if attempt.money_moved:
        raise AttemptEnded("needs_human", after_money)
    raise AttemptEnded("refused", before, is_void=True)


def _find_it_gone(attempt: Attempt, name: str) -> None:
    """The entry to take back is reversed already, though not by this step."""
    if not attempt.money_moved:
        raise AttemptEnded("refused", "the facts do not allow it: not debited", is_void=True)
    step = attempt.intend(name)
    attempt.record(attempt.conclude(step, SKIPPED, StepResult(detail=REVERSED_BY_ANOTHER)))


def _take_back(attempt: Attempt, step: StepRow, intended_at: datetime) -> None:
    entry = result_of(step).reverses or ""
    slots = _slots(step.name)
    if any(attempt.vouchers.get(slot, entry) != entry for slot in slots):
        raise AttemptEnded("needs_human", ANOTHER_ENTRY)
    if not entry:  # found gone before it was intended
        _skip(attempt, step, slots)
        return
    reversal = Reversal(
        key=step.key, trade_no=attempt.order.trade_no, voucher_no=entry, intended_at=intended_at
    )
    attempt.require_awake()
    try:
        number = attempt.ports.ledger.reverse_entry(reversal)
    except EntryReversedError:
        _skip(attempt, step, slots)
    except LedgerRejectedError as error:
        _reject(attempt, step, error)
    else:
        result = StepResult(voucher_no=number, reverses=entry)
        attempt.record(attempt.conclude(step, DONE, result))
        for slot in slots:
            attempt.vouchers.pop(slot, None)


def _skip(attempt: Attempt, step: StepRow, slots: tuple[Leg, ...]) -> None:
    """Someone else took the entry back; that will do where nothing stands in its place."""
    trade, _ = attempt.seen
    attempt.know(read_facts(trade, attempt.ports))
    _require_readable_legs(attempt)
    if any(slot in attempt.vouchers for slot in slots):
        raise AttemptEnded("needs_human", ANOTHER_ENTRY)
    result = StepResult(reverses=result_of(step).reverses, detail=REVERSED_BY_ANOTHER)
    attempt.record(attempt.conclude(step, SKIPPED, result))


def _reject(attempt: Attempt, step: StepRow, error: LedgerRejectedError) -> None:
    """The ledger surely posted nothing for this step."""
    attempt.record(attempt.conclude(step, FAILED, StepResult(detail=str(error))))
    if attempt.money_moved:
        raise AttemptEnded("needs_human", f"the ledger refused after money moved: {error}")
    raise AttemptEnded("needs_human", f"the ledger refused: {error}", is_void=True)


REVERSALS: Final[Mapping[str, Callable[[Attempt], None]]] = {
    REVERSE_FIRST: lambda attempt: reverse_leg(attempt, REVERSE_FIRST),
    REVERSE_SECOND: lambda attempt: reverse_leg(attempt, REVERSE_SECOND),
    REVERSE_BOTH: lambda attempt: reverse_leg(attempt, REVERSE_BOTH),
}
"""The steps of a reversal by their names in a plan."""


# ---- a reversal half done


def judge_reversal(standing: RepairRow, facts: Facts) -> tuple[Literal["resume", "wait", "human"], str]:
    """Say what a reversal half done calls for."""
    if facts.bank.state is BankState.SUCCESS:
        return "human", PAID_MEANWHILE
    return ("wait", "bank") if facts.bank.state is BankState.UNKNOWN else ("resume", "resume")


def check_reversal(attempt: Attempt) -> None:
    """The world must still be the one this reversal left, or a person looks at it."""
    trade, facts = attempt.seen
    if trade.terms != attempt.held.terms:
        raise AttemptEnded("needs_human", ROW_CHANGED_AFTER_MONEY)
    _require_readable_legs(attempt)
    if not all(attempt.is_done(name) for name in attempt.held.plan if name in REVERSED_LEG):
        return  # each step that is left looks for itself
    if attempt.vouchers:
        raise AttemptEnded("needs_human", ANOTHER_ENTRY)
    _require_unpaid(attempt)
    if trade.row != attempt.held.before and not is_as_wanted(attempt, trade.row):
        is_undone = decide(facts).outcome == "consistent"
        raise AttemptEnded(
            "already_consistent" if is_undone else "needs_human", ROW_CHANGED_AFTER_MONEY, is_void=is_undone
        )
