"""Configuration: read once, refused loudly."""

import stat
from pathlib import Path

import pytest

from app.config import ConfigurationError, Settings, read_secret_key, read_settings


def test_the_default_database_lies_in_the_instance(tmp_path: Path) -> None:
    assert Settings(instance=tmp_path).url == f"sqlite:///{tmp_path / 'piculus.db'}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PICULUS_HEARTBEAT_SECONDS", "soon"),
        ("PICULUS_LEASE_SECONDS", "-1"),
        ("PICULUS_LOCALE", "fr"),
        ("PICULUS_IN_FLIGHT_LIMIT", "0"),
    ],
)
def test_nonsense_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        read_settings()


def test_the_secret_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    settings = Settings(instance=tmp_path)
    key = read_secret_key(settings)
    assert read_secret_key(settings) == key
    assert len(key) == 64
    assert stat.S_IMODE((tmp_path / "secrets" / "secret_key").stat().st_mode) == 0o600


def test_a_short_secret_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    with pytest.raises(ConfigurationError, match="shorter"):
        read_secret_key(Settings(instance=tmp_path, secret_key_file=tmp_path / "key"))
