"""People: made, changed, disabled, their passwords reset. Every write leaves an audit entry."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.audit import service as audit
from app.audit.reasons import optional_reason, reason_errors, required_reason
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.i18n import LANGUAGES, is_zone
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.unit_of_work import WorkSession
from app.users.models import User
from app.users.passwords import NewPassword
from app.users.validation import Invalid, find_groups, password_errors, profile_errors, username_errors

ADMIN_NAME: Final = "admin"


class FormErrors(InvalidError):
    """Everything wrong with a form, one error a field; reads as its first where one error is wanted."""

    def __init__(self, errors: Sequence[Invalid]) -> None:
        first = errors[0]
        super().__init__(first.code, field=first.field, **first.params)
        self.errors = list(errors)


def get_user(session: ReadSession, user_id: int) -> User:
    """Return the person. Raises NotFoundError('user')."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFoundError("user")
    return user


def find_user(session: ReadSession, username: str) -> User | None:
    """Return the person of that name, whatever its case; None where there is none."""
    return session.scalars(select(User).where(func.lower(User.username) == username.strip().lower())).first()


def get_user_by_name(session: ReadSession, username: str) -> User:
    """Return the person of that name. Raises NotFoundError('user')."""
    user = find_user(session, username)
    if user is None:
        raise NotFoundError("user", field="username", username=username)
    return user


def list_users(
    session: ReadSession, *, text: str = "", role: str = "", state: str = "", cut: Cut | None = None
) -> tuple[Page[User], CappedCount]:
    """Return a page of people by name and how many match. ``text``: part of a name; ``state``: enabled …"""
    filters: list[ColumnElement[bool]] = []
    if text:
        filters.append(
            User.username.icontains(text, autoescape=True)
            | User.display_name.icontains(text, autoescape=True)
        )
    if role:
        filters.append(User.role == role)
    if state:
        filters.append(User.is_enabled == (state == "enabled"))
    order = Order(value=User.username, identity=User.id, is_descending=False)
    return page_of(session, User, filters, order, cut or Cut()), capped_count(session, User, filters)


def visible_group_ids(user: User) -> list[int] | None:
    """Return the ids of the groups this person may see; None: all."""
    if user.sees_all_groups or user.may("admin"):
        return None
    return [group.id for group in user.groups]


def create_user(
    session: WorkSession,
    *,
    actor: Actor,
    username: str,
    role: str,
    display_name: str = "",
    group_codes: Collection[str] = (),
    sees_all_groups: bool = False,
    password: NewPassword,
    locale: str = "zh",
    zone: str = "Asia/Shanghai",
    reason: str = "",
    now: datetime,
) -> User:
    """Make a person. A one-time password is to be changed at the first login.

    Raises InvalidError or FormErrors with the field of each error.
    """
    errors: list[Invalid] = username_errors(username, is_taken=find_user(session, username) is not None)
    errors += profile_errors(role, display_name)
    groups, group_errors = find_groups(session, group_codes)
    errors += group_errors
    if not password.is_one_time:
        errors += password_errors(password.text, username)
    errors += reason_errors(reason, is_required=False)
    if errors:
        raise FormErrors(errors)
    user = User(
        username=username,
        display_name=display_name,
        role=role,
        sees_all_groups=sees_all_groups,
        groups=groups,
        password_hash=password.hash,
        must_change_password=password.is_one_time,
        locale=locale,
        zone=zone,
        created_at=now,
    )
    session.add(user)
    session.flush()
    detail: dict[str, object] = {
        "role": role,
        "groups": sorted(group_codes),
        "sees_all_groups": sees_all_groups,
    }
    _record(session, user, "user.create", actor, now, detail, reason=reason)
    return user


def update_user(
    session: WorkSession,
    user: User,
    *,
    actor: Actor,
    role: str,
    display_name: str,
    group_codes: Collection[str],
    sees_all_groups: bool,
    reason: str = "",
    now: datetime,
) -> None:
    """Change role, name and groups. All but the name takes a reason.

    Raises FormErrors, and ConflictError('last_admin') for their role.
    """
    before, after = _profile(user), (role, display_name, sees_all_groups, sorted(group_codes))
    is_right_changed = (before[0], *before[2:]) != (after[0], *after[2:])
    groups, errors = find_groups(session, group_codes)
    errors = [*profile_errors(role, display_name), *errors]
    errors += reason_errors(reason, is_required=is_right_changed)
    if errors:
        raise FormErrors(errors)
    if role != "admin":
        _keep_an_admin(session, user, field="role")
    user.role, user.display_name, user.sees_all_groups = role, display_name, sees_all_groups
    user.groups = groups
    changed = _changed(("role", "display_name", "sees_all_groups", "groups"), before, after)
    _record(session, user, "user.update", actor, now, changed, reason=reason)


