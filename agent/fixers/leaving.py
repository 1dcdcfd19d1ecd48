"""Leaving a repair of an earlier start as it stands: how far it came is told, and nothing is done."""

from agent.fixers.attempt import ABANDONED, OPEN, Attempt
from agent.fixers.half_done import find_own_failure, is_half_done
from agent.fixers.order import RepairOrder, RepairReport, RepairSettings
from agent.ports import Ports
from agent.records import RepairRow, StepRow

NOT_RESUMED = "not resumed"


def leave(order: RepairOrder, ports: Ports, settings: RepairSettings, reason: str) -> RepairReport:
    """Say what production's own table holds of the repair; only that table is read. Raises PortError.

    ``cancelled`` where this order has begun nothing, ``unknown`` with its steps where it has, ``refused``
    where a newer one has taken over and tells of all. One whose payout has failed, which it died before it
    could say, ends as it then would have.
    """
    attempt = Attempt(order, ports, settings, _tell_nobody, _Over())
    standing = ports.trades.find_repair(order.trade_no)
    if standing is None:
        return attempt.report("cancelled", reason)
    if standing.fence > order.fence:
        return attempt.report("refused", "fenced")
    if (ended := find_own_failure(standing, order)) is not None:
        attempt.recall(standing)
        return attempt.report(ended.outcome, ended.reason)
    if not (is_half_done(standing) or _has_ended(standing, order)):
        return attempt.report("cancelled", reason)
    attempt.recall(standing)
    return attempt.report("unknown", f"{NOT_RESUMED}: {reason}")


def _has_ended(standing: RepairRow, order: RepairOrder) -> bool:
    """Whether this very order was carried out to an end that had effects, and died before it could say so."""
    return standing.fence == order.fence and standing.state not in (OPEN, ABANDONED)


class _Over:
    """The Cancellation of what is not to begin."""

    def is_set(self) -> bool:
        return True


def _tell_nobody(_step: StepRow) -> None:
    return None
