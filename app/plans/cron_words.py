"""A cron expression in the reader's language."""

from flask import Flask

from app.i18n import language
from app.plans.quartz import QuartzError, describe


def cron_words(expression: str) -> str:
    """Return the expression in words, or itself when it is none."""
    try:
        return describe(expression, "en" if language() == "en" else "zh")
    except QuartzError:
        return expression


def init_app(app: Flask) -> None:
    """Add the filter ``cron_words``."""
    app.jinja_env.filters["cron_words"] = cron_words
