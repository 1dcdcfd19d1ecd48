"""Which number a payout goes out under, and what the bank's answers mean for it.

Number 0 is production's own. Only an explicit failure that has settled opens the next number; whatever may
still arrive late is submitted again under its own number, so that the bank de-duplicates it. At most one is
ever not failed. A failure that may still turn into success is waited for, its step open.
"""

from typing import Final, NoReturn

import msgspec

from agent.errors import BankConflictError
from agent.facts import BankFact, BankState, Leg, LegState, RequestFact
from agent.fixers.attempt import (
    DONE,
    FAILED,
    INTENDED,
    MAY_STILL_COME,
    SKIPPED,
    Attempt,
    AttemptEnded,
)
from agent.fixers.plan import LEG_OF, PAY, PAY_AGAIN
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY, find_the_row, read_facts
from agent.fixers.result import StepResult, result_of, text_of
from agent.money import Money
from agent.records import BankRequest, PayoutReply, StepRow

OWN_DEBIT_UNPAID: Final = "debited, payout failed"
NO_NUMBER: Final = "production holds no bank request of the trade"
"""Its table may have been cleared: what was asked under a number nobody holds, nobody can find again."""
CONFLICT: Final = "conflict"
HELD_OTHERWISE: Final = "the bank holds the number with another amount or payee"
DEBIT_GONE: Final = "not debited, so not paid"
KNOWN_ALREADY: Final = "the bank knows the number that was to be new, and does not de-duplicate"
"""Production's table has lost that it was asked for: restored, or failed over before it was copied."""
LINE_LOST: Final = "the bank knows the number, and production's table has lost it"
"""As KNOWN_ALREADY, of a step that does not say it was asked: it stays open until the line is restored."""
ANOTHERS_PLACE: Final = "another bank request came before this one was asked for"
NEVER_ASKED: Final = "the payout was never asked for, and the bank does not de-duplicate"
MAY_STILL_ARRIVE: Final = "the request may still reach the bank, which does not de-duplicate"


class PayoutNumber(msgspec.Struct, frozen=True):
    """A number to pay under; ``is_new`` when production's table does not hold it yet."""

    request_no: str
    seq: int
    is_new: bool


def choose_number(trade_no: str, bank: BankFact, *, deduplicates: bool) -> PayoutNumber:
    """Return the number to pay under, for a trade the bank has certainly not paid. Asked before the debit.

    Raises AttemptEnded: needs_human when more than one number may still be alive, one may still arrive at a
    bank that would pay it twice, or production holds no number; wait when one may yet turn out paid.
    """
    if not bank.requests:
        raise AttemptEnded("needs_human", NO_NUMBER)
    if any(request.verdict is BankState.UNKNOWN for request in bank.requests):
        raise AttemptEnded("wait", "bank")
    alive = [request for request in bank.requests if request.status != "failed"]
    if len(alive) > 1:
        raise AttemptEnded("needs_human", "more than one bank request may be alive")
    if alive and not deduplicates:
        raise AttemptEnded("needs_human", MAY_STILL_ARRIVE)
    if alive:
        return PayoutNumber(alive[0].request_no, alive[0].seq, is_new=False)
    seq = max(request.seq for request in bank.requests) + 1
    return PayoutNumber(f"{trade_no}-P{seq}", seq, is_new=True)


def pay(attempt: Attempt, name: str = PAY) -> None:
    """Ask the bank to pay, or find out what became of having asked. ``name``: of the step, of PAYOUTS."""
    if attempt.is_done(name):
        return
    _, facts = attempt.seen
    if Leg.FIRST not in attempt.vouchers:
        raise AttemptEnded("needs_human", DEBIT_GONE)
    step = attempt.find_step(name)
    if facts.bank.state is BankState.SUCCESS:
        paid = next(
            (each.request_no for each in facts.bank.requests if each.verdict is BankState.SUCCESS), None
        )
        _note_paid(attempt, name, step, paid)
    elif step is None:
        _pay_first_time(attempt, name, facts.bank)
    else:
        _pay_again_where_lost(attempt, step, facts.bank)


