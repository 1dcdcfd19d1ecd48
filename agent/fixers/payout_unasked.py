"""Payouts that were written down and never asked for: when that is sure, and how they are closed."""

from collections.abc import Sequence
from typing import Final, NoReturn

from agent.facts import BankFact
from agent.fixers.attempt import FAILED, MAY_STILL_COME, Attempt, AttemptEnded
from agent.fixers.lost_lines import LINE_LOST, is_any_known, numbers_without_line
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID, has_own_posting
from agent.fixers.payout_number import PayoutNumber, require_number
from agent.fixers.plan import PAY_AGAIN
from agent.fixers.result import StepResult, result_of
from agent.records import StepRow

KNOWN_ALREADY: Final = "the bank knows the number that was to be new, and does not de-duplicate"
"""Production's table has lost that it was asked for: restored, or failed over before it was copied. The step
is closed: this repair has surely not asked, and whatever people then order asks the bank of the number again.
"""
ANOTHERS_PLACE: Final = "another bank request came before this one was asked for"
NUMBER_TAKEN: Final = "production holds the number of the payout under another trade"
"""Somebody's slip, or nonsense: people put the line right, or give the money back."""
NEVER_ASKED: Final = "the payout was never asked for, and the bank does not de-duplicate"


def require_unknown(attempt: Attempt, step: StepRow, number: PayoutNumber) -> StepRow:
    """The bank must know no other number of the trade whose line production has lost, for it may have paid
    under that; and where a line is to be opened, one that would pay a number twice, not this one either.

    Returns the step, intended anew where asking took time. Raises AttemptEnded: nothing is to be paid now;
    wait where the bank cannot say, needs_human where it knows.
    """
    trade, facts = attempt.seen
    without_line = numbers_without_line(trade, facts, attempt.ports)
    others = [each for each in without_line if each.request_no != number.request_no]
    if _is_any_known(attempt, others):
        _leave_to_person(attempt, step, LINE_LOST)
    is_to_be_unknown = number.is_new and not attempt.ports.bank.deduplicates
    if is_to_be_unknown and _is_any_known(attempt, [number]):
        _leave_to_person(attempt, step, KNOWN_ALREADY)
    is_asked = others or is_to_be_unknown
    return attempt.intend_anew(step) if is_asked else step


def _leave_to_person(attempt: Attempt, step: StepRow, reason: str) -> NoReturn:
    """End for a person; a payout that was surely not asked for is closed."""
    if result_of(step).status:
        raise AttemptEnded("needs_human", reason)
    close_unasked(attempt, step, reason)
    raise AttemptEnded("needs_human", reason, is_void=not has_own_posting(attempt))


def leave_taken(attempt: Attempt, step: StepRow) -> NoReturn:
    """End a payout whose number stands in the line of another trade; one that was not asked for is closed."""
    _leave_to_person(attempt, step, NUMBER_TAKEN)


def number_now(attempt: Attempt, step: StepRow, bank: BankFact) -> PayoutNumber:
    """The number to pay under now, for a payout just intended. Where only a person can tell, what people have
    ordered is closed: told as ended, it may not be carried out afterwards.

    Raises AttemptEnded as ``require_number``.
    """
    try:
        return require_number(attempt, bank)
    except AttemptEnded as ended:
        if ended.outcome == "needs_human" and step.name == PAY_AGAIN:
            _leave_to_person(attempt, step, ended.reason)
        raise


def choose_again(attempt: Attempt, step: StepRow, bank: BankFact) -> None:
    """Judge a number that, by production's table, nobody was let ask under: as the last look would have.

    The claim keeps out whoever wrote it down; the step would say so if the bank had been asked.
    Raises AttemptEnded unless it is still the number to pay under, of a bank that may be asked twice: should
    the table have lost that it was asked, another would pay again. There it is closed, and not asked for.
    """
    try:
        number = require_number(attempt, bank)
    except AttemptEnded as ended:
        if ended.outcome == "needs_human" and step.name == PAY_AGAIN:
            require_never_asked(attempt, step)
            _leave_to_person(attempt, step, ended.reason)
        raise
    if number.request_no != result_of(step).request_no:
        require_never_asked(attempt, step)
        leave_unpaid(attempt, step, ANOTHERS_PLACE)
    if not attempt.ports.bank.deduplicates:
        require_never_asked(attempt, step)
        leave_unpaid(attempt, step, NEVER_ASKED)


def require_never_asked(attempt: Attempt, step: StepRow) -> None:
    """Production's table may have lost that the bank was asked, when it was restored or failed over.

    Raises AttemptEnded: wait while such a call may still be under way or the bank cannot say, needs_human
    where it knows the number. The step then stays open: it does not say whether the bank was asked.
    """
    trade, _ = attempt.seen
    request_no = result_of(step).request_no or ""
    number = PayoutNumber(request_no, 0, is_new=True)
    if step.started_at is None or trade.read_at - step.started_at < MAY_STILL_COME:
        raise AttemptEnded("wait", "bank")
    if _is_any_known(attempt, [number]):
        raise AttemptEnded("needs_human", LINE_LOST)


def _is_any_known(attempt: Attempt, numbers: Sequence[PayoutNumber]) -> bool:
    """Whether the bank knows a number without a line. Raises AttemptEnded(wait) where it cannot say."""
    if not numbers:
        return False
    trade, facts = attempt.seen
    is_known = is_any_known(trade, facts, numbers, attempt.ports.bank)
    if is_known is None:
        raise AttemptEnded("wait", "bank")
    return is_known


def leave_unasked(attempt: Attempt, step: StepRow, reason: str) -> NoReturn:
    """Close a payout that was intended and surely not asked for; what this repair has debited stays."""
    close_unasked(attempt, step, reason)
    if has_own_posting(attempt):
        raise AttemptEnded("needs_human", reason)
    raise AttemptEnded("refused", reason, is_void=True)


def leave_unpaid(attempt: Attempt, step: StepRow, reason: str) -> NoReturn:
    """Close a payout, surely not asked for, whose number is not to be paid under any more.

    Were it left open, no order could be given past it.
    """
    close_unasked(attempt, step, reason)
    if has_own_posting(attempt):
        raise AttemptEnded("needs_human", OWN_DEBIT_UNPAID)
    raise AttemptEnded("refused", reason, is_void=True)


def close_unasked(attempt: Attempt, step: StepRow, reason: str) -> None:
    """Write down that a payout was not asked for, and why: by its status it never was, and it may not be."""
    result = StepResult(request_no=result_of(step).request_no, detail=f"not asked: {reason}")
    attempt.record(attempt.conclude(step, FAILED, result))
