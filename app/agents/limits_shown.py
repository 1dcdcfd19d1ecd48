"""What an agent does at most by its own configuration, in words: a page's facts, and no decision."""

from collections.abc import Mapping
from typing import Any

import msgspec

from agent.protocol import AgentLimits
from app.i18n import language
from app.i18n import translate as _
from app.presentation import money


def lines_of(kept: Mapping[str, Any] | None) -> list[tuple[str, str]] | None:
    """Return (what, how much) of Agent.limits, None where the agent has told of none."""
    if kept is None:
        return None
    limits = msgspec.convert(kept, AgentLimits)
    return [
        (_("单笔金额"), _most(None, limits.max_amount_minor)),
        (_("最近 60 分钟"), _most(limits.max_trades_per_hour, limits.max_amount_minor_per_hour)),
        (_("最近 24 小时"), _most(limits.max_trades_per_day, limits.max_amount_minor_per_day)),
        (_("交易时间"), _("早于 %(n)s 天的只由人点击修复", n=f"{limits.max_age_days:,}")),
    ]


def _most(trades: int | None, amounts: Mapping[str, int]) -> str:
    parts = [] if trades is None else [_("至多 %(n)s 笔", n=f"{trades:,}")]
    parts += [
        _("至多 %(amount)s", amount=money(amount, currency)) for currency, amount in sorted(amounts.items())
    ]
    if not parts:
        return _("不限")
    if amounts:
        parts.append(_("其他币种不修复"))
    return ("、" if language() == "zh" else ", ").join(parts)
