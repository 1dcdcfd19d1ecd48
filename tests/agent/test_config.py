"""The agent's configuration: what is read, what is refused and in which words."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.config import Configuration, load
from agent.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[2] / "agent" / "agent.example.toml"
MINIMAL = """
[agent]
name = "pbap-1"
sys_code = "PBAP"
journal = "journal.db"
[server]
url = "ws://127.0.0.1:5000"
token = "secret-of-the-agent"
[trades]
url = "sqlite:///trades.db"
[ledger]
url = "sqlite:///ledger.db"
[bank]
base_url = "http://127.0.0.1:5010"
token_file = "bank.token"
"""


def read(folder: Path, text: str = MINIMAL, **environment: str) -> Configuration:
    file = folder / "agent.toml"
    file.write_text(text)
    return load(file, environment)


def test_a_minimal_file_has_the_documented_defaults(tmp_path: Path) -> None:
    tables = read(tmp_path).tables
    assert (tables.agent.workers, tables.agent.fixers) == (4, None)
    assert (tables.guard.stuck_after, tables.guard.quiet_for) == (1800, 600)
    assert tables.trades.names.table == "TPBAP_TRD_ACC_TRADE"
    assert (tables.limits.max_age_days, tables.limits.max_amount_minor) == (90, {})
    assert read(tmp_path).stop_file == tmp_path / "stop"


def test_the_example_is_right(tmp_path: Path) -> None:
    assert read(tmp_path, EXAMPLE.read_text()).tables.agent.sys_code == "PBAP"


def test_the_example_shows_every_key_with_its_default(tmp_path: Path) -> None:
    shown = re.sub(r"(?m)^# (?=\w+ = )", "", EXAMPLE.read_text())
    assert sorted(_unexplained("", tomllib.loads(shown), read(tmp_path, shown).tables)) == []


def _unexplained(prefix: str, shown: dict[str, Any], tables: msgspec.Struct) -> Iterator[str]:
    """Keys that the example leaves out, or shows with another value than their default."""
    for field in msgspec.structs.fields(tables):
        key, value = prefix + field.name, getattr(tables, field.name)
        if field.name in ("url", "token"):
            continue  # shown as url_file and token_file
        if field.name not in shown:
            yield key
        elif isinstance(value, msgspec.Struct):
            yield from _unexplained(f"{key}.", shown[field.name], value)
        elif field.default not in (msgspec.NODEFAULT, None, value):
            yield f"{key} is {field.default} by default"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    read_back = read(
        tmp_path,
        PICULUS_AGENT_AGENT__WORKERS="7",
        PICULUS_AGENT_AGENT__FIXERS='["interRecharge", "rechargeFailed"]',
        PICULUS_AGENT_GUARD__QUIET_FOR="1.5",
        PICULUS_AGENT_SERVER__TOKEN="12345",
        PICULUS_AGENT_TRADES__NAMES__COLUMNS__AMOUNT="FEN",
        PICULUS_AGENT_BANK__NAMES__DEDUPLICATES="false",
        PICULUS_AGENT_BANK__NAMES__FAILURE_SETTLES_S="900",
        PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR="{CNY = 5000, USD = 0}",
        PICULUS_AGENT_LIMITS__MAX_TRADES_PER_HOUR="3",
        PICULUS_AGENT_AGENT__STOP_FILE="/run/piculus.stop",
        PICULUS_AGENT_CONFIG="elsewhere.toml",
        PATH="/bin",
    )
    tables = read_back.tables
    assert tables.agent.workers == 7
    assert tables.agent.fixers == ("interRecharge", "rechargeFailed")
    assert tables.guard.quiet_for == 1.5
    assert read_back.server_token() == "12345"
    assert tables.trades.names.columns.amount == "FEN"
    assert tables.bank.names.deduplicates is False
    assert tables.bank.names.failure_settles_s == 900.0
    assert tables.limits.max_amount_minor == {"CNY": 5000, "USD": 0}
    assert tables.limits.max_trades_per_hour == 3
    assert read_back.stop_file == Path("/run/piculus.stop")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "pbap-1"', 'nmae = "pbap-1"', "agent.nmae: there is no such key"),
        ('name = "pbap-1"', "", "agent.name: is missing"),
        ('name = "pbap-1"', "name = 7", "agent.name: Expected str, got int"),
        ('name = "pbap-1"', 'name = "a"\nworkers = "four"', "agent.workers: Expected int, got str"),
        ('sys_code = "PBAP"', 'sys_code = "P:B"', "agent.sys_code: "),
        ("ws://", "http://", "server.url: "),
        ("[bank]", "[bonk]", "bonk: there is no such key"),
        ("[bank]", "[limits]\nmax_age_days = 0\n[bank]", "limits.max_age_days: "),
        ("[bank]", "[limits]\nmax_amount_minor = { CNY = -1 }\n[bank]", "limits.max_amount_minor"),
        ("[bank]", "[limits]\nmax_amount_minor = { yuan = 1 }\n[bank]", "limits.max_amount_minor"),
        ("[bank]", "[bank", "is not TOML"),
        ('token_file = "bank.token"', "names = {failure_settles_s = -1}", "bank.names.failure_settles_s: "),
        ('journal = "journal.db"', 'journal = ""', "agent.journal: "),
        ("ws://", "ws://:", "server.url: "),
        ("127.0.0.1:5000", "127.0.0.1:99999", "server.url: "),
        ("http://", "http:///", "bank.base_url: "),
        *(
            ('token_file = "bank.token"', f"names = {{{name} = {value}}}", f"bank.names.{name}: ")
            for name, value in (("timeout_s", -1), ("timeout_s", "nan"), ("connections", 0))
        ),
        ("[ledger]", "[trades.names.codes]\nbooked = 0\n[ledger]", "trades.names.codes: not_booked, booked"),
        (
            "[ledger]",
            '[trades.names.codes]\nwithdraw = "recharge"\n[ledger]',
            "recharge, withdraw must differ",
        ),
        ("[ledger]", '[trades.names.codes]\nnumber_first = "z-a"\n[ledger]', "number_first"),
        ("[ledger]", "[trades.names.codes]\nnumber_shortest = 41\n[ledger]", "number_shortest"),
        ("[ledger]", '[trades.names]\nisolation = "AUTOCOMMIT"\n[ledger]', "trades.names.isolation: "),
    ],
)
def test_a_wrong_key_or_type_is_named_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, MINIMAL.replace(old, new))
    assert said in str(refused.value)
    assert "agent.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PICULUS_AGENT_AGENT__WORKERS", "many"),
        ("PICULUS_AGENT_AGENT__FIXERS", "[interRecharge"),
        ("PICULUS_AGENT_TOKEN", "secret"),
        ("PICULUS_AGENT_SERVER__TOKEN__FILE", "x"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        read(tmp_path, **{variable: value})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: cannot be read"):
        load(tmp_path / "nowhere.toml", {})


def test_a_secret_comes_from_its_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "bank.token").write_text("tok\n")
    assert read(tmp_path).bank_token() == "tok"
    assert read(tmp_path).journal == tmp_path / "journal.db"


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"bank\.token_file cannot be read"):
        read(tmp_path).bank_token()
    (tmp_path / "bank.token").write_text("\n")
    with pytest.raises(ConfigurationError, match=r"bank\.token \(or bank\.token_file\) is missing"):
        read(tmp_path).bank_token()
    without = MINIMAL.replace('token = "secret-of-the-agent"', "")
    with pytest.raises(ConfigurationError, match=r"server\.token \(or server\.token_file\) is missing"):
        read(tmp_path, without).server_token()


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    twice = MINIMAL.replace("[trades]\n", '[trades]\nurl_file = "u"\n')
    with pytest.raises(ConfigurationError, match=r"trades\.url and trades\.url_file are both set"):
        read(tmp_path, twice).trades_url()


def test_the_agents_endpoint_is_the_default_path(tmp_path: Path) -> None:
    assert read(tmp_path).server_url == "ws://127.0.0.1:5000/agent"
    other = MINIMAL.replace("5000", "5000/deep/agent")
    assert read(tmp_path, other).server_url == "ws://127.0.0.1:5000/deep/agent"
