"""What a collector is: the rows of one fixer's patterns, and how far the ledger narrows them."""

from collections.abc import Callable, Mapping

import msgspec

from agent.decision import Decision, decide
from agent.errors import ConfigurationError
from agent.facts import Facts
from agent.fixers.fixer import Fixer
from agent.records import Pattern, Trade


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """Looks for the trades of one fixer; ``code`` is the fixer's.

    ``needs_ledger_money``: rows of these patterns are broken only where the ledger holds money for them, or
    where production's own request line tells that the bank paid; the bank is asked about those alone.
    """

    code: str
    patterns: tuple[Pattern, ...]
    needs_ledger_money: bool = False
    diagnose: Callable[[Facts], Decision] = decide

    def takes(self, trade: Trade) -> bool:
        """Whether the row fits one of the patterns."""
        return any(pattern.fits(trade) for pattern in self.patterns)


def collector_of(fixer: Fixer, *, needs_ledger_money: bool = False) -> Collector:
    """The collector that narrows by a fixer's own patterns."""
    return Collector(
        code=fixer.code,
        patterns=fixer.patterns,
        needs_ledger_money=needs_ledger_money,
        diagnose=fixer.diagnose,
    )


def index_collectors(*collectors: Collector) -> Mapping[str, Collector]:
    """Return the collectors by code. Raises ConfigurationError on a repeated code."""
    registry: dict[str, Collector] = {}
    for collector in collectors:
        if collector.code in registry:
            raise ConfigurationError(f"collector {collector.code} is registered twice")
        registry[collector.code] = collector
    return registry
