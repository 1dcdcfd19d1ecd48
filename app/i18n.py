"""Language and time zone: the person's own, else the browser's last choice, else the server's default.

Message ids are the Chinese texts; English stands in app/translations/en/LC_MESSAGES/messages.po.
"""

from zoneinfo import ZoneInfo

from flask import Flask, Response, current_app, has_request_context, request
from flask_babel import get_locale, gettext
from flask_login import current_user

from app.extensions import babel

LANGUAGES = {"zh": "中文", "en": "English"}
LOCALE_COOKIE = "piculus_locale"
"""Keeps the language of a browser beyond the session."""
DEFAULT_ZONE = "Asia/Shanghai"

ZONES = (
    "Asia/Shanghai",
    "Asia/Hong_Kong",
    "Asia/Taipei",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Asia/Dubai",
    "Europe/London",
    "Europe/Paris",
    "America/New_York",
    "America/Los_Angeles",
    "UTC",
)
"""Offered in forms; any other IANA zone may be typed."""


def choose_locale() -> str:
    """Return ``zh`` or ``en``."""
    default: str = current_app.config.get("BABEL_DEFAULT_LOCALE", "zh")
    if not has_request_context():
        return default
    chosen = current_user.locale if current_user.is_authenticated else browser_locale()
    return chosen if chosen in LANGUAGES else default


def browser_locale() -> str | None:
    """Return the language this browser last read, None where it has not chosen one."""
    chosen = request.cookies.get(LOCALE_COOKIE)
    return chosen if chosen in LANGUAGES else None


def remember_locale(answer: Response, locale: str) -> None:
    """Let this browser go on reading ``locale`` when nobody is logged in."""
    answer.set_cookie(LOCALE_COOKIE, locale, max_age=31536000, samesite="Lax")


def choose_zone() -> str:
    """Return the IANA name of the zone times are shown in."""
    if has_request_context() and current_user.is_authenticated and is_zone(current_user.zone):
        return str(current_user.zone)
    zone: str = current_app.config.get("BABEL_DEFAULT_TIMEZONE", DEFAULT_ZONE)
    return zone


def is_zone(name: str) -> bool:
    """Return whether ``name`` is an IANA zone this machine knows."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def language() -> str:
    """Return the language words are shown in, ``zh`` or ``en``; outside a request the default."""
    locale = get_locale()
    return "en" if locale is not None and locale.language == "en" else "zh"


def translate(text: str, **params: object) -> str:
    """Return a Chinese text in the reader's language, filled in. Import it as ``_``: so it is extracted."""
    return str(gettext(text, **params))


def init_app(app: Flask) -> None:
    """Bind Flask-Babel. ``BABEL_DEFAULT_LOCALE`` and ``BABEL_DEFAULT_TIMEZONE`` may be set before."""
    app.config.setdefault("BABEL_DEFAULT_LOCALE", "zh")
    app.config.setdefault("BABEL_DEFAULT_TIMEZONE", DEFAULT_ZONE)
    babel.init_app(app, locale_selector=choose_locale, timezone_selector=choose_zone)
    app.jinja_env.globals.update(language=language, LANGUAGES=LANGUAGES)
