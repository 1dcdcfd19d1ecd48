"""The row as a repair leaves it, and the step that writes it."""

from agent.decision import REPAIRED_MESSAGE, REVERSED_MESSAGE, corrected_row, legs_claimed, reversed_row
from agent.errors import RowChangedError
from agent.facts import Leg, Row, Status
from agent.fixers.attempt import DONE, FAILED, SKIPPED, Attempt, AttemptEnded
from agent.fixers.plan import READ_BACK, WRITE_ROW, is_reversal, legs_of
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY, find_the_row
from agent.fixers.result import StepResult
from agent.records import Correction, StepRow, Trade


def wanted_row(attempt: Attempt) -> Row:
    """The row as this repair leaves it."""
    _, facts = attempt.seen
    held, codes = attempt.held, attempt.settings.codes
    if is_reversal(held.plan):
        return reversed_row(held.before, codes)
    vouchers = (attempt.vouchers.get(Leg.FIRST), attempt.vouchers.get(Leg.SECOND))
    return corrected_row(held.before, facts.kind, held.target, vouchers, codes)


def _correction(attempt: Attempt) -> Correction:
    """What is written to the row; one confirmed failed keeps its leg cells, but for a reversal."""
    _, facts = attempt.seen
    held = attempt.held
    is_success, is_reversed = held.target is Status.SUCCESS, is_reversal(held.plan)
    return Correction(
        status=held.target,
        acc_voucher=attempt.vouchers.get(Leg.FIRST) if is_success else None,
        e_acc_voucher=attempt.vouchers.get(Leg.SECOND) if is_success else None,
        message=REVERSED_MESSAGE if is_reversed else REPAIRED_MESSAGE[facts.kind],
        cleared=legs_claimed(held.before, attempt.settings.codes) if is_reversed else (),
    )


def write_row(attempt: Attempt) -> None:
    """Correct the row by compare-and-set over what was read, with the record that keeps the old row."""
    if attempt.is_done(WRITE_ROW):
        return
    trade, _ = attempt.seen
    if attempt.held.target is Status.SUCCESS:
        _require_vouchers(attempt)
    step = attempt.intend(WRITE_ROW)
    if is_as_wanted(attempt, trade.row):
        _leave_row(attempt, step, trade)
        return
    steps = (attempt.conclude(step, DONE, StepResult()), attempt.intention(READ_BACK, StepResult()))
    try:
        written = attempt.ports.trades.write_row(attempt.held, trade, _correction(attempt), *steps)
    except RowChangedError:
        _row_changed(attempt, step)
    else:
        attempt.see(written)
        attempt.keep(written.read_at, *steps)


def _require_vouchers(attempt: Attempt) -> None:
    _, facts = attempt.seen
    missing = [leg for leg in legs_of(facts.kind) if leg not in attempt.vouchers]
    if missing:
        raise AttemptEnded("needs_human", f"the ledger holds no entry for leg {missing[0]}")


def _row_changed(attempt: Attempt, step: StepRow) -> None:
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    if attempt.money_moved and is_as_wanted(attempt, trade.row):
        _leave_row(attempt, step, trade)
        return
    attempt.record(attempt.conclude(step, FAILED, StepResult(detail="the row is no longer what was read")))
    if attempt.money_moved:
        raise AttemptEnded("needs_human", ROW_CHANGED_AFTER_MONEY)
    raise AttemptEnded("refused", "the row is no longer what was read", is_void=True)


def _leave_row(attempt: Attempt, step: StepRow, trade: Trade) -> None:
    """Production itself wrote the row as this repair would; its own message stays."""
    attempt.see(trade)
    attempt.record(attempt.conclude(step, SKIPPED, StepResult(detail="production wrote the row")))


def is_as_wanted(attempt: Attempt, row: Row) -> bool:
    """Whether the row says what this repair would write, whatever its message."""
    message = row["FAILED_MSG"]
    return {**row} == {**wanted_row(attempt), "FAILED_MSG": message}
