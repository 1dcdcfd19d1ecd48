"""What a drill is asked for, and the times it sets for the processes it kills."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from chaos.drill.wire_faults import Kind, Mix

SYS_CODE: Final = "PBAP"
POOLS: Final = ("threads", "processes")
AGENTS: Final = ("pbap-1", "pbap-2")
RETRY_CRON: Final = "0/2 * * * * ?"
MAX_RETRIES: Final = 3
BANK_DAY_S: Final = 20
PROCESSING_S: Final = 1.0
"""How long a payout stays accepted at the bank."""
MOST_BYTES: Final = 512 * 1024 * 1024
"""No process may ever be larger (I10)."""

STUCK_AFTER: Final = timedelta(seconds=10)
QUIET_FOR: Final = timedelta(seconds=3)
"""So long production may still be at work on a trade in processing, or on any that has changed."""

SERVER_ENVIRONMENT: Final = {
    "PICULUS_HEARTBEAT_SECONDS": "1",
    "PICULUS_LEASE_SECONDS": "5",
    "PICULUS_IN_FLIGHT_LIMIT": "6",
}
AGENT_ENVIRONMENT: Final = {
    "PICULUS_AGENT_AGENT__WORKERS": "2",
    "PICULUS_AGENT_GUARD__STUCK_AFTER": f"{STUCK_AFTER.total_seconds():g}",
    "PICULUS_AGENT_GUARD__QUIET_FOR": f"{QUIET_FOR.total_seconds():g}",
    "PICULUS_AGENT_BANK__NAMES__TIMEOUT_S": "2",
    "PICULUS_AGENT_BANK__NAMES__CONNECT_TIMEOUT_S": "2",
    "PICULUS_AGENT_BANK__NAMES__FAILURE_SETTLES_S": "8",
}

SOCKET_MIX: Final = Mix(
    refused=0.05,
    chunks={
        Kind.DELAY: 0.02,
        Kind.DUPLICATE: 0.001,
        Kind.DROP: 0.001,
        Kind.TRUNCATE: 0.001,
        Kind.HALF_CLOSE: 0.001,
        Kind.STALL: 0.001,
        Kind.RESET: 0.001,
    },
)
"""A socket carries some twenty chunks a second for as long as it lives."""
BANK_MIX: Final = Mix(
    refused=0.02,
    chunks={
        Kind.DELAY: 0.05,
        Kind.DUPLICATE: 0.01,
        Kind.DROP: 0.006,
        Kind.TRUNCATE: 0.006,
        Kind.HALF_CLOSE: 0.006,
        Kind.STALL: 0.006,
        Kind.RESET: 0.006,
    },
)
"""A call to the bank is some four chunks, and a connection carries many calls."""


@dataclass(frozen=True)
class Terms:
    """One drill. ``patience_s``: how long the end may take once every fault is healed (I8).

    ``deduplicates``: whether the bank pays once a number, or each time it is asked, as its agents are told.
    ``pool``: what the workers of an agent are, threads or processes.
    """

    cycles: int
    seed: int
    engine: str = "sqlite"
    isolation: str = "READ COMMITTED"
    healthy: int = 200
    wave: int = 72
    patience_s: float = 300.0
    deduplicates: bool = True
    pool: str = POOLS[0]

    @property
    def bank_mix(self) -> Mix:
        """What befalls the wire to the bank. What it repeats is paid twice by a bank that does not
        de-duplicate, and no agent could hold that back: there nothing is repeated.
        """
        if self.deduplicates:
            return BANK_MIX
        chunks: dict[Kind, float] = {
            kind: odds for kind, odds in BANK_MIX.chunks.items() if kind is not Kind.DUPLICATE
        }
        return replace(BANK_MIX, chunks=chunks)
