"""Two-step withdrawal shows failed; debited, never paid."""

from agent.decision import WITHDRAW_FAILED_ACC
from agent.facts import Facts, Kind, Status
from agent.fixers.fixer import Fixer
from agent.fixers.plan import FINISH, PAY, settle
from agent.ports import Pattern


def steps(facts: Facts) -> tuple[str, ...]:
    """The customer was debited: pay, then post the second leg."""
    return (PAY, *settle(facts), *FINISH)


WithdrawFailedAcc = Fixer(
    code=WITHDRAW_FAILED_ACC,
    zh="提现状态失败（分段式记账），账户已扣款但银行确认未到账：付款、记第二段并改为成功",
    en="Failed two-step withdrawal that was debited but never paid: pay, post the second leg, set success",
    patterns=(Pattern(kind=Kind.WITHDRAW, status=Status.FAILED, is_acc=True, is_e_acc=False),),
    steps=steps,
)
