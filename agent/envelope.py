"""What every message of the agent needs: an id; and the answer to a frame that cannot be taken."""

import uuid
from typing import Final

import msgspec

from agent.protocol import MAX_FRAME_BYTES, Rejected

REASON_CHARACTERS: Final = 500


class _Outline(msgspec.Struct):
    """The two fields that may still be read of a frame that is otherwise wrong."""

    id: str | None = None
    type: str | None = None


_outline: Final = msgspec.json.Decoder(_Outline)


def new_id() -> str:
    """Return an id no other message has."""
    return uuid.uuid4().hex


def rejected(of: str | None, code: str, reason: str, command_id: str | None = None) -> Rejected:
    """Return the answer to a message that was not taken."""
    return Rejected(id=new_id(), command_id=command_id, of=of, code=code, reason=reason[:REASON_CHARACTERS])


def rejection_of(frame: bytes, reason: str) -> Rejected:
    """Return the answer to a frame that cannot be read, naming its id where that much can be read."""
    if len(frame) > MAX_FRAME_BYTES:
        return rejected(None, "too_big", reason)
    try:
        outline = _outline.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return rejected(None, "malformed", reason)
    return rejected(outline.id, "malformed", reason)
