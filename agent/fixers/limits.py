"""What one agent does at most, whatever the server asks: its own configuration has the last word.

A repair that has moved money is never held back by a limit. It is asked before a repair is claimed, and the
rates once more behind the claim, where the claims of other agents are seen; so it is where all that a repair
had begun has come to nothing, however long ago it was claimed.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from agent.fixers.attempt import Attempt, AttemptEnded
from agent.fixers.fixer import Fixer
from agent.fixers.order import Limits
from agent.fixers.reading import TOO_OLD, is_too_old
from agent.records import Begun, Trade

OVER_JUDGED: Final = "the amount is above what this attempt was judged by"
OVER_TRADE: Final = "over the agent's limit for a trade"
OVER_HOUR: Final = "over the agent's limit for an hour"
OVER_DAY: Final = "over the agent's limit for a day"

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


class Rate(msgspec.Struct, frozen=True):
    """What may be begun within a length of time; ``trades`` None and no ``amounts``: anything."""

    within: timedelta
    trades: int | None
    amounts: Mapping[str, int]
    reason: str

    @property
    def is_set(self) -> bool:
        """Whether there is anything to keep to."""
        return self.trades is not None or bool(self.amounts)

    def is_full(self, begun: Begun, trade: Trade) -> bool:
        """Whether a trade more would be too much."""
        if self.trades is not None and begun.trades + 1 > self.trades:
            return True
        return is_above(self.amounts, trade, begun.amounts.get(trade.currency, 0))


def is_above(most: Mapping[str, int], trade: Trade, begun_minor: int = 0) -> bool:
    """Whether the trade's amount, on top of what was begun, is above the most for its currency.

    Where any currency has a limit, one that is not named may not be repaired at all.
    """
    return bool(most) and begun_minor + (trade.amount_minor or 0) > most.get(trade.currency, 0)


def rates_of(limits: Limits) -> tuple[Rate, ...]:
    """Return the rates that are set."""
    rates = (
        Rate(HOUR, limits.max_trades_per_hour, limits.max_amount_minor_per_hour, OVER_HOUR),
        Rate(DAY, limits.max_trades_per_day, limits.max_amount_minor_per_day, OVER_DAY),
    )
    return tuple(rate for rate in rates if rate.is_set)


def require_offered(fixers: Mapping[str, Fixer], code: str) -> Fixer:
    """Return the fixer. Raises AttemptEnded(refused) where this agent does not offer it: asked wherever a
    repair or an order begins, because its list may have changed since it took the order.
    """
    fixer = fixers.get(code)
    if fixer is None:
        raise AttemptEnded("refused", f"this agent does not offer {code}")
    return fixer


def require_as_judged(attempt: Attempt, trade: Trade) -> None:
    """Raises AttemptEnded(refused) where the amount, read fresh, is above what the server judged: the trade
    was changed since, and is to be read and judged anew.
    """
    most = attempt.order.max_amount_minor
    if most is not None and (trade.amount_minor or 0) > most:
        raise AttemptEnded("refused", OVER_JUDGED, is_void=True)


def require_allowed(attempt: Attempt, trade: Trade, *, is_ordered: bool = False) -> None:
    """Raises AttemptEnded where this agent may not begin the repair: for a person, or not yet.

    ``is_ordered``: people have ordered what is done, whoever goes on with it; it is not too old for them.
    """
    settings = attempt.settings
    if is_too_old(trade, settings) and not (attempt.order.is_by_person or is_ordered):
        raise AttemptEnded("needs_human", f"{TOO_OLD}{settings.max_age.days}")
    if is_above(settings.limits.max_amount_minor, trade):
        raise AttemptEnded("needs_human", OVER_TRADE)
    for rate in rates_of(settings.limits):
        if rate.trades == 0 or is_above(rate.amounts, trade):
            # It would be too much on an empty day too: waiting brings nothing.
            raise AttemptEnded("needs_human", rate.reason)
    require_room(attempt, trade)


def require_room(attempt: Attempt, trade: Trade) -> None:
    """Raises AttemptEnded(wait) while the hour or the day is full; asked behind the claim it voids that.

    Two agents that claim the last place see each other there, and both wait.
    """
    for rate in rates_of(attempt.settings.limits):
        begun = attempt.ports.trades.begun_since(trade.read_at - rate.within, but=trade.trade_no)
        if rate.is_full(begun, trade):
            raise AttemptEnded("wait", rate.reason, is_void=attempt.claim is not None)
