"""Going on with a repair that has moved nothing yet, though it was claimed, or something of it written down.

All is asked as of a new one, an order as it was when it was given; what may not go on is closed, once nothing
that it intended can arrive any more.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.decision import Decision
from agent.facts import BankState, Facts, LegState, Status
from agent.fixers.attempt import (
    INTENDED,
    MAY_STILL_COME,
    SKIPPED,
    STILL_COMING,
    Attempt,
    AttemptEnded,
)
from agent.fixers.fixer import Fixer
from agent.fixers.limits import require_allowed, require_as_judged, require_offered, require_room
from agent.fixers.payout_number import choose_number
from agent.fixers.payout_unasked import require_never_asked
from agent.fixers.plan import LEG_OF, PAY, PAY_AGAIN, PAYOUTS, REVERSED_LEG, is_reversal
from agent.fixers.reading import (
    IN_FLIGHT,
    ROW_CHANGED,
    is_in_flight,
)
from agent.fixers.result import StepResult, result_of, text_of
from agent.fixers.reversal_unmade import legs_of, stands
from agent.fixers.world import check_world
from agent.records import EPOCH, StepRow, Trade
from agent.unpaid import NOT_YET_KNOWN, find_obstacle

ORDER_HOLDS: Final = timedelta(hours=12)
"""So long after it was written down an order is carried out; the server gives the trade to a person after a
day, and the order then has ended."""
ORDER_TOO_OLD: Final = "the order could not be carried out in time"


def begin_again(attempt: Attempt, fixers: Mapping[str, Fixer]) -> None:
    """Go on as a new repair would, or close this one: once nothing it intended can reach the ledger any more.

    Raises AttemptEnded where it cannot go on.
    """
    try:
        _require_still_good(attempt)
        if PAY_AGAIN in attempt.held.plan:
            _take_order_up_again(attempt)
        elif is_reversal(attempt.held.plan):
            attempt.end_if_cancelled()
            _take_a_place(attempt, attempt.seen[0], is_ordered=True)
        else:
            _decide_again(attempt, fixers)
    except AttemptEnded as ended:
        if ended.is_void:
            require_none_to_come(attempt)
        raise


def _require_still_good(attempt: Attempt) -> None:
    """An order that could not be carried out for so long was told as ended, or soon is: people may have
    settled the trade since. Where they order it again it stands on what they see now.

    Raises AttemptEnded where it is too old.
    """
    trade, facts = attempt.seen
    if not is_order_to_come(attempt) or facts.bank.state is BankState.SUCCESS:
        return
    for step in [each for each in attempt.steps.values() if each.moves_money and each.state == INTENDED]:
        result = result_of(step)
        if attempt.order.action is not None:
            again = msgspec.structs.replace(result, ordered_at=trade.read_at.isoformat())
            attempt.record(msgspec.structs.replace(step, result=text_of(again)))
        elif trade.read_at - _ordered_at(step, result) > ORDER_HOLDS:
            raise AttemptEnded("refused", ORDER_TOO_OLD, is_void=True)


def _ordered_at(step: StepRow, result: StepResult) -> datetime:
    """When people last ordered it; of what an older agent wrote down, when it last tried it."""
    if result.ordered_at is not None:
        return datetime.fromisoformat(result.ordered_at)
    return step.started_at or EPOCH


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
        check_world(attempt)
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


def require_as_reported(attempt: Attempt, trade: Trade) -> None:
    """Raises AttemptEnded unless production leaves the trade alone and its row is as it was reported."""
    if is_in_flight(trade, attempt.settings):
        raise AttemptEnded("wait", IN_FLIGHT)
    if trade.row_hash != attempt.order.row_hash:
        raise AttemptEnded("refused", ROW_CHANGED, is_void=True)


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


def require_none_to_come(attempt: Attempt) -> None:
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


def is_only_written_down(attempt: Attempt) -> bool:
    """Whether all that was begun is a payout that was not asked for, or a reversal of what still stands; what
    another reversed was not begun.
    """
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money and not _is_anothers(step)]
    return all(step.state == INTENDED and _is_yet_to_act(attempt, step) for step in begun)


def _is_anothers(step: StepRow) -> bool:
    return step.name in REVERSED_LEG and step.state == SKIPPED


def _is_yet_to_act(attempt: Attempt, step: StepRow) -> bool:
    result = result_of(step)
    if step.name in PAYOUTS:
        return not result.status
    return step.name in REVERSED_LEG and stands(legs_of(attempt.seen[1]), result.reverses)


def has_had_no_effect(attempt: Attempt) -> bool:
    """Whether all that was begun is a posting, and the ledger holds nothing for the trade; or a payout that
    production's table has not let anyone ask for, and no earlier holder can ask for any more.
    """
    _, facts = attempt.seen
    if is_never_asked(attempt):
        return True
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money]
    is_only_intended = all(step.state == INTENDED and step.name in LEG_OF for step in begun)
    legs = [facts.first] + ([facts.second] if facts.second else [])
    return is_only_intended and all(leg.state is LegState.NONE for leg in legs)


def is_never_asked(attempt: Attempt) -> bool:
    """Whether all that was begun is a payout that was written down, and nobody was let ask for it."""
    begun = [step for step in attempt.steps.values() if step.may_have_moved_money]
    return bool(begun) and all(is_unasked(step) for step in begun)


def is_order_to_come(attempt: Attempt) -> bool:
    """Whether what people have ordered is written down, and no more of it."""
    if is_reversal(attempt.held.plan):
        states = {step.state for step in attempt.steps.values() if step.name in REVERSED_LEG}
        return states <= {INTENDED, SKIPPED}
    return PAY_AGAIN in attempt.held.plan and is_never_asked(attempt)


def is_unasked(step: StepRow) -> bool:
    """Whether a payout was written down, and by its status nobody was let ask for it."""
    return step.name in PAYOUTS and step.state == INTENDED and not result_of(step).status
