"""The fixers of the product document, and those agents offer beside them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.agents.queries import names_offering, registered_codes
from app.agents.stop_notices import marked_name
from app.errors import InvalidError
from app.keyset import ReadSession

AGENTS_NAMED: Final = 5


@dataclass(frozen=True)
class KnownFixer:
    """A fixer code (修复代号) and what it mends."""

    code: str
    zh: str


def _index(*fixers: KnownFixer) -> dict[str, KnownFixer]:
    return {fixer.code: fixer for fixer in fixers}


KNOWN_FIXERS: Final = _index(
    KnownFixer(
        "interRechargeFixServiceImpl",
        "充值状态成功，但账户金额没有增加",
    ),
    KnownFixer(
        "interWithdrawFixServiceImpl",
        "提现状态成功，但账户未扣除提现金额，银行没有到账通知",
    ),
    KnownFixer(
        "interWithdrawAccFixServiceImpl",
        "提现状态成功，账户已扣除提现金额，但银行没有到账通知",
    ),
    KnownFixer(
        "rechargeFailedFixServiceImpl",
        "充值状态失败，但银行已扣款，账户金额没有增加",
    ),
    KnownFixer(
        "rechargeTimeoutFixServiceImpl",
        "充值长时间处理中，按银行结果确认成功或失败",
    ),
    KnownFixer(
        "withdrawFailedFixServiceImpl",
        "提现状态失败，账户已扣除提现金额，银行没有到账通知（一次性记账）",
    ),
    KnownFixer(
        "withdrawFailedAccFixServiceImpl",
        "提现状态失败，账户已扣除提现金额，银行没有到账通知（分段式记账）",
    ),
    KnownFixer(
        "withdrawTimeoutFixServiceImpl",
        "提现长时间处理中，按银行结果确认成功或失败",
    ),
)
"""The eight codes, in the order of the product document."""


def fixer_code_errors(code: str) -> list[InvalidError]:
    """A code is a name of letters, digits and underscores that starts lower-case, at most 80 long."""
    if not code:
        return [InvalidError("required", field="fixer_code")]
    is_name = code.isascii() and code.replace("_", "a").isalnum() and len(code) <= 80
    if not is_name or not code[0].islower():
        return [InvalidError("fixer_code_format", field="fixer_code", fixer_code=code)]
    return []


def fixer_choices(session: ReadSession, group_ids: Iterable[int] | None = None) -> list[str]:
    """Return the known codes, then those registered agents offer beside them, sorted."""
    offered = registered_codes(session, None if group_ids is None else list(group_ids))
    return [*KNOWN_FIXERS, *sorted(offered - KNOWN_FIXERS.keys())]


def group_codes(session: ReadSession, group_id: int) -> list[str]:
    """Return what "every code" means for a group: all that its agents offer, else all known ones.

    An offer that is no fixer code is passed over: it must not keep the others from being collected.
    """
    offered = [code for code in registered_codes(session, [group_id]) if not fixer_code_errors(code)]
    return sorted(offered or KNOWN_FIXERS)


def require_known(session: ReadSession, group_id: int, codes: Iterable[str]) -> None:
    """Raise InvalidError (field codes) for a code that is not built in and no agent has offered."""
    for error in unknown_code_errors(session, [group_id], codes):
        raise error


def unknown_code_errors(
    session: ReadSession, group_ids: Iterable[int], codes: Iterable[str]
) -> list[InvalidError]:
    """Return an error for each code that is not built in and no agent of the groups has offered."""
    known = fixer_choices(session, group_ids)
    unknown = [code for code in codes if code not in known]
    return [InvalidError("fixer_code", field="codes", fixer_code=code) for code in unknown]


def agents_offering(
    session: ReadSession, group_id: int, fixer_code: str | None, now: datetime
) -> tuple[str, ...]:
    """Return the names of the online agents of a group that offer a fixer, marked where stopped on the host:
    the first AGENTS_NAMED, then '…' where there are more.
    """
    if fixer_code is None:
        return ()
    found = names_offering(session, group_id, fixer_code, now, AGENTS_NAMED + 1)
    names = [marked_name(name, is_stopped_here=is_stopped) for name, is_stopped in found]
    return (*names[:AGENTS_NAMED], "…") if len(names) > AGENTS_NAMED else tuple(names)
