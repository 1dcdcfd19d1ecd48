"""Money as an integer of minor units (fen) beside a currency."""

import re
from typing import Final

import msgspec

MAX_MINOR: Final = 10**15
"""More than this in one trade is taken as malformed (ten trillion yuan)."""


NOT_FEN: Final = "has decimals and so is not in fen"
"""Told behind an amount of which ``has_decimals`` is true."""
_DECIMALS: Final = re.compile(r"-?[0-9]+\.[0-9]+")


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
        value = read_digits(value)
    if not isinstance(value, int) or not 0 < value <= MAX_MINOR:
        return None
    return value


def read_digits(digits: str) -> int:
    """Return the number, or MAX_MINOR + 1 where it is longer than that: of thousands Python reads none."""
    significant = digits.lstrip("0")
    return int(significant or 0) if len(significant) <= len(str(MAX_MINOR)) else MAX_MINOR + 1


def has_decimals(value: object) -> bool:
    """Whether a stored amount is written with a fraction, also one of zeros.

    It then counts a larger unit: read as fen, ``1000.00`` yuan would be paid as ten.
    """
    return isinstance(value, str) and _DECIMALS.fullmatch(value) is not None
