"""The types of frames, and what a frame says."""

from typing import Any, Final

import msgspec

from app.agents.frames import UNREADABLE

DIRECTIONS = ("in", "out")
TYPES_TO_AGENT = ("Welcome", "Collect", "Repair", "Verify", "Cancel")
TYPES_TO_SERVER = (
    "Hello",
    "Heartbeat",
    "Started",
    "StepRecorded",
    "CollectProgress",
    "AnomaliesReported",
    "CollectFinished",
    "FactsRead",
    "RepairFinished",
    "Cancelled",
    "Log",
)
TYPES = (*TYPES_TO_AGENT, *TYPES_TO_SERVER, "Ack", "Rejected", UNREADABLE)
COMMAND_TYPES = ("Collect", "Repair", "Verify")
DEEPEST: Final = 40
"""Values within values are shown so deep; messages of the protocol are far below it."""


def content_of(body: str) -> Any:
    """Return what a frame says as JSON values; the text as it came where it is no JSON or too deep."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    return content if _is_within(content, DEEPEST) else body


def _is_within(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_within(one, depth - 1) for one in inner)
