"""A bank that has paid a customer who was never debited, because the balance did not cover it.

Agents say ``insufficient balance`` whether or not the bank has paid. What the server keeps tells the two
apart, for they ask the opposite of a person.
"""

from typing import Final

from agent.facts import BankState, Facts, Kind, LegState

INSUFFICIENT: Final = "insufficient balance"
"""The agents' word for a debit that the balance did not cover."""
PAID_UNDEBITED: Final = "paid, not debited, insufficient balance"
"""The server's word for it where the bank has paid."""


def is_paid_undebited(facts: Facts) -> bool:
    """Return whether the bank has paid a withdrawal of which the ledger holds no debit."""
    is_paid = facts.kind is Kind.WITHDRAW and facts.bank.state is BankState.SUCCESS
    return is_paid and facts.first.state is LegState.NONE


def told_by(reason: str, facts: Facts | None) -> str:
    """Return a reason as the facts make it; other reasons, and any without facts, as they are."""
    if facts is None or reason not in (INSUFFICIENT, PAID_UNDEBITED):
        return reason
    return PAID_UNDEBITED if is_paid_undebited(facts) else INSUFFICIENT
