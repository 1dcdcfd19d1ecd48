"""Single-step withdrawal shows failed; the ledger debited it, the bank never paid."""

from agent.decision import WITHDRAW_FAILED
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, PAY
from agent.records import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The ledger is whole already: pay, then bring the row up to it."""
    return (PAY, *FINISH)


WithdrawFailed = Fixer(
    code=WITHDRAW_FAILED,
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.FAILED, is_acc=False),),
    steps=steps,
)
