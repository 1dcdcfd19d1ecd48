"""Recharge shows failed, the bank took the customer's money, the account was never credited."""

from agent.decision import RECHARGE_FAILED
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, credit
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The bank has the money: credit the customer, then write the row."""
    return credit(facts) + FINISH


RechargeFailed = Fixer(
    code=RECHARGE_FAILED,
    patterns=(Pattern(kind=Kind.RECHARGE, status=Status.FAILED, is_acc=False),),
    steps=steps,
)
