"""What agents say, as every database keeps it: PostgreSQL refuses NUL in a text.

A bank's answer, or a row's text that a reason repeats, may hold one. Refused by the database, a result would
be sent again for ever and never be taken.
"""

from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs

from agent.facts import Facts

S = TypeVar("S", bound=msgspec.Struct)

NUL: Final = "\0"
IN_JSON: Final = r"\u0000"
"""As a frame spells it: one without this holds none."""


def without_nul(said: S) -> S:
    """Return a message with its own words free of NUL.

    Rows and facts stay as they were read: they are kept as JSON, and compared with what agents read. So do
    trade numbers, or two of them could be taken for one.
    """
    changed: dict[str, Any] = {}
    for name in said.__struct_fields__:
        value = getattr(said, name)
        kept = value if name == "trade_no" else _kept(value)
        if kept != value:
            changed[name] = kept
    return structs.replace(said, **changed) if changed else said


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NUL, "") if NUL in value else value
    if isinstance(value, tuple):
        return tuple(_kept(one) for one in value)
    if isinstance(value, msgspec.Struct) and not isinstance(value, Facts):
        return without_nul(value)
    return value
