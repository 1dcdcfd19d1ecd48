"""The invariants by name, and what breaks one."""

from dataclasses import dataclass
from typing import Final

INVARIANTS: Final = {
    "I1": "at most one successful or live payout a trade",
    "I2": "at most one net posting a leg, postings sum to zero",
    "I3": "paid only if debited first",
    "I4": "repaired only if row, ledger and bank equal the oracle",
    "I5": "every journaled result reaches the server",
    "I6": "terminal states never change",
    "I7": "automatic failed attempts at most max_retries + 1",
    "I8": "once faults stop, everything ends or waits for a person",
    "I9": "doubt moves no money",
    "I10": "memory stays bounded",
    "I11": "no consistent row is ever written",
    "I12": "audit and state history have no gap",
}


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold; ``subject`` is mostly a trade number."""

    invariant: str
    subject: str
    detail: str
