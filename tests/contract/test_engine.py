"""The engines an agent opens: what they never do is wait for ever."""

from pathlib import Path

import pytest
from sqlalchemy import text

from agent.adapters import engine as engines
from agent.adapters.engine import open_engine, read
from agent.errors import PortError
from tests.databases import databases

IDLE = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", "30s"),
    "mariadb": ("SELECT @@idle_transaction_timeout", "30"),
}
SLEEPS = {"postgresql": "SELECT pg_sleep(5)", "mariadb": "SELECT sleep(5)"}


@pytest.mark.parametrize("name", SLEEPS)
def test_a_statement_that_takes_too_long_is_given_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "READ_TIMEOUT_S", 0.5)
    with databases(name, tmp_path) as new_database:
        engine = open_engine(new_database(), "READ COMMITTED")
        try:
            with pytest.raises(PortError, match=r"timeout|timed out|Lost connection"):
                read(engine, "sleep", text(SLEEPS[name]))
        finally:
            engine.dispose()


@pytest.mark.parametrize("name", IDLE)
def test_the_server_ends_a_transaction_that_stands_still(name: str, tmp_path: Path) -> None:
    asked, seconds = IDLE[name]
    with databases(name, tmp_path) as new_database:
        engine = open_engine(new_database(), "READ COMMITTED")
        try:
            [[found]] = read(engine, "read a setting", text(asked))
        finally:
            engine.dispose()
    assert str(found).startswith(seconds)
