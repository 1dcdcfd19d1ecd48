"""Reversals that were written down and have taken nothing back: when that is sure, and how they end.

Left open, no other order could be given, and one told as ended would be made once the world is as it was.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

from agent.answers import Outcome
from agent.decision import decide
from agent.facts import Facts, Leg, LegFact, LegState
from agent.fixers.attempt import DONE, INTENDED, MAY_STILL_COME, SKIPPED, STILL_COMING, Attempt, AttemptEnded
from agent.fixers.plan import REVERSE_BOTH, REVERSE_FIRST, REVERSE_SECOND, REVERSED_LEG, WRITE_ROW
from agent.fixers.reading import IN_FLIGHT, ROW_CHANGED, Legs, is_in_flight
from agent.fixers.result import result_of
from agent.records import StepRow

ANOTHER_ENTRY: Final = "another entry holds the leg"
SLOTS: Final[Mapping[str, tuple[Leg, ...]]] = {
    REVERSE_FIRST: (Leg.FIRST,),
    REVERSE_SECOND: (Leg.SECOND,),
    REVERSE_BOTH: (Leg.FIRST, Leg.SECOND),
}
"""The legs that each step of a reversal frees."""


def legs_of(facts: Facts) -> Legs:
    """The ledger's word on both legs."""
    return facts.first, facts.second


def stands(legs: Iterable[LegFact | None], entry: str | None) -> bool:
    """Whether the ledger holds this very entry, whether or not it fits the row."""
    return entry is not None and any(leg is not None and leg.voucher_no == entry for leg in legs)


def is_gone(legs: Legs, step: StepRow) -> bool:
    """Whether the entry that a step was to take back was taken back: by it, its reply lost, or by another."""
    entry = result_of(step).reverses
    is_readable = all(leg is None or leg.state in (LegState.NONE, LegState.POSTED) for leg in legs)
    return is_to_come(step) and bool(entry) and is_readable and not stands(legs, entry)


def is_to_come(step: StepRow) -> bool:
    """Whether a step of a reversal was written down, and what became of it was not."""
    return step.name in REVERSED_LEG and step.state == INTENDED


def may_have_had_effect(steps: Iterable[StepRow], legs: Legs) -> bool:
    """Whether a reversal has taken an entry back, or may have, or has written the row.

    What another took back is no effect of it, nor is what was written down of an entry that stands.
    """
    return any(_may_have_acted(step, legs) for step in steps)


def _may_have_acted(step: StepRow, legs: Legs) -> bool:
    if step.name == WRITE_ROW:
        return step.state in (DONE, SKIPPED)
    if is_to_come(step):
        entry = result_of(step).reverses
        return bool(entry) and not stands(legs, entry)
    return step.name in REVERSED_LEG and step.state == DONE


def end_without_effect(attempt: Attempt, outcome: Outcome, reason: str) -> NoReturn:
    """End a reversal that has taken nothing back, and close it.

    Raises AttemptEnded: wait while an agent thought dead may yet send what it has written down, by
    production's clock.
    """
    trade = attempt.trade
    assert trade is not None, "no reversal ends here before the row is read"
    for step in attempt.steps.values():
        is_over = step.started_at is not None and trade.read_at - step.started_at >= MAY_STILL_COME
        if is_to_come(step) and not is_over:
            raise AttemptEnded("wait", STILL_COMING)
    raise AttemptEnded(outcome, reason, is_void=True)


def require_as_ordered(attempt: Attempt) -> None:
    """Nothing was taken back yet, so production must leave the trade alone and its row be as it was.

    Raises AttemptEnded: without effect where it is not, wait while production may be at work.
    """
    trade, facts = attempt.seen
    if is_in_flight(trade, attempt.settings):
        raise AttemptEnded("wait", IN_FLIGHT)
    if (trade.terms, trade.row) != (attempt.held.terms, attempt.held.before):
        is_settled = decide(facts).outcome == "consistent"
        end_without_effect(attempt, "already_consistent" if is_settled else "refused", ROW_CHANGED)
    if any(attempt.is_done(name) and leg in attempt.vouchers for name, legs in SLOTS.items() for leg in legs):
        end_without_effect(attempt, "needs_human", ANOTHER_ENTRY)


def leave_unreadable(attempt: Attempt, nonsense: str) -> NoReturn:
    """End a reversal whose row makes no sense; the ledger is asked all the same, by the trade's number.

    Raises AttemptEnded, PortError.
    """
    trade = attempt.trade
    assert trade is not None, "no row is unreadable before it is read"
    if is_in_flight(trade, attempt.settings):
        raise AttemptEnded("wait", IN_FLIGHT)
    unread = (LegFact(LegState.UNKNOWN), None)
    legs = attempt.ports.ledger.legs([trade]).get(trade.trade_no, unread)
    if LegState.UNKNOWN in (leg.state for leg in legs if leg is not None):
        raise AttemptEnded("wait", "ledger")
    if may_have_had_effect(attempt.steps.values(), legs):
        raise AttemptEnded("needs_human", nonsense)
    end_without_effect(attempt, "needs_human", nonsense)
