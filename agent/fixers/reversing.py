"""Taking back the entries of a withdrawal that was never paid, each under a key of its own.

A reversal that was intended may still reach the ledger, sent by an agent thought dead; until it surely does
not, the repair is not closed as if it had not been. Once all it has written down can arrive no more, and it
has taken nothing back, it is closed where it may not be gone on with: its fixer not offered, over a limit,
cancelled (resuming.py), the row or the bank's word another (reversal_unmade.py).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Literal, NoReturn

from agent.answers import Outcome
from agent.decision import decide
from agent.errors import (
    EntriesChangedError,
    EntryReversedError,
    EntryStandsError,
    LedgerRejectedError,
    RequestsChangedError,
    RowChangedError,
)
from agent.facts import BankState, Facts, Leg, LegState
from agent.fixers.attempt import DONE, FAILED, SKIPPED, Attempt, AttemptEnded
from agent.fixers.lost_lines import LINE_LOST, find_lost_line
from agent.fixers.plan import REVERSE_BOTH, REVERSE_FIRST, REVERSE_SECOND, REVERSED_LEG
from agent.fixers.reading import (
    IN_FLIGHT,
    ROW_CHANGED,
    ROW_CHANGED_AFTER_MONEY,
    find_the_row,
    read_facts,
)
from agent.fixers.result import StepResult, result_of
from agent.fixers.reversal_unmade import (
    ANOTHER_ENTRY,
    SLOTS,
    end_without_effect,
    is_gone,
    legs_of,
    may_have_had_effect,
    require_as_ordered,
)
from agent.fixers.row import is_as_wanted
from agent.records import RepairRow, Reversal, StepRow
from agent.unpaid import NOT_YET_KNOWN, find_bank_obstacle

PAID_MEANWHILE: Final = "the bank has paid what is being reversed"
REVERSED_BY_ANOTHER: Final = "reversed by another"


def reverse_leg(attempt: Attempt, name: str) -> None:
    """Post the entry that takes one back; the same key gives the same number, however often it is asked for.

    Before each effect row, ledger and bank are read afresh.
    """
    if attempt.is_done(name):
        return
    _look_again(attempt)
    slot = SLOTS[name][0]
    step = attempt.find_step(name)
    is_new = step is None or step.state == FAILED
    if is_new or slot in attempt.vouchers:
        _require_unpaid(attempt)
    if is_new and slot not in attempt.vouchers:
        _find_it_gone(attempt, name)
        return
    intended_at = attempt.ports.ledger.now()
    _take_back(attempt, _intended(attempt, name, None if is_new else step), intended_at)


def _intended(attempt: Attempt, name: str, step: StepRow | None) -> StepRow:
    """Write down that an entry is about to be taken back, or asked about; ``step``: where that was so before.

    Raises AttemptEnded(wait) where production has opened a number since the bank was asked about all of them:
    what is paid under it would be given back as well. Likewise where people, or production, have written the
    row since.
    """
    try:
        if step is None:
            return attempt.intend(name, reverses=attempt.vouchers[SLOTS[name][0]])
        return attempt.intend_anew(step)
    except RequestsChangedError as error:
        raise AttemptEnded("wait", "bank", is_void=not attempt.money_moved) from error
    except RowChangedError as error:
        raise AttemptEnded("wait", IN_FLIGHT, is_void=not attempt.money_moved) from error


def _look_again(attempt: Attempt) -> None:
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    if (trade.terms, trade.row) != (attempt.held.terms, attempt.held.before):
        _stop(attempt, ROW_CHANGED_AFTER_MONEY, ROW_CHANGED)
    attempt.know(read_facts(trade, attempt.ports))
    _require_readable_legs(attempt)
    left = [name for name in attempt.held.plan if name in REVERSED_LEG and not attempt.is_done(name)]
    extra = attempt.vouchers.keys() - {slot for name in left for slot in SLOTS[name]}
    if extra and {attempt.vouchers[slot] for slot in extra} <= _taken_back(attempt):
        raise AttemptEnded("wait", "ledger")  # what was read is older than that
    if extra:
        # Posted since: taking back the others alone would leave it standing.
        _stop(attempt, ANOTHER_ENTRY, ANOTHER_ENTRY, "needs_human")


def _taken_back(attempt: Attempt) -> set[str | None]:
    """The entries that this reversal has taken back."""
    done = [step for step in attempt.steps.values() if step.name in REVERSED_LEG and step.state == DONE]
    return {result_of(step).reverses for step in done}


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
    trade, facts = attempt.seen
    obstacle = find_bank_obstacle(facts, "reverse") or find_lost_line(trade, facts, attempt.ports)
    if obstacle in NOT_YET_KNOWN:
        raise AttemptEnded("wait", obstacle or "", is_void=not attempt.money_moved)
    if obstacle == LINE_LOST:
        _stop(attempt, LINE_LOST, LINE_LOST, "needs_human")
    if facts.bank.state is BankState.SUCCESS:
        _stop(attempt, PAID_MEANWHILE, f"the facts do not allow it: {obstacle}")
    if obstacle is not None:
        _stop(attempt, obstacle, f"the facts do not allow it: {obstacle}")


def _stop(attempt: Attempt, after_money: str, before: str, outcome: Outcome = "refused") -> NoReturn:
    """End: for a person once an entry may have been taken back, else without effect."""
    _, facts = attempt.seen
    if may_have_had_effect(attempt.steps.values(), legs_of(facts)):
        raise AttemptEnded("needs_human", after_money)
    end_without_effect(attempt, outcome, before)


def _find_it_gone(attempt: Attempt, name: str) -> None:
    """The entry to take back is reversed already, though not by this step."""
    if not attempt.money_moved:
        raise AttemptEnded("refused", "the facts do not allow it: not debited", is_void=True)
    step = attempt.intend(name)
    attempt.record(attempt.conclude(step, SKIPPED, StepResult(detail=REVERSED_BY_ANOTHER)))


def _take_back(attempt: Attempt, step: StepRow, intended_at: datetime) -> None:
    entry = result_of(step).reverses or ""
    slots = SLOTS[step.name]
    if any(attempt.vouchers.get(slot, entry) != entry for slot in slots):
        raise AttemptEnded("needs_human", ANOTHER_ENTRY)
    if not entry:  # found gone before it was intended
        _skip(attempt, step, slots)
        return
    # Where it seems gone, by this step or another, the ledger only tells: what was read may be old.
    is_question = slots[0] not in attempt.vouchers
    try:
        number = _ask_ledger(attempt, step, entry, intended_at, is_question=is_question)
    except EntryReversedError:
        _skip(attempt, step, slots)
    except LedgerRejectedError as error:
        _reject(attempt, step, error)
    else:
        _note_taken_back(attempt, step, number)
        for slot in slots:
            attempt.vouchers.pop(slot, None)


def _ask_ledger(
    attempt: Attempt, step: StepRow, entry: str, intended_at: datetime, *, is_question: bool
) -> str:
    """Have the ledger take the entry back, or only tell whether it has under this key: the same number.

    Raises AttemptEnded, wait where it seemed gone and stands, or another was posted since; PortError and what
    the ledger answers.
    """
    reversal = Reversal(
        key=step.key,
        trade_no=attempt.order.trade_no,
        voucher_no=entry,
        intended_at=intended_at,
        standing=frozenset(attempt.vouchers.values()),
        is_question=is_question,
    )
    attempt.require_awake()
    try:
        return attempt.ports.ledger.reverse_entry(reversal)
    except (EntryStandsError, EntriesChangedError) as error:
        raise AttemptEnded("wait", "ledger") from error


def _note_taken_back(attempt: Attempt, step: StepRow, number: str) -> None:
    result = StepResult(voucher_no=number, reverses=result_of(step).reverses)
    attempt.record(attempt.conclude(step, DONE, result))


def _note_taken_by_another(attempt: Attempt, step: StepRow) -> None:
    result = StepResult(reverses=result_of(step).reverses, detail=REVERSED_BY_ANOTHER)
    attempt.record(attempt.conclude(step, SKIPPED, result))


def _skip(attempt: Attempt, step: StepRow, slots: tuple[Leg, ...]) -> None:
    """Someone else took the entry back; that will do where nothing stands in its place."""
    trade, _ = attempt.seen
    attempt.know(read_facts(trade, attempt.ports))
    _require_readable_legs(attempt)
    if any(slot in attempt.vouchers for slot in slots):
        raise AttemptEnded("needs_human", ANOTHER_ENTRY)
    _note_taken_by_another(attempt, step)


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
    """Say what a reversal half done calls for: going on closes one that has surely taken nothing back."""
    is_made = any(step.name in REVERSED_LEG and step.state == DONE for step in standing.steps)
    if is_made and facts.bank.state is BankState.SUCCESS:
        return "human", PAID_MEANWHILE
    return ("wait", "bank") if facts.bank.state is BankState.UNKNOWN else ("resume", "resume")


def check_reversal(attempt: Attempt) -> None:
    """The world must still be the one this reversal left, or a person looks at it; where it has taken nothing
    back, the one it was ordered in, or it ends without effect.

    Raises AttemptEnded, FencedError, PortError.
    """
    legs = legs_of(attempt.seen[1])
    if LegState.UNKNOWN in (leg.state for leg in legs if leg is not None):
        raise AttemptEnded("wait", "ledger")
    for step in [each for each in attempt.steps.values() if is_gone(legs, each)]:
        _find_out(attempt, step)
    if may_have_had_effect(attempt.steps.values(), legs):
        _check_behind_money(attempt)
        return
    require_as_ordered(attempt)
    _require_readable_legs(attempt)
    _require_unpaid(attempt)


def _find_out(attempt: Attempt, step: StepRow) -> None:
    """The entry was taken back already: the ledger tells by the key whether this step did it, its reply lost.

    Only told, for what was read may be old, and the bank not yet asked.
    """
    intended_at = attempt.ports.ledger.now()
    step = _intended(attempt, step.name, step)
    try:
        entry = result_of(step).reverses or ""
        number = _ask_ledger(attempt, step, entry, intended_at, is_question=True)
    except EntryReversedError:
        _note_taken_by_another(attempt, step)
    except LedgerRejectedError as error:
        _reject(attempt, step, error)
    else:
        _note_taken_back(attempt, step, number)


def _check_behind_money(attempt: Attempt) -> None:
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
