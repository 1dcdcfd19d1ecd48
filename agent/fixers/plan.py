"""The names of the steps, and the stretches of them that fixers share. Pure."""

from typing import Final

from agent.facts import Bookkeeping, Facts, Kind, Leg, LegState

POST_FIRST: Final = "post_first"
POST_SECOND: Final = "post_second"
POST_BOTH: Final = "post_both"
PAY: Final = "pay"
PAY_AGAIN: Final = "pay_again"
REVERSE_FIRST: Final = "reverse_first"
REVERSE_SECOND: Final = "reverse_second"
REVERSE_BOTH: Final = "reverse_both"
WRITE_ROW: Final = "write_row"
READ_BACK: Final = "read_back"

LEG_OF: Final = {POST_FIRST: Leg.FIRST, POST_SECOND: Leg.SECOND, POST_BOTH: Leg.BOTH}
"""The leg a posting step posts."""
FIRST_POSTINGS: Final = (POST_FIRST, POST_BOTH)
"""Those before which no step of a plan has moved money."""
PAYOUTS: Final = (PAY, PAY_AGAIN)
"""The steps that ask the bank to pay: by a plan, and by a person's order."""
REVERSED_LEG: Final = {REVERSE_FIRST: Leg.FIRST, REVERSE_SECOND: Leg.SECOND, REVERSE_BOTH: Leg.BOTH}
"""The leg whose entry a reversing step takes back."""
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


def take_back(facts: Facts) -> tuple[str, ...]:
    """Give back what a withdrawal took, the newest entry first."""
    second = facts.second.voucher_no if facts.second else None
    if second is None:
        return (REVERSE_FIRST,)
    return (REVERSE_BOTH,) if second == facts.first.voucher_no else (REVERSE_SECOND, REVERSE_FIRST)


def is_reversal(plan: tuple[str, ...]) -> bool:
    """Whether these are the steps of a reversal a person has ordered."""
    return any(name in REVERSED_LEG for name in plan)


def legs_of(kind: Kind) -> tuple[Leg, ...]:
    """The legs whose vouchers stand on a row."""
    return (Leg.FIRST,) if kind is Kind.RECHARGE else (Leg.FIRST, Leg.SECOND)
