"""Going on with a repair half done: its plan and its keys stay, the world around it is looked at first."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from agent.decision import Decision, decide
from agent.facts import BankState, Facts, LegState, Status
from agent.fixers.attempt import (
    FAILED,
    INTENDED,
    MAY_STILL_COME,
    STILL_COMING,
    UNPAID,
    Attempt,
    AttemptEnded,
    is_half_done,
)
from agent.fixers.claiming import OVERTAKEN
from agent.fixers.fixer import Fixer
from agent.fixers.limits import require_allowed, require_as_judged, require_offered, require_room
from agent.fixers.nonsense import find_nonsense
from agent.fixers.order import RepairOrder
from agent.fixers.payout_answer import OWN_DEBIT_UNPAID, end_of_failed
from agent.fixers.payout_number import choose_number
from agent.fixers.payout_unasked import close_unasked, require_never_asked
from agent.fixers.plan import LEG_OF, PAY, PAY_AGAIN, PAYOUTS, REVERSED_LEG, WRITE_ROW, is_reversal
from agent.fixers.reading import (
    IN_FLIGHT,
    ROW_CHANGED,
    ROW_CHANGED_AFTER_MONEY,
    find_the_row,
    is_in_flight,
    read_facts,
)
from agent.fixers.result import result_of
from agent.fixers.reversal_unmade import leave_unreadable, legs_of, stands
from agent.fixers.reversing import check_reversal, judge_reversal
from agent.fixers.steps import is_as_wanted, missing_legs
from agent.records import RepairRow, StepRow, Trade
from agent.unpaid import NOT_YET_KNOWN, find_obstacle

REVERSED: Final = "an entry of this repair was reversed"


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
    asked = [result_of(step).request_no for step in standing.steps if _is_open_payout(step)]
    if not asked or facts.bank.state is not BankState.UNKNOWN:
        return False
    return any(
        each.verdict is BankState.UNKNOWN and each.status != "not_found"
        if each.request_no in asked
        else each.verdict is not BankState.FAIL
        for each in facts.bank.requests
    )


def _is_open_payout(step: StepRow) -> bool:
    return step.name in PAYOUTS and step.state == INTENDED


def _has_failed(step: StepRow, facts: Facts) -> bool:
    """Whether the bank has failed a payout's number for good, though its step does not say so yet."""
    request_no = result_of(step).request_no
    return any(
        each.request_no == request_no and (each.status, each.verdict) == ("failed", BankState.FAIL)
        for each in facts.bank.requests
    )


def target_of(decision: Decision, fixer_code: str) -> Status:
    """Return the status the row shall have. Raises AttemptEnded unless it is this fixer's to repair."""
    if decision.outcome == "consistent":
        raise AttemptEnded("already_consistent", "", is_void=True)
    if decision.outcome == "wait":
        raise AttemptEnded("wait", decision.reason)
    if decision.outcome == "human" or decision.target is None:
        raise AttemptEnded("needs_human", decision.reason, is_void=True)
    if decision.fixer_code != fixer_code:
        raise AttemptEnded("refused", f"the facts call for {decision.fixer_code}", is_void=True)
    return decision.target


def resume(attempt: Attempt, standing: RepairRow, fixers: Mapping[str, Fixer]) -> None:
    """Take over a repair half done, with its plan and its keys. Raises AttemptEnded where it cannot go on."""
    order = attempt.order
    claim = msgspec.structs.replace(
        standing, fence=order.fence, agent=order.agent, boot_id=order.boot_id, steps=()
    )
    claimed = attempt.ports.trades.claim_repair(claim, attempt.order.over(standing))
    attempt.hold(claimed)
    if claimed.round != standing.round:
        raise AttemptEnded("refused", OVERTAKEN, is_void=True)
    trade = find_the_row(order.trade_no, attempt.ports)
    attempt.see(trade)
    nonsense = find_nonsense(trade, attempt.settings)
    if nonsense and is_reversal(attempt.held.plan):
        leave_unreadable(attempt, nonsense)
    if nonsense:
        # An order told as ended may not be carried out after that; one that waits may, once the row is right.
        is_order_to_come = PAY_AGAIN in attempt.held.plan and _is_never_asked(attempt)
        raise AttemptEnded("wait" if is_order_to_come else "needs_human", nonsense)
    attempt.know(read_facts(trade, attempt.ports))
    if attempt.is_done(WRITE_ROW):
        return
    if _is_only_written_down(attempt):
        _require_still_offered(attempt, fixers)
    if is_reversal(attempt.held.plan):
        check_reversal(attempt)
        if _is_only_written_down(attempt):
            _begin_again(attempt, fixers)
    elif _has_had_no_effect(attempt):
        _begin_again(attempt, fixers)
    else:
        _check_world_behind_money(attempt)