def _note_paid(attempt: Attempt, name: str, step: StepRow | None, paid: str | None) -> None:
    """The bank has paid: the number this repair asked for, or another, which leaves nothing to do."""
    if step is not None and result_of(step).request_no == paid:
        attempt.record(attempt.conclude(step, DONE, StepResult(request_no=paid, status="success")))
        return
    step = step or attempt.intend(name, paid)
    result = StepResult(request_no=paid, status="success", detail="paid already")
    attempt.record(attempt.conclude(step, SKIPPED, result))


def _pay_first_time(attempt: Attempt, name: str, bank: BankFact) -> None:
    number = _require_number(attempt, bank)
    step = attempt.intend(name, number.request_no)
    _look_again(attempt, step, number)
    if number.is_new and not attempt.ports.bank.deduplicates:
        _require_unknown(attempt, step, number)
    _submit(attempt, step, number)


def _require_number(attempt: Attempt, bank: BankFact) -> PayoutNumber:
    if bank.state is not BankState.FAIL:
        raise AttemptEnded("wait", "bank")
    return choose_number(attempt.order.trade_no, bank, deduplicates=attempt.ports.bank.deduplicates)


def _look_again(attempt: Attempt, step: StepRow, number: PayoutNumber) -> None:
    """Read row, ledger and bank once more: what was read before the claim may be old by now.

    Raises AttemptEnded: nothing was asked. Where time may clear it up the step stays open; where the debit is
    gone, the row another one, or another number to pay under, it is closed.
    """
    debit = attempt.vouchers[Leg.FIRST]
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    attempt.know(read_facts(trade, attempt.ports))
    _, facts = attempt.seen
    if facts.first.state is LegState.UNKNOWN:
        raise AttemptEnded("wait", "ledger")
    if attempt.vouchers.get(Leg.FIRST) != debit:
        _leave_unasked(attempt, step, DEBIT_GONE)
    if trade.terms != attempt.held.terms or trade.row != attempt.held.before:
        _leave_unasked(attempt, step, ROW_CHANGED_AFTER_MONEY)
    if _require_number(attempt, facts.bank) != number:
        _leave_unpaid(attempt, step, ANOTHERS_PLACE)


def _require_unknown(attempt: Attempt, step: StepRow, number: PayoutNumber) -> None:
    """A bank that would pay a number twice must not know a new one yet.

    Raises AttemptEnded: nothing was asked now; wait where the bank cannot say, needs_human where it knows it.
    """
    if _is_known(attempt, number):
        _close_unasked(attempt, step, KNOWN_ALREADY)
        raise AttemptEnded("needs_human", KNOWN_ALREADY, is_void=not _has_own_posting(attempt))


def _is_known(attempt: Attempt, number: PayoutNumber) -> bool:
    """Whether the bank knows a number without a line. Raises AttemptEnded(wait) where it cannot say."""
    trade, _ = attempt.seen
    requests = {trade.trade_no: [_request_of(attempt, number)]}
    found = _find(attempt.ports.bank.facts([trade], requests).get(trade.trade_no), number.request_no)
    if found is None or found.status == "unknown":
        raise AttemptEnded("wait", "bank")
    return found.status != "not_found"


def _leave_unasked(attempt: Attempt, step: StepRow, reason: str) -> NoReturn:
    """Close a payout that was intended and surely not asked for; what this repair has debited stays."""
    _close_unasked(attempt, step, reason)
    if _has_own_posting(attempt):
        raise AttemptEnded("needs_human", reason)
    raise AttemptEnded("refused", reason, is_void=True)


def _leave_unpaid(attempt: Attempt, step: StepRow, reason: str) -> NoReturn:
    """Close a payout, surely not asked for, whose number is not to be paid under any more.

    Were it left open, no order could be given past it.
    """
    _close_unasked(attempt, step, reason)
    if _has_own_posting(attempt):
        raise AttemptEnded("needs_human", OWN_DEBIT_UNPAID)
    raise AttemptEnded("refused", reason, is_void=True)


def _close_unasked(attempt: Attempt, step: StepRow, reason: str) -> None:
    result = StepResult(request_no=result_of(step).request_no, detail=f"not asked: {reason}")
    attempt.record(attempt.conclude(step, FAILED, result))


