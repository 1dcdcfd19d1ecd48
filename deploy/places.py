"""Where things lie, and the addresses things listen on."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTANCE = Path(os.environ.get("PICULUS_INSTANCE", ROOT / "instance")).resolve()
SECRETS = INSTANCE / "secrets"
AGENTS = INSTANCE / "agents"
SANDBOX = INSTANCE / "sandbox"
LOGS = INSTANCE / "logs"


PRIVATE = 0o077
"""The umask of the demo: what it writes holds trades and secrets."""


class PortError(ValueError):
    """What stands for a port is none."""


def server_port(environ: Mapping[str, str] = os.environ) -> int:
    """The port of the server: PORT, else 5000. Raises PortError."""
    return _port("PORT", environ.get("PORT") or "5000")


def bank_port(environ: Mapping[str, str] = os.environ) -> int:
    """The port of the sandbox bank: PICULUS_SANDBOX_BANK_PORT, else ten above the server's. Raises PortError.

    Its notices arrive one port above.
    """
    named = environ.get("PICULUS_SANDBOX_BANK_PORT")
    return _port("PICULUS_SANDBOX_BANK_PORT", named or str(server_port(environ) + 10))


def _port(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65535):
        raise PortError(f"{variable} is no port from 1 to 65534: {text}")
    return int(text)


def is_taken(port: int) -> bool:
    """Whether something listens on the port of this machine already."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
