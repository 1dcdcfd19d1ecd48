"""What the drill's bank does wrong, by per cent of calls, until it is healed."""

from typing import Final

from sandbox.bank.client import BankClient
from sandbox.errors import BankError, BankUnreachableError

LONGER_THAN_AGENTS_WAIT_S: Final = 3.0
SETTLED_IN_S: Final = 3.0

FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"kind": "timeout_before", "percent": 4, "seconds": LONGER_THAN_AGENTS_WAIT_S},
    {"kind": "timeout_after", "percent": 6, "seconds": LONGER_THAN_AGENTS_WAIT_S},
    {"kind": "html", "percent": 3, "accept": True},
    {"kind": "html", "percent": 2},
    {"kind": "server_error", "percent": 4, "accept": True},
    {"kind": "server_error", "percent": 3},
    {"kind": "reject", "percent": 8, "code": "E1003"},
    # It fails, and turns to success before the agents believe the failure.
    {"kind": "late_success", "percent": 12, "seconds": SETTLED_IN_S},
    {"kind": "slow", "percent": 30, "seconds": 0.5},
    {"kind": "timeout_before", "operation": "inquiry", "percent": 2, "seconds": LONGER_THAN_AGENTS_WAIT_S},
    {"kind": "html", "operation": "inquiry", "percent": 2},
    {"kind": "server_error", "operation": "inquiry", "percent": 2},
    {"kind": "unknown_code", "operation": "inquiry", "percent": 1},
    {"kind": "slow", "operation": "inquiry", "percent": 40, "seconds": 0.4},
    {"kind": "html", "operation": "settlement", "percent": 5},
    {"kind": "wrong_amount", "operation": "settlement", "percent": 3},
)
"""One that fits happens; a damaged settlement file is one whose trailer proves nothing."""


def switch_on(client: BankClient) -> bool:
    """Switch every fault on; return whether the bank answered. Those of before are forgotten."""
    try:
        client.call("DELETE", "/faults")
        for fault in FAULTS:
            client.call("POST", "/faults", fault)
    except (BankError, BankUnreachableError):
        return False
    return True


def switch_off(client: BankClient) -> bool:
    """Switch every fault off; return whether the bank answered."""
    try:
        client.call("DELETE", "/faults")
    except (BankError, BankUnreachableError):
        return False
    return True