def _pay_again_where_lost(attempt: Attempt, step: StepRow, bank: BankFact) -> None:
    """Look at the bank first; a number that never arrived is submitted again under the same number."""
    request_no = result_of(step).request_no or ""
    found = next((each for each in bank.requests if each.request_no == request_no), None)
    if step.state == FAILED:
        raise AttemptEnded("needs_human", OWN_DEBIT_UNPAID)
    _settle_by_inquiry(attempt, step, found)
    if attempt.is_done(step.name):
        return
    if not result_of(step).status:
        _choose_again(attempt, step, bank)
    if found is not None and found.status != "not_found":
        raise AttemptEnded("wait", "bank")
    if any(each.verdict is not BankState.FAIL for each in bank.requests if each is not found):
        # Another number that failed when this one was opened may have been paid since.
        raise AttemptEnded("wait", "bank")
    _require_deduplication(attempt)
    number = PayoutNumber(request_no, found.seq if found else _seq_of(request_no), is_new=found is None)
    _submit(attempt, step, number)


def _choose_again(attempt: Attempt, step: StepRow, bank: BankFact) -> None:
    """Judge a number that, by production's table, nobody was let ask under: as the last look would have.

    The claim keeps out whoever wrote it down; the step would say so if the bank had been asked.
    Raises AttemptEnded unless it is still the number to pay under, of a bank that may be asked twice: should
    the table have lost that it was asked, another would pay again. There it is closed, and not asked for now.
    """
    if _require_number(attempt, bank).request_no != result_of(step).request_no:
        require_never_asked(attempt, step)
        _leave_unpaid(attempt, step, ANOTHERS_PLACE)
    if not attempt.ports.bank.deduplicates:
        require_never_asked(attempt, step)
        _leave_unpaid(attempt, step, NEVER_ASKED)


def require_never_asked(attempt: Attempt, step: StepRow) -> None:
    """Production's table may have lost that the bank was asked, when it was restored or failed over.

    Raises AttemptEnded: wait while such a call may still be under way or the bank cannot say, needs_human
    where it knows the number.
    """
    trade, _ = attempt.seen
    request_no = result_of(step).request_no or ""
    number = PayoutNumber(request_no, _seq_of(request_no), is_new=True)
    if step.started_at is None or trade.read_at - step.started_at < MAY_STILL_COME:
        raise AttemptEnded("wait", "bank")
    if _is_known(attempt, number):
        raise AttemptEnded("needs_human", LINE_LOST)


def _seq_of(request_no: str) -> int:
    """The sequence of a number Piculus opens, whose line was not yet written.

    Raises AttemptEnded: needs_human for a number of production's own, whose line someone has taken away.
    """
    _, mark, seq = request_no.rpartition("-P")
    if not (mark and seq.isdecimal()):
        raise AttemptEnded("needs_human", "production no longer holds the number of the payout")
    return int(seq)


def _submit(attempt: Attempt, step: StepRow, number: PayoutNumber) -> None:
    """Ask the bank, once production's table has let us.

    A number whose line somebody else has written, or taken away, since we looked is only looked at.
    """
    trade, facts = attempt.seen
    attempt.write_down()
    is_opened = attempt.open_request(step, _request_of(attempt, number))
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
        raise _end_unpaid(attempt, step) from None
    attempt.ports.trades.note_bank_request(attempt.held, number.request_no, reply.status)
    _take_reply(attempt, step, reply)


def _request_of(attempt: Attempt, number: PayoutNumber) -> BankRequest:
    trade, facts = attempt.seen
    return BankRequest(
        request_no=number.request_no,
        trade_no=trade.trade_no,
        seq=number.seq,
        kind="payout",
        status="created",
        amount_minor=facts.amount_minor,
        created_at=trade.read_at,
    )


def _look_at_anothers(attempt: Attempt, step: StepRow) -> None:
    """Find out what became of a number somebody else has opened. Raises AttemptEnded unless it is paid."""
    _settle_by_inquiry(attempt, step, _inquire(attempt, step))
    if not attempt.is_done(step.name):
        raise AttemptEnded("wait", "bank")


