"""What the bank's answers mean for a payout: only an explicit failure that has settled is one.

A failure that may still turn into success is waited for, its step open.
"""

from typing import Final, NoReturn

import msgspec

from agent.facts import BankFact, BankState, RequestFact
from agent.fixers.attempt import DONE, FAILED, INTENDED, Attempt, AttemptEnded
from agent.fixers.plan import LEG_OF, PAY_AGAIN
from agent.fixers.result import StepResult, result_of, text_of
from agent.records import PayoutReply, StepRow

OWN_DEBIT_UNPAID: Final = "debited, payout failed"
CONFLICT: Final = "conflict"
HELD_OTHERWISE: Final = "the bank holds the number with another amount or payee"


def take_reply(attempt: Attempt, step: StepRow, reply: PayoutReply) -> None:
    """A success or an acceptance is taken at its word; a failure is asked about: it may not have settled.

    So is a success that does not say of how much and to whom, before anything is posted on it.
    """
    if reply.status == "accepted" or (reply.status == "success" and reply.is_whole):
        _settle(attempt, step, reply.status, reply.code)
        return
    if reply.status == "unknown":
        require_deduplication(attempt)
    settle_by_inquiry(attempt, step, inquire(attempt, step))
    if attempt.is_done(step.name):
        return
    if reply.status == "failed":
        _wait_for_failure_to_settle(attempt, step, reply.code)
    if reply.status == "success":
        raise AttemptEnded("wait", "bank")
    raise AttemptEnded("unknown", "the reply to the payout was lost")


def inquire(attempt: Attempt, step: StepRow) -> RequestFact | None:
    """What the bank says of the step's number now. Raises PortError."""
    trade, _ = attempt.seen
    requests = attempt.ports.trades.bank_requests([trade.trade_no])
    bank = attempt.ports.bank.facts([trade], requests).get(trade.trade_no)
    return find_request(bank, result_of(step).request_no)


def find_request(bank: BankFact | None, request_no: str | None) -> RequestFact | None:
    """What the bank says of one number, None where it names none such."""
    return next((each for each in (bank.requests if bank else ()) if each.request_no == request_no), None)


def settle_by_inquiry(attempt: Attempt, step: StepRow, found: RequestFact | None) -> None:
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
        raise end_unpaid(attempt, step)
    _keep_open(attempt, step, result)
    raise AttemptEnded("wait", "the bank has accepted the payout and not yet finished it")


def _wait_for_failure_to_settle(attempt: Attempt, step: StepRow, code: str | None) -> NoReturn:
    """The step stays open: another number now, and a late success under this one, would pay twice."""
    _keep_open(attempt, step, StepResult(request_no=result_of(step).request_no, status="failed", code=code))
    raise AttemptEnded("wait", f"bank: payout failed: {code}")


def _keep_open(attempt: Attempt, step: StepRow, result: StepResult) -> None:
    """Write down what the bank has said so far of a payout it has not finished."""
    if result_of(step) != result:
        attempt.record(msgspec.structs.replace(step, state=INTENDED, result=text_of(result)))


def require_deduplication(attempt: Attempt) -> None:
    """Raises AttemptEnded(needs_human) at a bank that would pay twice what is asked for twice."""
    if not attempt.ports.bank.deduplicates:
        raise AttemptEnded("needs_human", "the reply to the payout was lost, the bank does not de-duplicate")


def end_of_failed(step: StepRow) -> AttemptEnded:
    """Return how an attempt ends whose payout has failed for good, where it has not debited the customer."""
    result = result_of(step)
    if result.status == CONFLICT:
        return AttemptEnded("needs_human", HELD_OTHERWISE, is_void=True)
    if step.name == PAY_AGAIN:
        # One order, one number: another one takes another order. Nothing of this one can still pay.
        return AttemptEnded("needs_human", OWN_DEBIT_UNPAID, is_void=True)
    return AttemptEnded("failed", f"payout failed: {result.code}", is_void=True)


def end_unpaid(attempt: Attempt, failed: StepRow) -> AttemptEnded:
    """Return how an attempt ends whose payout has failed for good."""
    if failed.name != PAY_AGAIN and has_own_posting(attempt):
        reason = HELD_OTHERWISE if result_of(failed).status == CONFLICT else OWN_DEBIT_UNPAID
        return AttemptEnded("needs_human", reason)
    return end_of_failed(failed)


def has_own_posting(attempt: Attempt) -> bool:
    """Whether this repair has debited or credited the customer, or may have."""
    return any(step.name in LEG_OF and step.state in (INTENDED, DONE) for step in attempt.steps.values())
