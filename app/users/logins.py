"""Logging in: who may, and what is remembered of the attempts."""

from datetime import datetime, timedelta
from typing import Final

from app.audit import service as audit
from app.audit.service import Actor
from app.unit_of_work import WorkSession
from app.users.models import EndedLogin, User
from app.users.service import find_user

MAX_FAILURES: Final = 10
LOCKED_FOR: Final = timedelta(minutes=5)


def record_login(
    session: WorkSession,
    username: str,
    *,
    is_right: bool,
    checked_hash: str | None,
    address: str,
    now: datetime,
) -> User | None:
    """Write one attempt down; return the person who is now logged in, None where they are not.

    ``is_right``: the password fitted ``checked_hash``; where that is no longer the person's, it was reset
    meanwhile and does not count. A disabled or locked person is refused whatever the password; the tenth
    failure in a row locks for LOCKED_FOR. An unknown name leaves no trace, or anyone could fill the trail.
    """
    user = find_user(session, username)
    if user is None:
        return None
    if not user.is_enabled or (user.locked_until is not None and user.locked_until > now):
        return None
    if not is_right or user.password_hash != checked_hash:
        _count_failure(session, user, address, now)
        return None
    user.failed_logins, user.locked_until, user.last_login_at = 0, None, now
    _record(session, user, "user.login", address, now)
    return user


def record_logout(session: WorkSession, user: User, login_id: str, *, actor: Actor, now: datetime) -> None:
    """Write down that a person left, and that this login of theirs opens nothing more."""
    session.merge(EndedLogin(login_id=login_id, at=now))
    _record(session, user, "user.logout", actor.address, now)


def _count_failure(session: WorkSession, user: User, address: str, now: datetime) -> None:
    user.failed_logins += 1
    if user.failed_logins >= MAX_FAILURES:
        user.failed_logins, user.locked_until = 0, now + LOCKED_FOR
        _record(session, user, "user.locked", address, now)
    else:
        _record(session, user, "user.login_failed", address, now)


def _record(session: WorkSession, user: User, action: str, address: str, now: datetime) -> None:
    audit.record(
        session,
        actor=Actor(user.id, user.username, address),
        action=action,
        object_type="user",
        object_id=user.id,
        object_name=user.username,
        now=now,
    )
    session.touch("audit")