def _take_reply(attempt: Attempt, step: StepRow, reply: PayoutReply) -> None:
    """A success or an acceptance is taken at its word; a failure is asked about: it may not have settled."""
    if reply.status in ("success", "accepted"):
        _settle(attempt, step, reply.status, reply.code)
        return
    if reply.status == "unknown":
        _require_deduplication(attempt)
    _settle_by_inquiry(attempt, step, _inquire(attempt, step))
    if attempt.is_done(step.name):
        return
    if reply.status == "failed":
        _wait_for_failure_to_settle(attempt, step, reply.code)
    raise AttemptEnded("unknown", "the reply to the payout was lost")


def _inquire(attempt: Attempt, step: StepRow) -> RequestFact | None:
    """What the bank says of the step's number now. Raises PortError."""
    trade, _ = attempt.seen
    requests = attempt.ports.trades.bank_requests([trade.trade_no])
    bank = attempt.ports.bank.facts([trade], requests).get(trade.trade_no)
    return _find(bank, result_of(step).request_no)


def _find(bank: BankFact | None, request_no: str | None) -> RequestFact | None:
    return next((each for each in (bank.requests if bank else ()) if each.request_no == request_no), None)


def _settle_by_inquiry(attempt: Attempt, step: StepRow, found: RequestFact | None) -> None:
    """Conclude the step where the bank has made up its mind; otherwise leave it as it is.

    Raises AttemptEnded unless the bank has paid or does not know the number.
    """
    if found is None:
        return
    if found.verdict is BankState.MISMATCH:
        raise AttemptEnded("needs_human", "mismatch")
    if found.status == "failed" and found.verdict is not BankState.FAIL:
        _wait_for_failure_to_settle(attempt, step, found.code)
    if found.status in ("success", "failed", "accepted"):
        _settle(attempt, step, found.status, found.code)


def _settle(attempt: Attempt, step: StepRow, status: str, code: str | None) -> None:
    """Conclude the payout; raises AttemptEnded unless the bank has paid."""
    result = StepResult(request_no=result_of(step).request_no, status=status, code=code)
    if status == "success":
        attempt.record_with_next(attempt.conclude(step, DONE, result))
        return
    if status == "failed":
        step = attempt.conclude(step, FAILED, result)
        attempt.record(step)
        raise _end_unpaid(attempt, step)
    _keep_open(attempt, step, result)
    raise AttemptEnded("wait", "the bank has accepted the payout and not yet finished it")


def end_of_failed(step: StepRow) -> AttemptEnded:
    """Return how an attempt ends whose payout has failed for good, where it has not debited the customer."""
    result = result_of(step)
    if result.status == CONFLICT:
        return AttemptEnded("needs_human", HELD_OTHERWISE, is_void=True)
    if step.name == PAY_AGAIN:
        # One order, one number: another one takes another order. Nothing of this one can still pay.
        return AttemptEnded("needs_human", OWN_DEBIT_UNPAID, is_void=True)
    return AttemptEnded("failed", f"payout failed: {result.code}", is_void=True)


def _end_unpaid(attempt: Attempt, failed: StepRow) -> AttemptEnded:
    if failed.name != PAY_AGAIN and _has_own_posting(attempt):
        reason = HELD_OTHERWISE if result_of(failed).status == CONFLICT else OWN_DEBIT_UNPAID
        return AttemptEnded("needs_human", reason)
    return end_of_failed(failed)


def _wait_for_failure_to_settle(attempt: Attempt, step: StepRow, code: str | None) -> NoReturn:
    """The step stays open: another number now, and a late success under this one, would pay twice."""
    _keep_open(attempt, step, StepResult(request_no=result_of(step).request_no, status="failed", code=code))
    raise AttemptEnded("wait", f"bank: payout failed: {code}")


def _keep_open(attempt: Attempt, step: StepRow, result: StepResult) -> None:
    """Write down what the bank has said so far of a payout it has not finished."""
    if result_of(step) != result:
        attempt.record(msgspec.structs.replace(step, state=INTENDED, result=text_of(result)))


def _require_deduplication(attempt: Attempt) -> None:
    if not attempt.ports.bank.deduplicates:
        raise AttemptEnded("needs_human", "the reply to the payout was lost, the bank does not de-duplicate")


def _has_own_posting(attempt: Attempt) -> bool:
    return any(step.name in LEG_OF and step.state in (INTENDED, DONE) for step in attempt.steps.values())
