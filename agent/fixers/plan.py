"""The names of the steps, and the stretches of them that fixers share. Pure."""

from typing import Final

from agent.facts import Bookkeeping, Facts, Kind, Leg, LegState

POST_FIRST: Final = "post_first"
POST_SECOND: Final = "post_second"
POST_BOTH: Final = "post_both"
PAY: Final = "pay"
WRITE_ROW: Final = "write_row"
READ_BACK: Final = "read_back"

LEG_OF: Final = {POST_FIRST: Leg.FIRST, POST_SECOND: Leg.SECOND, POST_BOTH: Leg.BOTH}
"""The leg a posting step posts."""
FINISH: Final = (WRITE_ROW, READ_BACK)
"""How every repair ends."""


def credit(facts: Facts) -> tuple[str, ...]:
    """Give the customer the recharge that the ledger lacks."""
    return (POST_FIRST,) if facts.first.state is LegState.NONE else ()


def debit(facts: Facts) -> tuple[str, ...]:
    """Take a withdrawal from the customer where the ledger has not: in one entry, or its first leg."""
    if facts.first.state is not LegState.NONE:
        return ()
    return (POST_BOTH,) if facts.bookkeeping is Bookkeeping.SINGLE_STEP else (POST_FIRST,)


def settle(facts: Facts) -> tuple[str, ...]:
    """Post the second leg of a two-step withdrawal; it stands after the payout in every plan."""
    is_open = facts.second is not None and facts.second.state is LegState.NONE
    return (POST_SECOND,) if is_open and facts.bookkeeping is Bookkeeping.TWO_STEP else ()


def legs_of(kind: Kind) -> tuple[Leg, ...]:
    """The legs whose vouchers stand on a row."""
    return (Leg.FIRST,) if kind is Kind.RECHARGE else (Leg.FIRST, Leg.SECOND)
