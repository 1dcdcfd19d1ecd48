"""The registry of fixers. To add one: a file here, a line below, or an entry point of another package."""

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Final

from agent.errors import ConfigurationError
from agent.fixers.fixer import Fixer, index_by_code
from agent.fixers.inter_recharge import InterRecharge
from agent.fixers.inter_withdraw import InterWithdraw
from agent.fixers.inter_withdraw_acc import InterWithdrawAcc
from agent.fixers.recharge_failed import RechargeFailed
from agent.fixers.recharge_timeout import RechargeTimeout
from agent.fixers.withdraw_failed import WithdrawFailed
from agent.fixers.withdraw_failed_acc import WithdrawFailedAcc
from agent.fixers.withdraw_timeout import WithdrawTimeout

ENTRY_POINT_GROUP: Final = "piculus.fixers"

FIXERS: Final[Mapping[str, Fixer]] = index_by_code(
    InterRecharge,
    InterWithdraw,
    InterWithdrawAcc,
    RechargeFailed,
    RechargeTimeout,
    WithdrawFailed,
    WithdrawFailedAcc,
    WithdrawTimeout,
)


def with_entry_points(names: Sequence[str]) -> Mapping[str, Fixer]:
    """Return the built-in fixers and those other packages offer under these entry point names.

    Raises ConfigurationError for a name nobody offers, for what is not a Fixer, and for a code that is taken.
    """
    offered = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    joined = list(FIXERS.values())
    for name in names:
        if name not in offered:
            raise ConfigurationError(f"no installed package offers the fixer entry point {name!r}")
        fixer = offered[name].load()
        if not isinstance(fixer, Fixer):
            raise ConfigurationError(f"the entry point {name!r} is not a Fixer")
        joined.append(fixer)
    return index_by_code(*joined)


__all__ = ["ENTRY_POINT_GROUP", "FIXERS", "Fixer", "index_by_code", "with_entry_points"]
