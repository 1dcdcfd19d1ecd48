"""What every message carries, and the values that messages are made of."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""How many, or a number that counts from 0."""
Milliseconds = Annotated[int, Meta(ge=0, le=2**40)]
Code = Annotated[str, Meta(min_length=1, max_length=80)]
"""A fixer code."""
StepName = Annotated[str, Meta(min_length=1, max_length=40)]
Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")]
"""A time in ISO 8601 with its zone."""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every message carries: its version, its own id, and the command it belongs to."""

    v: Literal[1] = 1
    id: str
    command_id: str | None = None
