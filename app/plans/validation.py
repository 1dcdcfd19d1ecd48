"""What a plan or a schedule may say, checked field by field."""

from datetime import datetime
from typing import Final

from app.errors import ConflictError, InvalidError
from app.i18n import is_zone
from app.plans.fixer_codes import fixer_code_errors
from app.plans.limits import limit_errors
from app.plans.models import LEVELS, MODES, STATES
from app.plans.product_plans import PlanValues
from app.plans.quartz import QuartzError, next_fire_times
from app.thresholds import PLAN_DEFAULTS, threshold_errors

Invalid = InvalidError | ConflictError
"""One thing wrong with a form."""

NOT_A_NUMBER: Final = -1
"""What stands for a number that was not typed or is none: out of every range."""
MAX_RETRIES: Final = 99
MAX_DESCRIPTION: Final = 500
MAX_WINDOW_HOURS: Final = 24 * 366


def value_errors(values: PlanValues, now: datetime) -> list[Invalid]:
    """Return what is wrong with the values of a plan, but for its group and uniqueness."""
    errors: list[Invalid] = [*fixer_code_errors(values.fixer_code)]
    if not 0 <= values.max_retries <= MAX_RETRIES:
        errors.append(InvalidError("retries", field="max_retries", low=0, high=MAX_RETRIES))
    errors += cron_errors(values.retry_cron, "retry_cron", now)
    for field, value, allowed in (
        ("mode", values.mode, MODES),
        ("state", values.state, STATES),
        ("level", values.level, LEVELS),
    ):
        if value in ("", NOT_A_NUMBER):
            errors.append(InvalidError("required", field=field))
        elif value not in allowed:
            errors.append(InvalidError("choice", field=field, value=value))
    if len(values.description) > MAX_DESCRIPTION:
        errors.append(InvalidError("too_long", field="description", limit=MAX_DESCRIPTION))
    errors += zone_errors(values.zone)
    return errors + limit_errors(values) + threshold_errors(values, PLAN_DEFAULTS)


def cron_errors(expression: str, field: str, now: datetime) -> list[Invalid]:
    """Return the error of a Quartz expression; ``params`` has the QuartzError as ``quartz``."""
    if len(expression) > 120:
        return [InvalidError("too_long", field=field, limit=120)]
    try:
        times = next_fire_times(expression, now, 1)
    except QuartzError as error:
        return [InvalidError("cron", field=field, quartz=error, cron_field=error.field, reason=error.reason)]
    return [] if times else [InvalidError("cron_never", field=field)]


def group_error(sys_code: str) -> InvalidError:
    """Return what is wrong with a group that was not found."""
    return InvalidError("unknown_group" if sys_code else "required", field="sys_code", sys_code=sys_code)


def zone_errors(zone: str) -> list[Invalid]:
    """A zone is an IANA name."""
    return [] if is_zone(zone) else [InvalidError("unknown_zone", field="zone", zone=zone)]
