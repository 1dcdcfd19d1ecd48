"""Asks the bank to pay, or finds out what became of having asked.

Production's table of bank requests is written first; between the intention and the request row, ledger and
bank are read once more.
"""

from typing import Final

from agent.errors import BankConflictError, NumberTakenError, RequestsChangedError, RowChangedError
from agent.facts import BankFact, BankState, Leg, LegState
from agent.fixers.attempt import DONE, FAILED, SKIPPED, Attempt, AttemptEnded
from agent.fixers.lost_lines import may_be_lost
from agent.fixers.payout_answer import (
    CONFLICT,
    OWN_DEBIT_UNPAID,
    end_unpaid,
    find_request,
    inquire,
    require_deduplication,
    settle_by_inquiry,
    take_reply,
)
from agent.fixers.payout_number import PayoutNumber, request_of, require_number, seq_of
from agent.fixers.payout_unasked import (
    ANOTHERS_PLACE,
    choose_again,
    leave_taken,
    leave_unasked,
    leave_unpaid,
    number_now,
    require_never_asked,
    require_unknown,
)
from agent.fixers.plan import PAY
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY, find_the_row, read_facts
from agent.fixers.result import StepResult, result_of
from agent.money import Money
from agent.records import StepRow

DEBIT_GONE: Final = "not debited, so not paid"
CHANGED_MEANWHILE: Final = "the trade or its posting changed while the bank was looked at"
"""Row, trade number or debit: nothing was asked, and the next attempt sees which."""


def pay(attempt: Attempt, name: str = PAY) -> None:
    """Ask the bank to pay, or find out what became of having asked. ``name``: of the step, of PAYOUTS."""
    if attempt.is_done(name):
        return
    _, facts = attempt.seen
    if Leg.FIRST not in attempt.vouchers:
        raise AttemptEnded("needs_human", DEBIT_GONE)
    step = attempt.find_step(name)
    if facts.bank.state is BankState.SUCCESS:
        if step is not None and result_of(step).status:
            _require_line(attempt, step, facts.bank)
        paid = next(
            (each.request_no for each in facts.bank.requests if each.verdict is BankState.SUCCESS), None
        )
        _note_paid(attempt, name, step, paid)
    elif step is None:
        _pay_first_time(attempt, name, facts.bank)
    else:
        _pay_again_where_lost(attempt, step, facts.bank)


def _require_line(attempt: Attempt, step: StepRow, bank: BankFact) -> None:
    """The bank has paid. The number that we asked for shows in no fact once production's table has lost its
    line: it may have been paid as well.

    Raises AttemptEnded: needs_human where the bank knows it, wait where it cannot say or it may still arrive.
    """
    if find_request(bank, result_of(step).request_no) is None:
        require_never_asked(attempt, step)


def _note_paid(attempt: Attempt, name: str, step: StepRow | None, paid: str | None) -> None:
    """The bank has paid: the number this repair asked for, or another, which leaves nothing to do."""
    if step is not None and result_of(step).request_no == paid:
        attempt.record(attempt.conclude(step, DONE, StepResult(request_no=paid, status="success")))
        return
    step = step or attempt.intend(name, paid)
    result = StepResult(request_no=paid, status="success", detail="paid already")
    attempt.record(attempt.conclude(step, SKIPPED, result))


def _pay_first_time(attempt: Attempt, name: str, bank: BankFact) -> None:
    number = require_number(attempt, bank)
    step = attempt.intend(name, number.request_no)
    _look_again(attempt, step, number)
    try:
        _submit(attempt, step, number)
    except NumberTakenError:
        leave_taken(attempt, step)


def _look_again(attempt: Attempt, step: StepRow, number: PayoutNumber) -> None:
    """Read row, ledger and bank once more: what was read before the claim may be old by now.

    Raises AttemptEnded: nothing was asked. Where time may clear it up the step stays open; where the debit is
    gone, the row another one, or another number to pay under, it is closed.
    """
    debit = attempt.vouchers[Leg.FIRST]
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    if trade.terms != attempt.held.terms or trade.row != attempt.held.before:
        # Before its facts are read: it may make no sense any more.
        leave_unasked(attempt, step, ROW_CHANGED_AFTER_MONEY)
    attempt.know(read_facts(trade, attempt.ports))
    _, facts = attempt.seen
    if facts.first.state is LegState.UNKNOWN:
        raise AttemptEnded("wait", "ledger")
    if attempt.vouchers.get(Leg.FIRST) != debit:
        leave_unasked(attempt, step, DEBIT_GONE)
    if number_now(attempt, step, facts.bank) != number:
        leave_unpaid(attempt, step, ANOTHERS_PLACE)


