"""Money as an integer of minor units (fen) beside a currency."""

from typing import Final

import msgspec

MAX_MINOR: Final = 10**15
"""More than this in one trade is taken as malformed (ten trillion yuan)."""


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units; ``Money(1050, "CNY")`` is 10.50 yuan."""

    minor: int
    currency: str = "CNY"


def parse_minor(value: object) -> int | None:
    """Return a stored amount as minor units, or None where it is missing, negative, zero or malformed.

    Accepts an int, or a text of digits only; a float is malformed, because it has lost its fen.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or not 0 < value <= MAX_MINOR:
        return None
    return value
