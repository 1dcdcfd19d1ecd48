"""The world around a repair half done: row, ledger and bank must be as it left them, or people look at it."""

from typing import Final

from agent.decision import decide
from agent.facts import BankState, Facts, LegState
from agent.fixers.attempt import (
    INTENDED,
    Attempt,
    AttemptEnded,
)
from agent.fixers.plan import PAYOUTS
from agent.fixers.reading import (
    ROW_CHANGED_AFTER_MONEY,
)
from agent.fixers.result import result_of
from agent.fixers.row import is_as_wanted
from agent.fixers.steps import missing_legs
from agent.records import StepRow

REVERSED: Final = "an entry of this repair was reversed"


def check_world(attempt: Attempt) -> None:
    """Money has begun to move: the world must still be the one this repair left, or a person looks at it."""
    trade, facts = attempt.seen
    if trade.terms != attempt.held.terms:
        raise AttemptEnded("needs_human", ROW_CHANGED_AFTER_MONEY)
    legs = [facts.first.state] + ([facts.second.state] if facts.second else [])
    if LegState.MISMATCH in legs or facts.bank.state is BankState.MISMATCH:
        raise AttemptEnded("needs_human", decide(facts).reason)
    if LegState.UNKNOWN in legs:
        raise AttemptEnded("wait", "ledger")
    if missing_legs(attempt):
        # Negatives older than a payout whose reply was lost prove nothing: it may still arrive.
        is_in_doubt = any(
            is_open_payout(step) and not _has_failed(step, facts) for step in attempt.steps.values()
        )
        is_undone = decide(facts).outcome == "consistent" and not is_in_doubt
        raise AttemptEnded("already_consistent" if is_undone else "needs_human", REVERSED, is_void=is_undone)
    if trade.row != attempt.held.before and not is_as_wanted(attempt, trade.row):
        raise AttemptEnded("needs_human", ROW_CHANGED_AFTER_MONEY)
    _check_bank(attempt, facts)


def _check_bank(attempt: Attempt, facts: Facts) -> None:
    """Where no payout of ours is still to come, success rests on the bank's own word."""
    is_payout_due = any(name in attempt.held.plan and not attempt.is_done(name) for name in PAYOUTS)
    if is_payout_due or facts.bank.state is BankState.SUCCESS:
        return
    if facts.bank.state is BankState.UNKNOWN:
        raise AttemptEnded("wait", "bank")
    raise AttemptEnded("needs_human", "the bank no longer has the money where it had")


def is_open_payout(step: StepRow) -> bool:
    return step.name in PAYOUTS and step.state == INTENDED


def _has_failed(step: StepRow, facts: Facts) -> bool:
    """Whether the bank has failed a payout's number for good, though its step does not say so yet."""
    request_no = result_of(step).request_no
    return any(
        each.request_no == request_no and (each.status, each.verdict) == ("failed", BankState.FAIL)
        for each in facts.bank.requests
    )
