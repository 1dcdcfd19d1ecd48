"""The fixers of the product document, and those agents offer beside them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.agents import service as agent_service
from app.agents.models import Agent
from app.errors import InvalidError
from app.keyset import ReadSession


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


def fixer_choices(session: ReadSession, group_ids: Iterable[int] | None = None) -> list[str]:
    """Return the known codes, then those registered agents offer beside them, sorted."""
    statement = select(Agent.fixer_codes).where(Agent.revoked_at.is_(None))
    if group_ids is not None:
        statement = statement.where(Agent.group_id.in_(list(group_ids)))
    offered = {code for codes in session.scalars(statement) for code in codes}
    return [*KNOWN_FIXERS, *sorted(offered - KNOWN_FIXERS.keys())]


def require_known(session: ReadSession, group_id: int, codes: Iterable[str]) -> None:
    """Raise InvalidError (field fixer_codes) for a code that is not built in and no agent has offered."""
    known = fixer_choices(session, [group_id])
    for code in codes:
        if code not in known:
            raise InvalidError("fixer_code", field="fixer_codes", fixer_code=code)


def offered_by(session: ReadSession, group_id: int, now: datetime) -> dict[str, tuple[str, ...]]:
    """Return, for each code an online agent of the group offers, the names of those agents."""
    offers: dict[str, list[str]] = {}
    for agent in agent_service.list_online(session, group_id, now):
        for code in agent.fixer_codes:
            offers.setdefault(code, []).append(agent.name)
    return {code: tuple(names) for code, names in offers.items()}
