"""Withdrawal shows success; neither debited nor paid."""

from agent.decision import INTER_WITHDRAW
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, PAY, debit, settle
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """Debit before pay; the second leg of a two-step withdrawal only after the bank has paid."""
    return (*debit(facts), PAY, *settle(facts), *FINISH)


InterWithdraw = Fixer(
    code=INTER_WITHDRAW,
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False),),
    steps=steps,
)
