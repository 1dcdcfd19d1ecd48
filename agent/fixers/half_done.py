"""Judging a repair half done from outside: what it calls for, how it has ended. Nothing is claimed."""

from typing import Literal

from agent.decision import decide
from agent.facts import BankState, Facts
from agent.fixers.attempt import (
    DONE,
    FAILED,
    OPEN,
    UNPAID,
    AttemptEnded,
)
from agent.fixers.order import RepairOrder
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID, end_of_failed
from agent.fixers.plan import LEG_OF, PAY_AGAIN, PAYOUTS, REVERSED_LEG, WRITE_ROW, is_reversal
from agent.fixers.result import result_of
from agent.fixers.reversing import judge_reversal
from agent.fixers.world import is_open_payout
from agent.records import RepairRow


def is_half_done(repair: RepairRow) -> bool:
    """Whether a repair must be resumed: it is open and has begun to move money, or has written the row."""
    has_written = any(step.name == WRITE_ROW and step.state == "done" for step in repair.steps)
    return repair.state == OPEN and (repair.money_moved or has_written)


def has_debited_before(standing: RepairRow, order: RepairOrder) -> bool:
    """Whether people order, or have ordered, of a trade that Piculus has debited and not paid: whatever
    becomes of the order, that debit stands, though of an earlier round.
    """
    if order.action is None and PAY_AGAIN not in standing.plan and not is_reversal(standing.plan):
        return False
    done = {step.name for step in (*standing.earlier, *standing.steps) if step.state == DONE}
    posted = {LEG_OF[name] for name in done & LEG_OF.keys()}
    taken_back = {REVERSED_LEG[name] for name in done & REVERSED_LEG.keys()}
    return bool(posted - taken_back) and done.isdisjoint(PAYOUTS)


def judge_half_done(
    standing: RepairRow, facts: Facts
) -> tuple[Literal["resume", "wait", "human", "consistent"], str]:
    """Say what a repair half done calls for: going on, unless its payout has finally failed.

    While the bank has the payout and has not finished it, another attempt could do nothing.
    """
    if is_reversal(standing.plan):
        return judge_reversal(standing, facts)
    if _is_with_the_bank(standing, facts):
        return "wait", "bank"
    is_unpaid = any(step.name in PAYOUTS and step.state == FAILED for step in standing.steps)
    if not is_unpaid or facts.bank.state is BankState.SUCCESS:
        return "resume", "resume"
    if decide(facts).outcome == "consistent":
        return "consistent", ""
    return "human", OWN_DEBIT_UNPAID


def find_own_failure(standing: RepairRow, order: RepairOrder) -> AttemptEnded | None:
    """Return how this very order has ended, where a payout of its own has failed and it died before it could
    say so; None where it has not. One order pays under one number: what failed is told, and nothing begun.

    The round's fence is the order's. What an ordered repair found in the round that it takes the place of is
    not its own.
    """
    if standing.fence != order.fence or standing.state == UNPAID or is_half_done(standing):
        return None
    own = {None: PAYOUTS, "pay_again": (PAY_AGAIN,), "reverse": ()}[order.action]
    asked = (step for step in standing.steps if step.name in own and step.state == FAILED)
    failed = next((step for step in asked if result_of(step).status), None)
    return end_of_failed(failed) if failed is not None else None


def _is_with_the_bank(standing: RepairRow, facts: Facts) -> bool:
    """Whether our payout is not finished, or may not be asked again while another may have been paid."""
    asked = [result_of(step).request_no for step in standing.steps if is_open_payout(step)]
    if not asked or facts.bank.state is not BankState.UNKNOWN:
        return False
    return any(
        each.verdict is BankState.UNKNOWN and each.status != "not_found"
        if each.request_no in asked
        else each.verdict is not BankState.FAIL
        for each in facts.bank.requests
    )
