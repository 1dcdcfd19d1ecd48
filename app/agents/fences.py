"""The fence of each Repair: given out rising, and what it tells of who may have begun one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from app.agents.models import Command
from app.keyset import ReadSession

FENCES_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
FENCE_EVERY: Final = timedelta(seconds=10)
HIGHEST_FENCE_OF_TIME: Final = 2**28 - 1
"""So far time alone raises a fence, past the year 2100: however wrong a clock, the protocol's 2^31 is far,
and a frame's id (commands.message_id_of) keeps to its 40 characters."""


def next_fences(
    session: ReadSession, group_id: int, trade_nos: Sequence[str], now: datetime
) -> dict[str, int]:
    """Return the fence of the next Repair of each trade: above every one ever given out for it.

    Production keeps the fence of an open repair; a later attempt, by another agent or the same one started
    anew, takes the repair over only with a higher one. A database restored from a backup has forgotten the
    last ones: they were given out earlier, so that the time raises the next one above them. A clock put back
    leaves them counted on.
    """
    statement = (
        select(Command.trade_no, func.max(Command.fence))
        .where(Command.group_id == group_id, Command.trade_no.in_(trade_nos), Command.type == "Repair")
        .group_by(Command.trade_no)
    )
    highest = {str(trade_no): fence for trade_no, fence in session.execute(statement)}
    least = fence_of_time(now)
    return {trade_no: max(highest.get(trade_no, 0) + 1, least) for trade_no in trade_nos}


def fence_of_time(now: datetime) -> int:
    """Return the least fence of a Repair issued now: one more every ten seconds, 1 before they began."""
    return min(max((now - FENCES_SINCE) // FENCE_EVERY, 1), HIGHEST_FENCE_OF_TIME)


def was_taken_over(session: ReadSession, command: Command) -> bool:
    """Return whether a Repair has a higher fence than it was issued with: an earlier holder may have begun.

    Where the trade's repairs before it are no longer kept, one is said to be taken over rather than not.
    """
    least = fence_of_time(command.created_at)
    if command.type != "Repair" or command.agent_id is None or command.fence <= least:
        return False
    before = session.scalar(
        select(func.max(Command.fence)).where(
            Command.group_id == command.group_id,
            Command.trade_no == command.trade_no,
            Command.type == "Repair",
            Command.seq < command.seq,
        )
    )
    return command.fence > max((before or 0) + 1, least)
