"""``python -m agent`` from the outside: its commands, their words and exit codes."""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from agent.__main__ import assemble, main
from agent.config import load
from agent.fixers.order import Limits
from agent.journal import Journal
from agent.protocol import AgentLimits, decode_to_server, encode
from agent.wiring import offered_fixers, repair_settings

PATIENCE = 60.0
CONFIGURATION = """
[agent]
name = "pbap-1"
sys_code = "PBAP"
journal = "journal.db"
[server]
url = "ws://127.0.0.1:9"
token = "secret-of-the-agent"
[trades]
url = "sqlite:///{folder}/trades.db"
[ledger]
url = "sqlite:///{folder}/ledger.db"
[bank]
base_url = "http://127.0.0.1:9"
token = "secret-of-the-bank"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text(CONFIGURATION.format(folder=tmp_path))
    return file


def call(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["ddl"]])
def test_a_wrong_configuration_is_one_line_and_exit_2(file: Path, command: list[str]) -> None:
    file.write_text(file.read_text().replace("sys_code", "sysCode"))
    done = call("--config", file, *command)
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [f"agent: {file}: agent.sysCode: there is no such key"]


def test_a_missing_secret_is_one_line_and_exit_2(file: Path) -> None:
    file.write_text(file.read_text().replace('token = "secret-of-the-bank"', ""))
    done = call("--config", file)
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [f"agent: {file}: bank.token (or bank.token_file) is missing"]


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "nonsense"])
def test_a_certificate_of_no_use_is_one_line_and_exit_2(file: Path, content: str | None) -> None:
    if content is not None:
        (file.parent / "ca.pem").write_text(content)
    done = call("--config", file, PICULUS_AGENT_SERVER__CA_FILE="ca.pem")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"agent: {file}: server.ca_file cannot be read: ")


def test_a_fixer_nobody_has_is_named(file: Path) -> None:
    done = call("--config", file, PICULUS_AGENT_AGENT__FIXERS='["nobody"]')
    assert done.exit_code == 2
    assert "agent.fixers: there is no fixer nobody" in done.stderr


def test_a_database_that_is_none_is_named(file: Path) -> None:
    done = call("--config", file, PICULUS_AGENT_TRADES__URL="oracle://db")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"agent: {file}: trades: ")


def test_a_journal_in_use_is_one_line_and_exit_5(file: Path) -> None:
    journal = Journal(file.parent / "journal.db")
    done = call("--config", file)
    journal.close()
    assert done.exit_code == 5
    assert "in use by another agent process" in done.stderr


def test_check_names_everything_that_is_wrong_and_no_secret(file: Path) -> None:
    done = call("--config", file, "check")
    assert done.exit_code == 1
    lines = {line.split()[1]: line.split()[0] for line in done.stdout.splitlines()}
    assert lines == {
        "fixers": "ok",
        "trades": "FAIL",
        "ledger": "FAIL",
        "bank": "FAIL",
        "clocks": "FAIL",
        "server": "FAIL",
        "journal": "ok",
        "stop": "ok",
    }
    assert "secret" not in done.output
    assert not (file.parent / "journal.db").exists()
    assert not (file.parent / "trades.db").exists()


def test_check_beside_the_running_agent_finds_its_journal_well(file: Path) -> None:
    journal = Journal(file.parent / "journal.db")
    done = call("--config", file, "check")
    journal.close()
    (told,) = [each for each in done.stdout.splitlines() if each.split()[1] == "journal"]
    assert told.startswith("ok")
    assert "in use: the agent is running" in told


@pytest.mark.parametrize(
    ("subject", "line"),
    [("bank", 'token = "secret-of-the-bank"'), ("server", 'token = "secret-of-the-agent"')],
)
def test_check_says_which_secret_is_missing_and_exits_2(file: Path, subject: str, line: str) -> None:
    file.write_text(file.read_text().replace(line, ""))
    done = call("--config", file, "check")
    assert done.exit_code == 2
    (told,) = [each for each in done.stdout.splitlines() if each.split()[1] == subject]
    assert told.startswith("FAIL")
    assert f"{subject}.token (or {subject}.token_file) is missing" in told


def test_ddl_speaks_the_dialect_of_the_trade_database_and_uses_its_names(file: Path) -> None:
    done = call("--config", file, "ddl", PICULUS_AGENT_TRADES__NAMES__STEP="our_steps")
    assert done.exit_code == 0
    assert "our_steps" in done.stdout
    assert "GRANT" not in done.stdout.replace("-- ", "")
    other = call("--config", file, "ddl", "--dialect", "postgresql", "--user", "mender")
    assert "mender" in other.stdout


def test_ddl_needs_no_configuration_when_the_dialect_is_named(tmp_path: Path) -> None:
    done = call("--config", tmp_path / "none.toml", "ddl", "--dialect", "mysql")
    assert done.exit_code == 0
    assert "piculus_repair" in done.stdout


def test_the_schema_is_json(tmp_path: Path) -> None:
    definitions = json.loads(call("schema").stdout)["$defs"]
    assert {"ToAgent", "ToServer", "Repair", "RepairFinished"} <= definitions.keys()


def test_fixers_that_the_limits_leave_out_are_not_offered(file: Path) -> None:
    limits = '["inter_none"]'
    assert "limits.fixers: there is no fixer inter_none" in (
        call("--config", file, PICULUS_AGENT_LIMITS__FIXERS=limits).stderr
    )
    configuration = load(
        file,
        {
            "PICULUS_AGENT_AGENT__FIXERS": '["interRechargeFixServiceImpl", "rechargeFailedFixServiceImpl"]',
            "PICULUS_AGENT_LIMITS__FIXERS": '["withdrawFailedFixServiceImpl", "interRechargeFixServiceImpl"]',
        },
    )
    assert list(offered_fixers(configuration)) == ["interRechargeFixServiceImpl"]


def test_limits_and_age_stand_in_the_settings_of_every_repair(file: Path) -> None:
    variables = {
        "PICULUS_AGENT_LIMITS__MAX_AGE_DAYS": "30",
        "PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR": "{CNY = 5}",
        "PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR_PER_HOUR": "{CNY = 6}",
        "PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR_PER_DAY": "{CNY = 7}",
        "PICULUS_AGENT_LIMITS__MAX_TRADES_PER_HOUR": "8",
        "PICULUS_AGENT_LIMITS__MAX_TRADES_PER_DAY": "9",
    }
    settings = repair_settings(load(file, variables))
    assert settings.max_age.days == 30
    assert settings.limits == Limits(
        max_amount_minor={"CNY": 5},
        max_amount_minor_per_hour={"CNY": 6},
        max_amount_minor_per_day={"CNY": 7},
        max_trades_per_hour=8,
        max_trades_per_day=9,
    )


@pytest.mark.parametrize(("day", "told"), [("9", 9), (str(2**70), 2**63 - 1)])
def test_an_agent_says_in_its_hello_what_it_does_at_most(file: Path, day: str, told: int) -> None:
    variables = {
        "PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR": "{CNY = 5}",
        "PICULUS_AGENT_LIMITS__MAX_AMOUNT_MINOR_PER_HOUR": f"{{CNY = {2**70}}}",
        "PICULUS_AGENT_LIMITS__MAX_TRADES_PER_DAY": day,
    }
    service = assemble(load(file, variables))
    hello = service._dispatcher.hello()
    assert hello.limits == AgentLimits(
        max_age_days=90,
        max_trades_per_day=told,
        max_amount_minor={"CNY": 5},
        max_amount_minor_per_hour={"CNY": 2**63 - 1},
    )
    assert decode_to_server(encode(hello)) == hello


def test_an_agent_whose_workers_are_processes_ends_with_all_of_them(file: Path) -> None:
    file.write_text(file.read_text().replace("[server]", 'workers = 2\npool = "processes"\n[server]'))
    for name in ("trades", "ledger"):
        sqlite3.connect(file.parent / f"{name}.db").close()
    agent = subprocess.Popen([sys.executable, "-m", "agent", "--config", file], stderr=subprocess.DEVNULL)
    try:
        of_agent = psutil.Process(agent.pid)
        until = time.monotonic() + PATIENCE
        while len(workers := of_agent.children()) < 2 and time.monotonic() < until:
            pass
        assert len(workers) == 2
        agent.kill()
        agent.wait(PATIENCE)
        # Adopted by another, so that their end can be waited for and not their exit code.
        _, living = psutil.wait_procs(workers, PATIENCE)
        assert not living
    finally:
        agent.kill()
        agent.wait(PATIENCE)


def test_a_pool_of_another_kind_is_refused(file: Path) -> None:
    file.write_text(file.read_text().replace("[server]", 'pool = "greenlets"\n[server]'))
    done = call("--config", file, "check")
    assert done.exit_code == 2
    assert "agent.pool: Invalid enum value 'greenlets'" in done.stderr
