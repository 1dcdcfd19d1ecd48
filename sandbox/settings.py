"""Where the sandbox lives: files under ``instance/sandbox/``, or what the environment names instead."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SettingsError

SYSTEM_GROUPS = ("PBAP", "PBMS")
DEFAULT_BANK_PORT = 5010
BANK_DAY_SECONDS = 60


@dataclass(frozen=True)
class GroupUrls:
    """SQLAlchemy URLs of one group's two databases."""

    trade: str
    ledger: str


@dataclass(frozen=True)
class Settings:
    """Everything read once at start; ``notice_port`` is where the trade systems hear the bank."""

    directory: Path
    groups: Mapping[str, GroupUrls]
    bank_database: Path
    bank_port: int
    bank_token: str

    @property
    def bank_url(self) -> str:
        return f"http://127.0.0.1:{self.bank_port}"

    @property
    def notice_port(self) -> int:
        return self.bank_port + 1

    @property
    def bank_port_file(self) -> Path:
        """Where a running bank writes the port it listens on."""
        return bank_port_file(self.directory)


def file_urls(directory: Path, sys_code: str) -> GroupUrls:
    """The default: two SQLite files a group."""
    stem = directory.resolve() / sys_code.lower()
    return GroupUrls(f"sqlite:///{stem}.db", f"sqlite:///{stem}_ledger.db")


def bank_port_file(directory: Path) -> Path:
    return directory / "bank_port"


def read_settings(instance: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError for a port that is none; makes the bank's token when there is none yet.

    The bank's port is what the environment says, else where a bank of this instance listens, else 5010.
    """
    directory = instance / "sandbox"
    groups = {}
    for code in SYSTEM_GROUPS:
        files = file_urls(directory, code)
        groups[code] = GroupUrls(
            environ.get(f"PICULUS_SANDBOX_{code}_TRADE_URL") or files.trade,
            environ.get(f"PICULUS_SANDBOX_{code}_LEDGER_URL") or files.ledger,
        )
    token = environ.get("PICULUS_SANDBOX_BANK_TOKEN") or bank_token(instance)
    return Settings(directory, groups, directory / "bank.db", _port(environ, directory), token)


def _port(environ: Mapping[str, str], directory: Path) -> int:
    named = environ.get("PICULUS_SANDBOX_BANK_PORT")
    written = bank_port_file(directory)
    if named:
        return _as_port(named, "PICULUS_SANDBOX_BANK_PORT")
    return _as_port(written.read_text().strip(), str(written)) if written.exists() else DEFAULT_BANK_PORT


def _as_port(text: str, source: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65535):
        raise SettingsError(f"{source} is not a port: {text!r}")
    return int(text)


def bank_token(instance: Path) -> str:
    """The token of ``secrets/bank_token``, written on first use, readable by the owner only."""
    path = instance / "secrets" / "bank_token"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        pass
    token = path.read_text().strip()
    if not token:
        raise SettingsError(f"{path} is empty: delete it, or write a token into it")
    return token