def _require_still_offered(attempt: Attempt, fixers: Mapping[str, Fixer]) -> None:
    """What is refused is told as ended, an order too: nothing of it may be carried out after that.

    Raises AttemptEnded where the fixer is not offered: wait while what is written down may still arrive, for
    another agent to go on with; refused once it surely does not, and then it is closed.
    """
    try:
        require_offered(fixers, attempt.held.fixer_code)
    except AttemptEnded as ended:
        _, facts = attempt.seen
        if facts.bank.state is BankState.UNKNOWN:
            raise AttemptEnded("wait", "bank") from ended
        _require_none_to_come(attempt)
        raise AttemptEnded(ended.outcome, ended.reason, is_void=True) from ended


def _is_only_written_down(attempt: Attempt) -> bool:
    """Whether all that was begun is a payout that was not asked for, or a reversal of what still stands."""
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money]
    return all(step.state == INTENDED and _is_yet_to_act(attempt, step) for step in begun)


def _is_yet_to_act(attempt: Attempt, step: StepRow) -> bool:
    result = result_of(step)
    if step.name in PAYOUTS:
        return not result.status
    return step.name in REVERSED_LEG and stands(legs_of(attempt.seen[1]), result.reverses)


def _has_had_no_effect(attempt: Attempt) -> bool:
    """Whether all that was begun is a posting, and the ledger holds nothing for the trade; or a payout that
    production's table has not let anyone ask for, and no earlier holder can ask for any more.
    """
    _, facts = attempt.seen
    if _is_never_asked(attempt):
        return True
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money]
    is_only_intended = all(step.state == INTENDED and step.name in LEG_OF for step in begun)
    legs = [facts.first] + ([facts.second] if facts.second else [])
    return is_only_intended and all(leg.state is LegState.NONE for leg in legs)


def _is_never_asked(attempt: Attempt) -> bool:
    """Whether all that was begun is a payout that was written down, and nobody was let ask for it."""
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money]
    return bool(begun) and all(_is_unasked(step) for step in begun)


def _is_unasked(step: StepRow) -> bool:
    """Whether a payout was written down, and by its status nobody was let ask for it."""
    return step.name in PAYOUTS and step.state == INTENDED and not result_of(step).status


def require_as_reported(attempt: Attempt, trade: Trade) -> None:
    """Raises AttemptEnded unless production leaves the trade alone and its row is as it was reported."""
    if is_in_flight(trade, attempt.settings):
        raise AttemptEnded("wait", IN_FLIGHT)
    if trade.row_hash != attempt.order.row_hash:
        raise AttemptEnded("refused", ROW_CHANGED, is_void=True)


def _begin_again(attempt: Attempt, fixers: Mapping[str, Fixer]) -> None:
    """Go on as a new repair would, or close this one: once nothing it intended can reach the ledger any more.

    Raises AttemptEnded where it cannot go on.
    """
    try:
        if PAY_AGAIN in attempt.held.plan:
            _take_order_up_again(attempt)
        elif is_reversal(attempt.held.plan):
            attempt.end_if_cancelled()
            _take_a_place(attempt, attempt.seen[0], is_ordered=True)
        else:
            _decide_again(attempt, fixers)
    except AttemptEnded as ended:
        if ended.is_void:
            _require_none_to_come(attempt)
        raise


def _require_none_to_come(attempt: Attempt) -> None:
    """Raises AttemptEnded while an agent thought dead may yet send what it has written down, by production's
    clock; and where the bank knows a payout though production's table says that nobody asked for it.
    """
    trade, facts = attempt.seen
    for step in attempt.steps.values():
        if not step.moves_money or step.state != INTENDED:
            continue
        if step.started_at is None or trade.read_at - step.started_at < MAY_STILL_COME:
            raise AttemptEnded("wait", "bank" if step.name in PAYOUTS else STILL_COMING)
        if step.name in PAYOUTS and result_of(step).request_no not in _numbers_of(facts):
            require_never_asked(attempt, step)


