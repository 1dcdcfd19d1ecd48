"""Passwords: argon2id hashes, and one-time passwords."""

import secrets
from dataclasses import dataclass, field
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import InvalidError

MIN_LENGTH: Final = 10
MAX_LENGTH: Final = 128
ALPHABET: Final = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the letters and figures a person mixes up when copying by hand."""

# OWASP's second recommended setting for argon2id: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY: Final = _hasher.hash(secrets.token_hex(16))


@dataclass(frozen=True)
class NewPassword:
    """A password to be, with its hash. Made before a unit of work: hashing must not hold the write lock."""

    text: str = field(repr=False)
    hash: str = field(repr=False)
    is_one_time: bool = False


def hash_password(password: str) -> str:
    """Return the argon2id hash; takes tens of milliseconds."""
    return _hasher.hash(password)


def matches(password: str, password_hash: str | None) -> bool:
    """Return whether the password fits. ``None`` (nobody of that name) takes as long as a wrong password."""
    try:
        return _hasher.verify(password_hash or _NOBODY, password[:MAX_LENGTH]) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def make_one_time_password() -> NewPassword:
    """Return a random password of about 93 bits, in four groups for reading aloud."""
    text = "-".join("".join(secrets.choice(ALPHABET) for _place in range(4)) for _group in range(4))
    return NewPassword(text, hash_password(text), is_one_time=True)


def choose_password(text: str) -> NewPassword:
    """Return a password somebody chose; whether it will do, check_strength says."""
    return NewPassword(text, hash_password(text[:MAX_LENGTH]))


def check_strength(password: str, username: str, field: str = "password") -> None:
    """Raise InvalidError (password_short, password_long, password_is_name) for a weak password."""
    if len(password) < MIN_LENGTH:
        raise InvalidError("password_short", field=field, limit=MIN_LENGTH)
    if len(password) > MAX_LENGTH:
        raise InvalidError("password_long", field=field, limit=MAX_LENGTH)
    if password.casefold() == username.casefold():
        raise InvalidError("password_is_name", field=field)