def disable_user(session: WorkSession, user: User, *, actor: Actor, reason: str, now: datetime) -> None:
    """Refuse this person from now on and end their sessions.

    Raises InvalidError for the reason, ConflictError: last_admin, own_account.
    """
    reason = required_reason(reason)
    if actor.id == user.id:
        raise ConflictError("own_account")
    _keep_an_admin(session, user)
    user.is_enabled = False
    user.session_version += 1
    _record(session, user, "user.disable", actor, now, reason=reason)


def enable_user(session: WorkSession, user: User, *, actor: Actor, reason: str = "", now: datetime) -> None:
    """Let this person in again, with the password they had, unlocked.

    Raises InvalidError for the reason, ConflictError('user_is_enabled') where nothing kept them out.
    """
    reason = optional_reason(reason)
    if user.is_enabled and user.locked_until is None:
        raise ConflictError("user_is_enabled", username=user.username)
    user.is_enabled = True
    user.failed_logins, user.locked_until = 0, None
    _record(session, user, "user.enable", actor, now, reason=reason)


def reset_password(
    session: WorkSession, user: User, one_time: NewPassword, *, actor: Actor, reason: str, now: datetime
) -> None:
    """Give this person a one-time password, shown once and never stored; their sessions end.

    Raises InvalidError for the reason.
    """
    reason = required_reason(reason)
    user.password_hash = one_time.hash
    user.must_change_password = True
    user.session_version += 1
    user.failed_logins, user.locked_until = 0, None
    _record(session, user, "user.reset_password", actor, now, reason=reason)


def change_password(
    session: WorkSession,
    user: User,
    *,
    actor: Actor,
    current: str,
    checked_hash: str | None,
    new: NewPassword,
    repeated: str,
    now: datetime,
) -> None:
    """Set a person's own password; their other sessions end. Raises FormErrors.

    ``checked_hash``: the hash that ``current`` fits, None where it does not fit the person's; where it is no
    longer theirs, the password was reset meanwhile and ``current`` is wrong.
    """
    errors: list[Invalid] = []
    if checked_hash is None or user.password_hash != checked_hash:
        errors.append(InvalidError("password_wrong", field="current"))
    errors += password_errors(new.text, user.username, "new")
    if new.text == current and not errors:
        errors.append(InvalidError("password_same", field="new"))
    if new.text != repeated:
        errors.append(InvalidError("password_differs", field="repeated"))
    if errors:
        raise FormErrors(errors)
    user.password_hash = new.hash
    user.must_change_password = False
    user.session_version += 1
    _record(session, user, "user.change_password", actor, now)


def update_settings(
    session: WorkSession,
    user: User,
    *,
    actor: Actor,
    display_name: str,
    locale: str,
    zone: str,
    now: datetime,
) -> None:
    """Change what a person may change of themselves. Raises FormErrors."""
    errors: list[Invalid] = profile_errors(user.role, display_name)
    if locale not in LANGUAGES:
        errors.append(InvalidError("unknown_locale", field="locale"))
    if not is_zone(zone):
        errors.append(InvalidError("unknown_zone", field="zone", zone=zone))
    if errors:
        raise FormErrors(errors)
    before, after = (user.display_name, user.locale, user.zone), (display_name, locale, zone)
    user.display_name, user.locale, user.zone = after
    changed = _changed(("display_name", "locale", "zone"), before, after)
    _record(session, user, "user.settings", actor, now, changed)


def ensure_admin(session: WorkSession, password: NewPassword, now: datetime) -> str | None:
    """Make the first user, ``admin``, where there is nobody; return its one-time password.

    None where nobody was made, or where ``password`` was chosen. Raises InvalidError for a weak one.
    """
    if session.scalars(select(User.id).limit(1)).first() is not None:
        return None
    create_user(
        session,
        actor=SYSTEM,
        username=ADMIN_NAME,
        role="admin",
        sees_all_groups=True,
        password=password,
        now=now,
    )
    return password.text if password.is_one_time else None


def _keep_an_admin(session: Session, user: User, field: str | None = None) -> None:
    """Raise ConflictError('last_admin') where no other enabled admin would be left."""
    if user.role != "admin" or not user.is_enabled:
        return
    others = select(User.id).where(User.role == "admin", User.is_enabled.is_(True), User.id != user.id)
    if session.scalars(others.limit(1)).first() is None:
        raise ConflictError("last_admin", field=field)


def _profile(user: User) -> tuple[str, str, bool, list[str]]:
    codes = sorted(group.sys_code for group in user.groups)
    return user.role, user.display_name, user.sees_all_groups, codes


def _changed(names: Sequence[str], before: Sequence[object], after: Sequence[object]) -> dict[str, object]:
    """Return what an audit entry tells of a change: old and new value by name."""
    return {
        name: [was, is_now] for name, was, is_now in zip(names, before, after, strict=True) if was != is_now
    }


def _record(
    session: WorkSession,
    user: User,
    action: str,
    actor: Actor,
    now: datetime,
    detail: dict[str, object] | None = None,
    *,
    reason: str = "",
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="user",
        object_id=user.id,
        object_name=user.username,
        reason=reason,
        detail=detail,
        now=now,
    )
    session.touch("users", "audit")
