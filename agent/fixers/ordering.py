"""Beginning what a person has ordered of a trade debited and finally unpaid: pay again, or reverse.

An order stands on exactly the facts that people saw; they are read before the claim and once more under it.
It begins a round of its own. The one row a trade has in production's table keeps the two actions apart: while
a round has begun to pay again or to reverse and has not ended, no other can begin.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from agent.facts import Status
from agent.fixers.attempt import FAILED, UNPAID, Attempt, AttemptEnded
from agent.fixers.claiming import OVERTAKEN, claim, claim_of
from agent.fixers.fixer import Fixer
from agent.fixers.half_done import is_half_done
from agent.fixers.limits import require_allowed, require_offered, require_room
from agent.fixers.lost_lines import require_no_lost_line
from agent.fixers.nonsense import find_nonsense
from agent.fixers.payout_number import choose_number
from agent.fixers.plan import FINISH, PAY, PAY_AGAIN, is_reversal, settle, take_back
from agent.fixers.reading import ROW_CHANGED_AFTER_MONEY, find_the_row, read_facts
from agent.fixers.resuming import resume
from agent.fixers.unmoved import require_as_reported
from agent.records import RepairRow, Trade
from agent.unpaid import NOT_YET_KNOWN, Action, digest_of, find_obstacle

FACTS_CHANGED: Final = "the facts have changed since the order was given"
GOES_ON: Final = "a repair half done goes on by itself"
PAYING_AGAIN: Final = "paying again has begun and has not finally failed"
REVERSING: Final = "a reversal has begun"


def begin_ordered(
    attempt: Attempt, action: Action, standing: RepairRow | None, fixers: Mapping[str, Fixer]
) -> None:
    """Read, judge and claim, or go on with the same action half done.

    Raises AttemptEnded: the order then had no effect.
    """
    if standing is not None and is_half_done(standing):
        if _action_of(standing.plan) == action:
            resume(attempt, standing, fixers)
            return
        attempt.has_moved_money_before = standing.money_moved
        _require_finally_unpaid(standing)
    require_offered(fixers, attempt.order.fixer_code)
    trade, plan = _look(attempt, action, standing)
    require_allowed(attempt, trade)
    attempt.stop_if_cancelled()
    if standing is not None and is_half_done(standing):
        standing = _end_unpaid(attempt, standing)
    target = Status.FAILED if action == "reverse" else Status.SUCCESS
    claim(attempt, claim_of(attempt, trade, plan, target), standing)
    _look_under_claim(attempt, action, plan)
    require_room(attempt, trade)


def _action_of(plan: tuple[str, ...]) -> Action | None:
    if is_reversal(plan):
        return "reverse"
    return "pay_again" if PAY_AGAIN in plan else None


def _require_finally_unpaid(standing: RepairRow) -> None:
    """Raises AttemptEnded unless the repair half done ended with a payout that has finally failed.

    One that has begun to write the row is none: it has paid before, and a payout that is done stays done.
    """
    if is_reversal(standing.plan):
        raise AttemptEnded("refused", REVERSING)
    if PAY_AGAIN in standing.plan:
        raise AttemptEnded("refused", PAYING_AGAIN)
    payouts = [step for step in standing.steps if step.name == PAY]
    if not payouts or any(step.state != FAILED for step in payouts):
        raise AttemptEnded("refused", GOES_ON)


def _look(attempt: Attempt, action: Action, standing: RepairRow | None) -> tuple[Trade, tuple[str, ...]]:
    """Read the trade and return it with the steps of the action. Raises AttemptEnded, PortError."""
    trade = find_the_row(attempt.order.trade_no, attempt.ports)
    attempt.see(trade)
    nonsense = find_nonsense(trade, attempt.settings)
    if nonsense:
        raise AttemptEnded("needs_human", nonsense)
    require_as_reported(attempt, trade)
    if standing is not None and is_half_done(standing) and trade.terms != standing.terms:
        raise AttemptEnded("needs_human", ROW_CHANGED_AFTER_MONEY)
    attempt.know(read_facts(trade, attempt.ports))
    return trade, _steps_of(attempt, action)


def _steps_of(attempt: Attempt, action: Action) -> tuple[str, ...]:
    _, facts = attempt.seen
    obstacle = find_obstacle(facts, action)
    if obstacle in NOT_YET_KNOWN:
        raise AttemptEnded("wait", obstacle)
    if obstacle is not None:
        raise AttemptEnded("refused", f"the facts do not allow it: {obstacle}")
    if digest_of(facts) != attempt.order.facts_hash:
        raise AttemptEnded("refused", FACTS_CHANGED)
    if action == "reverse":
        require_no_lost_line(attempt)
        return (*take_back(facts), *FINISH)
    choose_number(attempt.order.trade_no, facts.bank, deduplicates=attempt.ports.bank.deduplicates)
    return (PAY_AGAIN, *settle(facts), *FINISH)


def _end_unpaid(attempt: Attempt, standing: RepairRow) -> RepairRow:
    """Take over the repair that ended unpaid and close it; return it as it then stands.

    Should the agent die before the next claim, nothing is lost: the table gives such a trade to a person.
    """
    order = attempt.order
    ours = msgspec.structs.replace(
        standing, fence=order.fence, agent=order.agent, boot_id=order.boot_id, steps=()
    )
    held = attempt.ports.trades.claim_repair(ours, attempt.order.over(standing))
    if held.round != standing.round or held.plan != standing.plan:
        raise AttemptEnded("refused", OVERTAKEN)
    _require_finally_unpaid(held)
    attempt.ports.trades.close_repair(held, UNPAID)
    return msgspec.structs.replace(held, state=UNPAID)


def _look_under_claim(attempt: Attempt, action: Action, plan: tuple[str, ...]) -> None:
    """What was read before the claim may be old by now. Raises AttemptEnded: the claim is then closed."""
    try:
        _, again = _look(attempt, action, None)
    except AttemptEnded as ended:
        raise AttemptEnded(ended.outcome, ended.reason, is_void=True) from ended
    if again != plan:
        raise AttemptEnded("refused", FACTS_CHANGED, is_void=True)
