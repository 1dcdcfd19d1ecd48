"""A cron expression explained while it is typed: in words, and when it fires next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from app.i18n import is_zone
from app.messages import words
from app.plans.cron_words import cron_words
from app.plans.quartz import next_fire_times
from app.plans.validation import cron_errors, zone_errors

NEXT_TIMES: Final = 5


@dataclass(frozen=True)
class Explanation:
    """``times`` are in ``zone``; ``error`` is a sentence and then there are neither words nor times."""

    words: str = ""
    times: tuple[datetime, ...] = ()
    zone: str = ""
    error: str = ""


def explain(expression: str, zone: str, now: datetime) -> Explanation:
    """Explain a Quartz expression in the reader's language; an empty one has nothing to say."""
    if not expression:
        return Explanation()
    errors = cron_errors(expression, "cron", now) or zone_errors(zone)
    if errors:
        return Explanation(error=words(errors[0]))
    times = next_fire_times(expression, now.astimezone(ZoneInfo(zone)), NEXT_TIMES)
    return Explanation(words=cron_words(expression), times=tuple(times), zone=zone)


def zone_or(zone: str, default: str) -> str:
    """Return ``zone`` where it is one, else ``default``: so a half-typed zone does not hide the cron."""
    return zone if is_zone(zone) else default
