"""The server's clock, injectable: tests and simulations pass another ``Clock``."""

from collections.abc import Callable
from datetime import UTC, datetime

from flask import current_app

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return datetime.now(UTC)


def current_time() -> datetime:
    """Return the moment by the clock the application was made with. Needs an application context."""
    clock: Clock = current_app.extensions["clock"]
    return clock()
