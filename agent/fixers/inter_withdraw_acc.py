"""Two-step withdrawal shows success; debited, never paid."""

from agent.decision import INTER_WITHDRAW_ACC
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, PAY, settle
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The customer was debited: pay, then post the second leg."""
    return (PAY, *settle(facts), *FINISH)


InterWithdrawAcc = Fixer(
    code=INTER_WITHDRAW_ACC,
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=True, is_e_acc=False),),
    steps=steps,
)