def _numbers_of(facts: Facts) -> set[str | None]:
    """The numbers whose lines production's table holds."""
    return {each.request_no for each in facts.bank.requests}


def _decide_again(attempt: Attempt, fixers: Mapping[str, Fixer]) -> None:
    """Nothing happened yet, so all is asked as for a new repair; the facts must call for the same one."""
    claimed, (trade, facts) = attempt.held, attempt.seen
    attempt.end_if_cancelled()
    require_as_reported(attempt, trade)
    require_as_judged(attempt, trade)
    if (trade.row, trade.terms) != (claimed.before, claimed.terms):
        raise AttemptEnded("refused", ROW_CHANGED, is_void=True)
    fixer = require_offered(fixers, claimed.fixer_code)
    target = target_of(fixer.diagnose(facts), claimed.fixer_code)
    if (target, fixer.steps(facts)) != (claimed.target, claimed.plan):
        raise AttemptEnded("refused", "the facts call for other steps", is_void=True)
    if PAY in claimed.plan:
        _require_number(attempt)
    _take_a_place(attempt, trade)


def _take_order_up_again(attempt: Attempt) -> None:
    """What people have ordered stands, whoever goes on with it, and the world it was ordered in is looked at.
    Of a payout that is yet to be asked for all is asked as when it was ordered.

    Raises AttemptEnded where it cannot go on.
    """
    trade, facts = attempt.seen
    try:
        _check_world(attempt)
    except AttemptEnded as ended:
        is_over = ended.is_void or ended.outcome == "needs_human"
        raise AttemptEnded(ended.outcome, ended.reason, is_void=is_over) from ended
    if facts.bank.state is BankState.SUCCESS:
        return  # no money is left to move, but what it did is to be written down
    if is_in_flight(trade, attempt.settings):
        raise AttemptEnded("wait", IN_FLIGHT)
    if trade.row != attempt.held.before:
        raise AttemptEnded("refused", ROW_CHANGED, is_void=True)
    obstacle = find_obstacle(facts, "pay_again")
    if obstacle in NOT_YET_KNOWN:
        raise AttemptEnded("wait", obstacle)
    if obstacle is not None:
        raise AttemptEnded("refused", f"the facts do not allow it: {obstacle}", is_void=True)
    attempt.end_if_cancelled()
    _take_a_place(attempt, trade, is_ordered=True)


def _take_a_place(attempt: Attempt, trade: Trade, *, is_ordered: bool = False) -> None:
    """The money is yet to move, so it counts in this hour and this day, whenever the repair was claimed.

    Raises AttemptEnded where this agent may not begin it, or not yet. The limits are asked before it counts,
    too: of repairs that wait for one place none is to keep the others out.
    """
    try:
        require_allowed(attempt, trade, is_ordered=is_ordered)
    except AttemptEnded as ended:
        raise AttemptEnded(ended.outcome, ended.reason, is_void=True) from ended
    attempt.ports.trades.renew_repair(attempt.held)
    require_room(attempt, trade)
    attempt.end_if_cancelled()


def _require_number(attempt: Attempt) -> None:
    """Raises AttemptEnded unless there is a number to pay under; without one the repair ends as it began."""
    _, facts = attempt.seen
    try:
        choose_number(attempt.order.trade_no, facts.bank, deduplicates=attempt.ports.bank.deduplicates)
    except AttemptEnded as ended:
        raise AttemptEnded(ended.outcome, ended.reason, is_void=True) from ended


def _check_world_behind_money(attempt: Attempt) -> None:
    """Where people must look at the world, a payout that was never asked for is closed: left open, no order
    could be given past it, and it would be paid behind their backs once the world is as it was.

    Raises AttemptEnded as ``_check_world``; wait while the bank may yet have been asked.
    """
    try:
        _check_world(attempt)
    except AttemptEnded as ended:
        unasked = [step for step in attempt.steps.values() if _is_unasked(step)]
        if ended.outcome != "needs_human" or not unasked:
            raise
        _require_none_to_come(attempt)
        for step in unasked:
            close_unasked(attempt, step, ended.reason)
        _check_world(attempt)  # nothing is in doubt any more: what was undone by hand may be over now
        raise


def _check_world(attempt: Attempt) -> None:
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
            _is_open_payout(step) and not _has_failed(step, facts) for step in attempt.steps.values()
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
