"""The registry of collectors, and the one function a Collect command needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent.answers import MAX_CHUNK_ROWS, ReportedTrade
from agent.collectors.base import Collection, Progress
from agent.collectors.collector import Collector, collector_of, index_collectors
from agent.collectors.inter_recharge import InterRechargeCollector
from agent.collectors.inter_withdraw import InterWithdrawCollector
from agent.collectors.inter_withdraw_acc import InterWithdrawAccCollector
from agent.collectors.recharge_failed import RechargeFailedCollector
from agent.collectors.recharge_timeout import RechargeTimeoutCollector
from agent.collectors.withdraw_failed import WithdrawFailedCollector
from agent.collectors.withdraw_failed_acc import WithdrawFailedAccCollector
from agent.collectors.withdraw_timeout import WithdrawTimeoutCollector
from agent.errors import PortError
from agent.fixers import FIXERS, Fixer
from agent.fixers.order import RepairSettings
from agent.ports import Cancellation, Ports
from agent.records import Window

COLLECTORS: Final[Mapping[str, Collector]] = index_collectors(
    InterRechargeCollector,
    InterWithdrawCollector,
    InterWithdrawAccCollector,
    RechargeFailedCollector,
    RechargeTimeoutCollector,
    WithdrawFailedCollector,
    WithdrawFailedAccCollector,
    WithdrawTimeoutCollector,
)


def collect(
    codes: Sequence[str],
    window: Window,
    ports: Ports,
    settings: RepairSettings,
    cancellation: Cancellation,
    progress: Progress,
    fixers: Mapping[str, Fixer] = FIXERS,
) -> Iterator[list[ReportedTrade]]:
    """Yield the broken trades of a window in chunks of at most MAX_CHUNK_ROWS; no chunk is empty.

    Codes this agent does not offer are passed over; a fixer of another package is collected by its patterns.
    Ends early when cancelled. Raises PortError, behind what was found, when rows cannot be read to their end.
    """
    chosen = [COLLECTORS.get(code) or collector_of(fixers[code]) for code in codes if code in fixers]
    pages = Collection(chosen, ports, settings).pages(window, cancellation, progress)
    chunk: list[ReportedTrade] = []
    try:
        for page in pages:
            chunk += page
            while len(chunk) >= MAX_CHUNK_ROWS:
                yield chunk[:MAX_CHUNK_ROWS]
                chunk = chunk[MAX_CHUNK_ROWS:]
    except PortError:
        # What was found is no less true; the trailer will say that it is not all.
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


__all__ = ["COLLECTORS", "Collection", "Collector", "Progress", "collect", "collector_of", "index_collectors"]
