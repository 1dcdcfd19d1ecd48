"""Sessions: login is needed for everything but a few endpoints; a one-time password must be changed first."""

import secrets
from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask, Response, make_response, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from sqlalchemy import select

from app.clock import current_time
from app.extensions import db, login_manager
from app.keyset import ReadSession
from app.users.models import EndedLogin, User

OPEN_ENDPOINTS: Final = frozenset(
    {
        "static",
        "health.healthz",
        "users.log_in",
        "users.set_locale",
        "sockets.agent",
        "sockets.knock",
        "sockets.ui",
    }
)
"""Used without login; the sockets check their own credentials, since a handshake is no page."""

ONE_TIME_ENDPOINTS: Final = OPEN_ENDPOINTS | {"users.settings", "users.change_password", "users.log_out"}
"""All that a person with a one-time password may use."""

UNATTENDED: Final = "X-Unattended"
"""The header of what a page asks for by itself (static/js/live.js): it never takes that page away."""

LOGIN_ID: Final = "login_id"
"""The name under which a browser's session keeps which login it is of."""
LOGGED_IN_AT: Final = "logged_in_at"
"""The name under which it keeps when that was, in seconds since 1970."""
LOGIN_LASTS: Final = timedelta(hours=24)
"""At most, however often a page that stands open asks for its fragments; unused, a session ends sooner."""


def init_app(app: Flask) -> None:
    """Bind Flask-Login, and ask for a login before every request."""
    app.config.setdefault("SESSION_COOKIE_SAMESITE", "Lax")
    app.config.setdefault("PERMANENT_SESSION_LIFETIME", timedelta(hours=12))
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # the token lives as long as the session it belongs to
    login_manager.init_app(app)
    login_manager.user_loader(load_user)
    app.before_request(require_login)


def load_user(key: str) -> User | None:
    """Return the person of a session key (``id:session_version``), None where that session has ended.

    Ended by a new version, a logout (of whatever copy of the cookie), or LOGIN_LASTS after the login.
    """
    if not _is_living(session):
        return None
    user_id, _colon, version = key.partition(":")
    user = db.session.get(User, int(user_id)) if user_id.isdigit() else None
    if user is None or not user.is_enabled or str(user.session_version) != version:
        return None
    return user


def begin_login(browser: MutableMapping[str, Any], now: datetime) -> None:
    """Have a browser's session keep which login it is of, and since when."""
    browser[LOGIN_ID] = secrets.token_urlsafe(12)
    browser[LOGGED_IN_AT] = int(now.timestamp())


def _is_living(browser: Mapping[str, Any]) -> bool:
    login_id, at = browser.get(LOGIN_ID), browser.get(LOGGED_IN_AT)
    if login_id is None or at is None or current_time().timestamp() - at >= LOGIN_LASTS.total_seconds():
        return False
    return db.session.get(EndedLogin, login_id) is None


def living_sessions(session: ReadSession, keys: Collection[str]) -> set[str]:
    """Return those of the session keys whose session has not ended, in one query."""
    user_ids = {int(key.partition(":")[0]) for key in keys}
    users = session.scalars(select(User).where(User.id.in_(user_ids), User.is_enabled))
    return {user.get_id() for user in users} & set(keys)


def require_login() -> ResponseReturnValue | None:
    """Send whoever is not logged in to the login page, and a one-time password to its change.

    A page that asks by itself only hears that the login has ended: what is being typed there stays.
    """
    if request.endpoint in OPEN_ENDPOINTS:
        return None
    if not current_user.is_authenticated:
        if request.headers.get(UNATTENDED) == "1":
            return Response(status=401, headers={"HX-Trigger": "loginEnded"})
        return _go(url_for("users.log_in", next=_wanted_url()))
    if current_user.must_change_password and request.endpoint not in ONE_TIME_ENDPOINTS:
        return _go(url_for("users.settings"))
    return None


def local_path(url: str) -> str:
    """Return ``url`` where it is a path on this server, else ``/``: a login never leads to another site."""
    parts = urlsplit(url.replace("\\", "/"))
    is_local = not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith("//")
    return url if is_local and url.isprintable() else "/"


def _wanted_url() -> str | None:
    if request.headers.get("HX-Request") == "true":
        parts = urlsplit(request.headers.get("HX-Current-URL", ""))
        return (parts.path + (f"?{parts.query}" if parts.query else "")) or None
    if request.method != "GET" or request.path == "/":
        return None
    return request.full_path.rstrip("?")


def _go(url: str) -> Response:
    if request.headers.get("HX-Request") != "true":
        return make_response(redirect(url))
    # A page that already stands where it is sent would load itself again and again.
    is_there = urlsplit(request.headers.get("HX-Current-URL", "")).path == urlsplit(url).path
    return Response(status=401, headers={} if is_there else {"HX-Redirect": url})
