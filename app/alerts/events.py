"""What may be told: the kinds of alerts, how grave they are, and which of them are conditions that last."""

from collections.abc import Mapping
from typing import Final, Literal

NEEDS_HUMAN: Final = "needs_human"
EXHAUSTED: Final = "exhausted"
BREAKER: Final = "breaker"
AGENT_OFFLINE: Final = "agent_offline"
STOP_SWITCH: Final = "stop_switch"
BULK_PAUSED: Final = "bulk_paused"
ORDER_WAITS: Final = "order_waits"

Severity = Literal["failure", "warning", "success", "info"]

SEVERITIES: Final[Mapping[str, Severity]] = {
    NEEDS_HUMAN: "warning",
    EXHAUSTED: "failure",
    BREAKER: "failure",
    AGENT_OFFLINE: "failure",
    STOP_SWITCH: "failure",
    BULK_PAUSED: "warning",
    ORDER_WAITS: "warning",
}
"""How grave a beginning is. failure: repairs stand still, or are given up; warning: a person is asked."""

KINDS: Final = tuple(SEVERITIES)

TRADE_KINDS: Final = (NEEDS_HUMAN, EXHAUSTED)
"""Each event is one trade; the condition lasts while the group has an anomaly in the state of that name."""

LASTING_KINDS: Final = (BREAKER, AGENT_OFFLINE, STOP_SWITCH, BULK_PAUSED, ORDER_WAITS)
"""Each event is one condition, told by its key: raised once, until it is recovered."""


def severity_of(kind: str, *, is_recovery: bool) -> Severity:
    """Return how grave a message is; one that tells of nothing, a test, is info."""
    return "success" if is_recovery else SEVERITIES.get(kind, "info")
