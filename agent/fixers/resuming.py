"""Going on with a repair half done: its plan and its keys stay, the world around it is looked at first."""

from collections.abc import Mapping

import msgspec

from agent.facts import BankState
from agent.fixers.attempt import (
    Attempt,
    AttemptEnded,
)
from agent.fixers.claiming import OVERTAKEN
from agent.fixers.fixer import Fixer
from agent.fixers.half_done import is_half_done
from agent.fixers.limits import require_offered
from agent.fixers.nonsense import find_nonsense
from agent.fixers.payout_unasked import close_unasked
from agent.fixers.plan import WRITE_ROW, is_reversal
from agent.fixers.reading import (
    find_the_row,
    read_facts,
)
from agent.fixers.reversal_unmade import leave_unreadable
from agent.fixers.reversing import check_reversal
from agent.fixers.unmoved import (
    begin_again,
    has_had_no_effect,
    is_only_written_down,
    is_order_to_come,
    is_unasked,
    require_none_to_come,
)
from agent.fixers.world import check_world
from agent.records import RepairRow, Trade


def resume(attempt: Attempt, standing: RepairRow, fixers: Mapping[str, Fixer]) -> None:
    """Take over a repair half done, with its plan and its keys. Raises AttemptEnded where it cannot go on."""
    order = attempt.order
    claim = msgspec.structs.replace(
        standing, fence=order.fence, agent=order.agent, boot_id=order.boot_id, steps=()
    )
    claimed = attempt.ports.trades.claim_repair(claim, attempt.order.over(standing))
    attempt.hold(claimed)
    if claimed.round != standing.round:
        raise AttemptEnded("refused", OVERTAKEN, is_void=not is_half_done(claimed))
    trade = _find_row(attempt)
    attempt.see(trade)
    nonsense = find_nonsense(trade, attempt.settings)
    if nonsense and is_reversal(attempt.held.plan):
        leave_unreadable(attempt, nonsense)
    if nonsense:
        raise AttemptEnded("wait" if is_order_to_come(attempt) else "needs_human", nonsense)
    attempt.know(read_facts(trade, attempt.ports))
    if attempt.is_done(WRITE_ROW):
        return
    if is_only_written_down(attempt):
        _require_still_offered(attempt, fixers)
    if is_reversal(attempt.held.plan):
        check_reversal(attempt)
        if is_only_written_down(attempt):
            begin_again(attempt, fixers)
    elif has_had_no_effect(attempt):
        begin_again(attempt, fixers)
    else:
        _check_world_behind_money(attempt)


def _find_row(attempt: Attempt) -> Trade:
    """An order told as ended may not be carried out after that; one that waits may, once the row is right.

    Raises AttemptEnded, PortError.
    """
    try:
        return find_the_row(attempt.order.trade_no, attempt.ports)
    except AttemptEnded as ended:
        raise AttemptEnded("wait" if is_order_to_come(attempt) else ended.outcome, ended.reason) from ended


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
        require_none_to_come(attempt)
        raise AttemptEnded(ended.outcome, ended.reason, is_void=True) from ended


def _check_world_behind_money(attempt: Attempt) -> None:
    """Where people must look at the world, a payout that was never asked for is closed: left open, no order
    could be given past it, and it would be paid behind their backs once the world is as it was.

    Raises AttemptEnded as ``check_world``; wait while the bank may yet have been asked.
    """
    try:
        check_world(attempt)
    except AttemptEnded as ended:
        unasked = [step for step in attempt.steps.values() if is_unasked(step)]
        if ended.outcome != "needs_human" or not unasked:
            raise
        require_none_to_come(attempt)
        for step in unasked:
            close_unasked(attempt, step, ended.reason)
        check_world(attempt)  # nothing is in doubt any more: what was undone by hand may be over now
        raise
