"""A command as its frame says it: only what the agent can read, and its deadline as the time left."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

import msgspec

from agent.message import Message
from agent.protocol import BY_PERSON, MAX_AMOUNT, Collect, Repair, Verify
from app.agents import commands
from app.agents.models import Command

_MESSAGES: Final[dict[str, type[Message]]] = {"Collect": Collect, "Repair": Repair, "Verify": Verify}
FIELD_FEATURES: Final[dict[str, str]] = {"by_person": BY_PERSON, "max_amount_minor": MAX_AMOUNT}
"""Fields of commands that came after the first protocol: the feature an agent names to be sent each."""


def message_of(command: Command, now: datetime, features: Collection[str] = ()) -> Message:
    """Return the command as its frame says it to an agent of these features.

    Raises msgspec.ValidationError when the row is no such message.
    """
    left_ms = max(1, int((command.deadline_at - now).total_seconds() * 1000))
    known = {name: value for name, value in command.message.items() if _is_known(name, features)}
    content: dict[str, Any] = {
        **known,
        "type": command.type,
        "id": commands.message_id_of(command),
        "command_id": command.id,
        "deadline_ms": left_ms,
    }
    if command.type in ("Repair", "Verify"):
        content["fence"] = command.fence
    return msgspec.convert(content, type=_MESSAGES[command.type])


def _is_known(field: str, features: Collection[str]) -> bool:
    return field not in FIELD_FEATURES or FIELD_FEATURES[field] in features
