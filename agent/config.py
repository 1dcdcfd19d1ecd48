"""The agent's configuration: one TOML file, overridden by the environment, read once.

``PICULUS_AGENT_SERVER__TOKEN=…`` overrides ``token`` in ``[server]``; a list, or a table of amounts by
currency, is written as TOML writes it.
Any wrong key, type or missing secret raises ConfigurationError in one line that names file and key.
Relative paths are meant from the folder of the file. agent.example.toml explains every key.
"""

import re
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from agent.adapters.names import BankNames, LedgerNames, TradeNames
from agent.errors import ConfigurationError

PREFIX: Final = "PICULUS_AGENT_"
CONFIG_VARIABLE: Final = "PICULUS_AGENT_CONFIG"
"""Names the file itself, so it overrides nothing."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Minor = Annotated[int, msgspec.Meta(ge=0)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
Code = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,32}$")]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class AgentSection(_Section, frozen=True, kw_only=True):
    """``fixers`` None offers every fixer; ``entry_points`` are fixers of other packages, by name.

    ``stop_file`` None: the file ``stop`` beside the journal. ``workers``: repairs at a time, each by a thread
    of the agent or, ``pool``, by a process of its own.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    sys_code: Code
    journal: Annotated[str, msgspec.Meta(min_length=1)]
    stop_file: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    pool: Literal["threads", "processes"] = "threads"
    fixers: tuple[str, ...] | None = None
    entry_points: tuple[str, ...] = ()


class ServerSection(_Section, frozen=True, kw_only=True):
    """Where the server is; ``ca_file`` is for a certificate that the machine does not know."""

    url: Annotated[str, msgspec.Meta(pattern="^wss?://")]
    token: str | None = None
    token_file: str | None = None
    ca_file: str | None = None


class GuardSection(_Section, frozen=True, kw_only=True):
    """When a trade may be touched at all, in seconds of production's clock."""

    stuck_after: Seconds = 1800
    quiet_for: Seconds = 600


class LimitsSection(_Section, frozen=True, kw_only=True):
    """What this agent does at most, whatever the server asks. Amounts are minor units by currency."""

    fixers: tuple[str, ...] | None = None
    max_age_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 90
    max_amount_minor: dict[Currency, Minor] = {}
    max_amount_minor_per_hour: dict[Currency, Minor] = {}
    max_amount_minor_per_day: dict[Currency, Minor] = {}
    max_trades_per_hour: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_trades_per_day: Annotated[int, msgspec.Meta(ge=0)] | None = None


class TradesSection(_Section, frozen=True, kw_only=True):
    """The trade database, as a SQLAlchemy URL."""

    url: str | None = None
    url_file: str | None = None
    names: TradeNames = TradeNames()


class LedgerSection(_Section, frozen=True, kw_only=True):
    """The ledger database, as a SQLAlchemy URL."""

    url: str | None = None
    url_file: str | None = None
    names: LedgerNames = LedgerNames()


class BankSection(_Section, frozen=True, kw_only=True):
    """The bank's HTTP interface."""

    base_url: Annotated[str, msgspec.Meta(pattern="^https?://")]
    token: str | None = None
    token_file: str | None = None
    names: BankNames = BankNames()


class Tables(_Section, frozen=True, kw_only=True):
    """The whole file."""

    agent: AgentSection
    server: ServerSection
    trades: TradesSection
    ledger: LedgerSection
    bank: BankSection
    guard: GuardSection = GuardSection()
    limits: LimitsSection = LimitsSection()


