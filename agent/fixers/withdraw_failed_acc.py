"""Two-step withdrawal shows failed; debited, never paid."""

from agent.decision import WITHDRAW_FAILED_ACC
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, PAY, settle
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The customer was debited: pay, then post the second leg."""
    return (PAY, *settle(facts), *FINISH)


WithdrawFailedAcc = Fixer(
    code=WITHDRAW_FAILED_ACC,
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.FAILED, is_acc=True, is_e_acc=False),),
    steps=steps,
)
