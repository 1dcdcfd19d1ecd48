"""What may be told: the kinds of alerts, and which of them are conditions that last."""

from typing import Final

NEEDS_HUMAN: Final = "needs_human"
EXHAUSTED: Final = "exhausted"
BREAKER: Final = "breaker"
AGENT_OFFLINE: Final = "agent_offline"
STOP_SWITCH: Final = "stop_switch"
BULK_PAUSED: Final = "bulk_paused"
ORDER_WAITS: Final = "order_waits"

KINDS: Final = (NEEDS_HUMAN, EXHAUSTED, BREAKER, AGENT_OFFLINE, STOP_SWITCH, BULK_PAUSED, ORDER_WAITS)

TRADE_KINDS: Final = (NEEDS_HUMAN, EXHAUSTED)
"""Each event is one trade; the condition lasts while the group has an anomaly in the state of that name."""

LASTING_KINDS: Final = (BREAKER, AGENT_OFFLINE, STOP_SWITCH, BULK_PAUSED, ORDER_WAITS)
"""Each event is one condition, told by its key: raised once, until it is recovered."""
