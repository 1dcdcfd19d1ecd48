"""Recharge shows success, the account was never credited."""

from agent.decision import INTER_RECHARGE
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, credit
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The bank has the money: credit the customer, then write the row."""
    return credit(facts) + FINISH


InterRecharge = Fixer(
    code=INTER_RECHARGE,
    patterns=(Pattern(kind=Kind.RECHARGE, status=Status.SUCCESS, is_acc=False),),
    steps=steps,
)
