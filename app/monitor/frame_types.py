"""The types of frames, and what a frame says."""

from typing import Any

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


def content_of(body: str) -> Any:
    """Return what a frame says as JSON values; the text as it came where it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
