"""Making a trade ours in production's table, for a repair that begins anew."""

from typing import Final

from agent.errors import RowChangedError, StoodStillError
from agent.facts import Status
from agent.fixers.attempt import ABANDONED, OPEN, STOOD_STILL, Attempt, AttemptEnded
from agent.fixers.half_done import is_half_done
from agent.fixers.reading import ROW_CHANGED
from agent.records import RepairRow, Trade
from agent.standstill import FACTS_HOLD, require_within

OVERTAKEN: Final = "another repair of this trade came between"


def claim_of(attempt: Attempt, trade: Trade, plan: tuple[str, ...], target: Status) -> RepairRow:
    """Return the claim of a new repair of the row as read."""
    order = attempt.order
    return RepairRow(
        trade_no=order.trade_no,
        round=1,
        state=OPEN,
        fence=order.fence,
        fixer_code=order.fixer_code,
        target=target,
        plan=plan,
        before=trade.row,
        terms=trade.terms,
        agent=order.agent,
        boot_id=order.boot_id,
    )


def claim(attempt: Attempt, wanted: RepairRow, standing: RepairRow | None) -> None:
    """Make the trade ours in production's table, in a round that is clean.

    The facts were read before the claim. They are still good when no other repair of the trade was begun in
    between; one that was, shows in the round or in its steps. The row is compared under the claim: people,
    too, may have edited what is to be posted.
    """
    expected = 1 if standing is None else standing.round + (standing.state != OPEN)
    trade, _ = attempt.seen
    claimed = _claimed(attempt, wanted, attempt.order.over(standing))
    attempt.hold(claimed)
    if is_half_done(claimed) or claimed.round != expected:
        is_void = not is_half_done(claimed)
        raise AttemptEnded("refused", OVERTAKEN, is_void=is_void)
    if claimed.steps or not _is_same_repair(claimed, wanted):
        attempt.ports.trades.close_repair(claimed, ABANDONED)
        attempt.hold(_claimed(attempt, wanted))
        if attempt.steps or not _is_same_repair(attempt.held, wanted):
            raise AttemptEnded("refused", OVERTAKEN)
    _require_awake_since(attempt, trade)


def _claimed(attempt: Attempt, wanted: RepairRow, over: str | None = None) -> RepairRow:
    trade, _ = attempt.seen
    try:
        return attempt.ports.trades.claim_repair(wanted, over, trade)
    except RowChangedError as error:
        raise AttemptEnded("refused", ROW_CHANGED, is_void=True) from error


def _require_awake_since(attempt: Attempt, trade: Trade) -> None:
    """Raises AttemptEnded(unknown) where the trade was claimed long after it was read: looking afresh behind
    the claim tells nothing of having been given up before it.
    """
    try:
        require_within(FACTS_HOLD, trade.read_at, attempt.held.held_at)
    except StoodStillError as error:
        raise AttemptEnded("unknown", STOOD_STILL) from error


def _is_same_repair(claimed: RepairRow, wanted: RepairRow) -> bool:
    return (claimed.plan, claimed.target, claimed.before, claimed.terms) == (
        wanted.plan,
        wanted.target,
        wanted.before,
        wanted.terms,
    )