class Configuration(msgspec.Struct, frozen=True):
    """The configuration as read from ``file``. A secret is read when it is asked for."""

    file: Path
    tables: Tables

    @property
    def journal(self) -> Path:
        """Where the journal lies."""
        return self._path(self.tables.agent.journal)

    @property
    def stop_file(self) -> Path:
        """Where the file lies whose presence stops this agent."""
        named = self.tables.agent.stop_file
        return self.journal.parent / "stop" if named is None else self._path(named)

    def ca_file(self) -> str | None:
        """Certificates to trust, or None for the machine's own. Raises ConfigurationError."""
        named = self.tables.server.ca_file
        if not named:
            return None
        path = self._path(named)
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise ConfigurationError(f"{self.file}: server.ca_file cannot be read: {error}") from error
        return str(path)

    @property
    def server_url(self) -> str:
        """The address of the agents' endpoint; without a path it is ``/agent``."""
        url = self.tables.server.url
        return url if urlsplit(url).path not in ("", "/") else url.rstrip("/") + "/agent"

    def server_token(self) -> str:
        """The agent's token. Raises ConfigurationError."""
        return self._secret("server.token", self.tables.server.token, self.tables.server.token_file)

    def trades_url(self) -> str:
        """The trade database. Raises ConfigurationError."""
        return self._secret("trades.url", self.tables.trades.url, self.tables.trades.url_file)

    def ledger_url(self) -> str:
        """The ledger database. Raises ConfigurationError."""
        return self._secret("ledger.url", self.tables.ledger.url, self.tables.ledger.url_file)

    def bank_token(self) -> str:
        """The bank's token. Raises ConfigurationError."""
        return self._secret("bank.token", self.tables.bank.token, self.tables.bank.token_file)

    def _path(self, named: str) -> Path:
        return self.file.parent / Path(named).expanduser()

    def _secret(self, key: str, value: str | None, file: str | None) -> str:
        if value is not None and file is not None:
            raise ConfigurationError(f"{self.file}: {key} and {key}_file are both set; keep one")
        if file is not None:
            try:
                value = self._path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{self.file}: {key}_file cannot be read: {error}") from error
        if not value:
            raise ConfigurationError(f"{self.file}: {key} (or {key}_file) is missing")
        return value


def load(file: Path, environment: Mapping[str, str]) -> Configuration:
    """Read the file and what the environment overrides. Raises ConfigurationError."""
    try:
        with file.open("rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: is not TOML: {error}") from error
    for variable, value in sorted(environment.items()):
        if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE:
            _override(content, variable, value)
    try:
        tables = msgspec.convert(content, Tables)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{file}: {_explain(error)}") from error
    _check_address(file, "server.url", tables.server.url)
    _check_address(file, "bank.base_url", tables.bank.base_url)
    return Configuration(file, tables)


def _check_address(file: Path, key: str, url: str) -> None:
    """Raises ConfigurationError unless the address names a host, and a port that is one if any."""
    try:
        is_whole = bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ConfigurationError(f"{file}: {key}: {url} names no host and port")


def _override(content: dict[str, Any], variable: str, value: str) -> None:
    """Put a variable's value where it belongs, as the type that stands there."""
    *sections, key = variable.removeprefix(PREFIX).lower().split("__")
    wanted: Any = Tables
    for name in (*sections, key):
        fields = {field.name: field.type for field in _fields(wanted)}
        if name not in fields:
            raise ConfigurationError(f"{variable}: there is no key {'.'.join((*sections, key))}")
        wanted = fields[name]
    try:
        typed = msgspec.convert(_list_or_text(value), wanted, strict=False)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{variable}: {error}") from error
    for name in sections:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise ConfigurationError(f"{variable}: {name} is no table in the file")
    content[key] = msgspec.to_builtins(typed)


def _fields(wanted: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    is_struct = isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)
    return msgspec.structs.fields(wanted) if is_struct else ()


def _list_or_text(value: str) -> object:
    is_toml = value.lstrip().startswith(("[", "{"))
    return tomllib.loads(f"value = {value}")["value"] if is_toml else value


def _explain(error: msgspec.ValidationError) -> str:
    """Turn msgspec's "… - at `$.agent.workers`" into "agent.workers: …"."""
    text, _, place = str(error).partition(" - at `$")
    place = place.strip("`.")
    field = re.fullmatch(r"Object (contains unknown|missing required) field `(\w+)`", text)
    if field:
        verdict = "there is no such key" if field[1] == "contains unknown" else "is missing"
        return f"{'.'.join(filter(None, (place, field[2])))}: {verdict}"
    return f"{place}: {text.replace('`', '')}"
