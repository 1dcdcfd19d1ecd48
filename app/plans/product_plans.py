"""The eight repair plans of the product document, for first set-up and the demo."""

from dataclasses import dataclass
from typing import Final

from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.models import DEFAULT_CRON

DOCUMENT_CRON: Final = "0 0/10 * * * ?"


@dataclass(frozen=True)
class PlanValues:
    """A plan's parameters, in the order of the product document, with its defaults.

    ``sys_code`` 系统组别, ``fixer_code`` 修复代号, ``max_retries`` 最大重试次数,
    ``retry_cron`` 重试间隔, ``mode`` 执行方式, ``state`` 方案状态, ``level`` 方案等级,
    ``description`` 描述. Under 高级 stand ``zone``, ``is_shadow`` 影子运行, limits (app.plans.limits) and
    thresholds (app.thresholds).
    """

    sys_code: str
    fixer_code: str
    max_retries: int = 0
    retry_cron: str = DEFAULT_CRON
    mode: str = "auto"
    state: str = "normal"
    level: int = 3
    description: str = ""
    zone: str = "Asia/Shanghai"
    is_shadow: bool = False
    limit_trade_minor: int | None = None
    limit_hour_minor: int | None = None
    limit_hour_count: int | None = None
    limit_day_minor: int | None = None
    limit_day_count: int | None = None
    breaker_failures: int | None = None
    breaker_attempts: int | None = None
    breaker_returns: int | None = None
    breaker_hour_minor: int | None = None


PRODUCT_PLANS: Final = tuple(
    PlanValues(
        sys_code="PBAP",
        fixer_code=code,
        max_retries=5,
        retry_cron=DOCUMENT_CRON,
        description="TEST",
    )
    for code in KNOWN_FIXERS
)
"""Every example of the product document has the same values: 5 retries, each ten minutes, auto, normal."""
