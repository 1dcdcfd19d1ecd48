"""The server's configuration, read once from the environment (prefix ``PICULUS_``); nonsense fails loudly."""

import os
import secrets
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class ConfigurationError(Exception):
    """The environment holds a value the server cannot run with."""


class Settings(BaseSettings):
    """Every knob of the server. Times are seconds; ages are days.

    ``heartbeat_seconds`` is what Welcome tells the agents, ``lease_seconds`` how long a command survives
    without one, ``in_flight_limit`` how many commands an agent holds at once. ``frame_rows_cap`` bounds the
    frame table whatever the ages say. ``environment_name`` is shown in the header: sandbox or production in
    the reader's language, another as it is; empty shows nothing. ``public_url`` is where people reach this
    console: alerts link to it; empty leaves links out. ``alert_days``: how long sent alerts are kept.
    """

    model_config = SettingsConfigDict(env_prefix="PICULUS_", frozen=True, extra="ignore")

    instance: Path = ROOT / "instance"
    database_url: str = ""
    secret_key_file: Path | None = None
    environment_name: str = Field(default="", max_length=20)
    locale: Literal["zh", "en"] = "zh"
    zone: str = "Asia/Shanghai"
    public_url: str = Field(default="", max_length=200, pattern=r"^(https?://[^\s/]+(/[^\s]*)?)?$")
    is_behind_proxy: bool = False
    is_cookie_secure: bool = False

    heartbeat_seconds: float = Field(default=10, ge=0.2, le=300)
    lease_seconds: float = Field(default=60, ge=1, le=3600)
    in_flight_limit: int = Field(default=32, ge=1, le=1000)
    output_limit_bytes: int = Field(default=2 * 1024 * 1024, ge=512 * 1024)

    heartbeat_frame_days: float = Field(default=1, gt=0)
    frame_days: float = Field(default=30, gt=0)
    frame_rows_cap: int = Field(default=5_000_000, ge=1000)
    received_message_days: float = Field(default=30, gt=0)
    tick_days: float = Field(default=90, gt=0)
    alert_days: float = Field(default=180, gt=0)

    @field_validator("instance")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().resolve()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database; the default is ``piculus.db`` in the instance folder."""
        return self.database_url or f"sqlite:///{self.database_file}"

    @property
    def database_file(self) -> Path:
        """Where the default database lies."""
        return self.instance / "piculus.db"

    @property
    def secrets_folder(self) -> Path:
        """Where secrets lie, readable by this user only."""
        return self.instance / "secrets"

    @property
    def lock_file(self) -> Path:
        """Held by the one server process of this instance."""
        return self.instance / "server.lock"


def read_settings(**values: Any) -> Settings:
    """Read the environment; ``values`` win over it. Raises ConfigurationError naming each wrong variable."""
    try:
        return Settings(**values)
    except ValidationError as error:
        wrong = "; ".join(
            f"PICULUS_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}"
            for one in error.errors()
        )
        raise ConfigurationError(wrong) from error


def read_secret_key(settings: Settings) -> str:
    """Return the key that signs sessions, made at the first call (file mode 0600).

    Raises ConfigurationError.
    """
    path = settings.secret_key_file or settings.secrets_folder / "secret_key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
        key = path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read the secret key {path}: {error}") from error
    if len(key) < 32:
        raise ConfigurationError(f"the secret key in {path} is shorter than 32 characters")
    return key
