"""Withdrawal stuck in processing."""

from agent.decision import WITHDRAW_TIMEOUT
from agent.facts import BankState, Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, debit, settle
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """Paid: post what the ledger lacks, set success. Unpaid and undebited: only the row, set failed."""
    return FINISH if facts.bank.state is BankState.FAIL else debit(facts) + settle(facts) + FINISH


WithdrawTimeout = Fixer(
    code=WITHDRAW_TIMEOUT,
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.PROCESSING),),
    steps=steps,
)