def _pay_again_where_lost(attempt: Attempt, step: StepRow, bank: BankFact) -> None:
    """Look at the bank first; a number that never arrived is submitted again under the same number."""
    request_no = result_of(step).request_no or ""
    found = next((each for each in bank.requests if each.request_no == request_no), None)
    if step.state == FAILED:
        raise AttemptEnded("needs_human", OWN_DEBIT_UNPAID)
    settle_by_inquiry(attempt, step, found)
    if attempt.is_done(step.name):
        return
    if not result_of(step).status:
        choose_again(attempt, step, bank)
    if found is not None and found.status != "not_found":
        raise AttemptEnded("wait", "bank")
    if any(each.verdict is not BankState.FAIL for each in bank.requests if each is not found):
        # Another number that failed when this one was opened may have been paid since.
        raise AttemptEnded("wait", "bank")
    require_deduplication(attempt)
    number = PayoutNumber(request_no, found.seq if found else seq_of(request_no), is_new=found is None)
    try:
        _submit(attempt, step, number)
    except NumberTakenError:
        require_never_asked(attempt, step)
        leave_taken(attempt, step)


def _submit(attempt: Attempt, step: StepRow, number: PayoutNumber) -> None:
    """Ask the bank, once production's table has let us.

    A number whose line somebody else has written, or taken away, since we looked is only looked at. Where
    the debit or the row is no longer what was seen, so that all is to be looked at afresh, and where
    production has opened another one meanwhile, nothing is asked. Raises NumberTakenError likewise.
    """
    trade, facts = attempt.seen
    if may_be_lost(number, facts):
        step = require_unknown(attempt, step, number)
    attempt.write_down()
    try:
        _require_debited(attempt)
        is_opened = attempt.open_request(step, request_of(trade, number))
    except RowChangedError as error:
        raise AttemptEnded("wait", CHANGED_MEANWHILE) from error
    except RequestsChangedError as error:
        raise AttemptEnded("wait", "bank") from error
    step = attempt.steps[step.key]
    if is_opened != number.is_new:
        _look_at_anothers(attempt, step)
        return
    amount = Money(facts.amount_minor, facts.currency)
    attempt.require_awake()
    try:
        reply = attempt.ports.bank.pay(number.request_no, amount, trade.bank_account_no)
    except BankConflictError:
        step = attempt.conclude(step, FAILED, StepResult(number.request_no, status=CONFLICT))
        attempt.record(step)
        raise end_unpaid(attempt, step) from None
    attempt.ports.trades.note_bank_request(attempt.held, number.request_no, reply.status)
    take_reply(attempt, step, reply)


def _require_debited(attempt: Attempt) -> None:
    """The bank may have taken minutes to answer since the ledger was read, and people taken the debit back.

    Raises AttemptEnded(wait) unless the ledger still holds the debit that was seen.
    """
    trade, _ = attempt.seen
    first, _ = attempt.ports.ledger.legs([trade]).get(trade.trade_no, (None, None))
    if first is None or first.state is LegState.UNKNOWN:
        raise AttemptEnded("wait", "ledger")
    debit = first.voucher_no if first.state is LegState.POSTED else None
    if debit != attempt.vouchers.get(Leg.FIRST):
        raise AttemptEnded("wait", CHANGED_MEANWHILE)


def _look_at_anothers(attempt: Attempt, step: StepRow) -> None:
    """Find out what became of a number somebody else has opened. Raises AttemptEnded unless it is paid."""
    settle_by_inquiry(attempt, step, inquire(attempt, step))
    if not attempt.is_done(step.name):
        raise AttemptEnded("wait", "bank")
