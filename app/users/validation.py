"""What may be said of a person, checked field by field; an empty list means that nothing is wrong."""

import re
from collections.abc import Collection
from typing import Final

from sqlalchemy import select

from app.errors import ConflictError, InvalidError
from app.keyset import ReadSession
from app.users.models import ROLES, SystemGroup
from app.users.passwords import check_strength

Invalid = InvalidError | ConflictError
"""One thing wrong with a form."""

USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,39}")
NAME_LIMIT: Final = 80


def username_errors(username: str, *, is_taken: bool) -> list[Invalid]:
    """Return what is wrong with the name of a new person."""
    if not username:
        return [InvalidError("required", field="username")]
    if not USERNAME.fullmatch(username):
        return [InvalidError("username_format", field="username")]
    if is_taken:
        return [ConflictError("username_taken", field="username", username=username)]
    return []


def profile_errors(role: str, display_name: str) -> list[Invalid]:
    """Return what is wrong with a role and the name shown."""
    errors: list[Invalid] = []
    if role not in ROLES:
        errors.append(InvalidError("unknown_role", field="role"))
    if len(display_name) > NAME_LIMIT:
        errors.append(InvalidError("too_long", field="display_name", limit=NAME_LIMIT))
    return errors


def password_errors(password: str, username: str, field: str = "password") -> list[Invalid]:
    """Return what is wrong with a password somebody chose."""
    try:
        check_strength(password, username, field)
    except InvalidError as error:
        return [error]
    return []


def find_groups(session: ReadSession, codes: Collection[str]) -> tuple[list[SystemGroup], list[Invalid]]:
    """Return the groups of these codes, and an error for each code that no group has."""
    groups = list(session.scalars(select(SystemGroup).where(SystemGroup.sys_code.in_(list(codes)))))
    unknown = sorted(set(codes) - {group.sys_code for group in groups})
    return groups, [InvalidError("unknown_group", field="groups", sys_code=code) for code in unknown]
