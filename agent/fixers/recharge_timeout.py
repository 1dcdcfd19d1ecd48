"""Recharge stuck in processing."""

from agent.decision import RECHARGE_TIMEOUT
from agent.facts import BankState, Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, credit
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """With the bank's money: credit and set success. Certainly without it: only the row, set failed."""
    return FINISH if facts.bank.state is BankState.FAIL else credit(facts) + FINISH


RechargeTimeout = Fixer(
    code=RECHARGE_TIMEOUT,
    patterns=(Pattern(kind=Kind.RECHARGE, status=Status.PROCESSING),),
    steps=steps,
)
