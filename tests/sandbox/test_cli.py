"""The command line, run in this process."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, insert

from sandbox import demo
from sandbox.bank.books import BankBooks
from sandbox.bank.records import BankRecord
from sandbox.cli import cli
from sandbox.database import writing
from sandbox.settings import read_settings
from sandbox.statements import split_statements
from sandbox.world import World

COMMANDS = ("create", "apply-sql", "load-healthy", "load-cases", "load-broken", "demo", "bank", "traffic")


@pytest.fixture(autouse=True)
def small_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICULUS_SANDBOX_HEALTHY", "30")
    monkeypatch.setattr(demo, "BROKEN", {"PBAP": 10, "PBMS": 3})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[World]:
    world = World.of(read_settings(tmp_path, {}))
    yield world
    world.close()


def call(instance: Path, *arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["--instance", str(instance), *arguments], input=text)


@pytest.mark.parametrize("command", [*COMMANDS, "faults", "report", "reset"])
def test_every_command_explains_itself(tmp_path: Path, command: str) -> None:
    result = call(tmp_path, command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_demo_is_loaded_once(tmp_path: Path) -> None:
    assert call(tmp_path, "demo").output == "demo loaded\n"
    assert call(tmp_path, "demo").output == "demo was loaded before\n"
    found = json.loads(call(tmp_path, "report", "--json").output)
    assert found["trades"] == {"PBAP": 50, "PBMS": 6}
    assert found["violations"] == []


def test_a_demo_stopped_half_way_is_loaded_again(tmp_path: Path, opened: World) -> None:
    opened.create()
    opened.load_healthy(3)
    (opened.directory / "demo").write_text("loading\n")
    assert call(tmp_path, "demo").exit_code == 0
    assert opened.report().trades == {"PBAP": 50, "PBMS": 6}


def test_books_of_others_are_never_thrown_away(tmp_path: Path, opened: World) -> None:
    opened.create()
    opened.load_case("S7a")
    production = opened.production()
    with writing(production.engine) as connection:
        connection.execute(delete(production.tables.trade))
    result = call(tmp_path, "create", "--clear-unfinished")
    assert (result.exit_code, "reset" in result.output) == (1, True)
    assert opened.entries("WD160731221523100281") != []


def test_the_demo_does_not_touch_trades_of_others(tmp_path: Path) -> None:
    assert call(tmp_path, "load-healthy", "3").exit_code == 0
    result = call(tmp_path, "demo")
    assert result.exit_code == 1
    assert "reset" in result.output


@pytest.mark.parametrize("command", ["load-healthy", "load-broken"])
def test_what_production_opens_while_others_are_loaded_is_in_nobodys_way(
    tmp_path: Path, opened: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Rows come last, behind ledger and bank: what traffic has opened by then would have taken their ids."""
    opened.create()
    opened.load_healthy(1)
    production, load = opened.production(), BankBooks.load
    [row] = opened.all_rows()

    def opens_a_trade(books: BankBooks, records: Iterable[BankRecord]) -> None:
        load(books, records)
        trade = {**row, "TRD_ID": production.next_trade_id(), "TRD_NUM": "CO1"}
        with writing(production.engine) as connection:
            connection.execute(insert(production.tables.trade).values(trade))

    monkeypatch.setattr(BankBooks, "load", opens_a_trade)
    assert call(tmp_path, command, "5").exit_code == 0
    assert len(opened.all_rows()) >= 7


def test_a_reset_empties_everything_and_the_demo_can_come_again(tmp_path: Path) -> None:
    call(tmp_path, "demo")
    call(tmp_path, "apply-sql", "-", text="CREATE TABLE piculus_repair (TRD_NUM TEXT)")
    assert call(tmp_path, "reset").exit_code == 0
    assert call(tmp_path, "demo").output == "demo loaded\n"
    assert call(tmp_path, "apply-sql", "-", text="CREATE TABLE piculus_repair (A TEXT)").exit_code == 0


def test_a_report_fails_strictly_when_anything_disagrees(tmp_path: Path) -> None:
    call(tmp_path, "load-cases")
    assert call(tmp_path, "report").exit_code == 0
    assert call(tmp_path, "report", "--strict").exit_code == 1


def test_reviewed_sql_is_run_statement_by_statement(tmp_path: Path, opened: World) -> None:
    sql = "-- tables; of Piculus\nCREATE TABLE a (x TEXT DEFAULT ';');\nCREATE TABLE b (y TEXT);\n"
    assert call(tmp_path, "apply-sql", "--group", "PBMS", "-", text=sql).output == "PBMS: 2 statements\n"
    with opened.production("PBMS").engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM a, b").scalar() == 0


def test_sql_that_fails_is_one_line_and_exit_code_one(tmp_path: Path) -> None:
    result = call(tmp_path, "apply-sql", "-", text="CREATE TABEL a (x TEXT)")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_a_bank_that_does_not_run_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICULUS_SANDBOX_BANK_PORT", "9")
    result = call(tmp_path, "faults", "list")
    assert result.exit_code == 1
    assert "did not answer" in result.output


def test_a_port_that_is_none_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICULUS_SANDBOX_BANK_PORT", "http")
    result = call(tmp_path, "create")
    assert (result.exit_code, "PICULUS_SANDBOX_BANK_PORT" in result.output) == (1, True)


def test_the_banks_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = read_settings(tmp_path, {}).bank_token
    assert read_settings(tmp_path, {}).bank_token == first
    assert (tmp_path / "secrets" / "bank_token").stat().st_mode & 0o077 == 0


def test_comments_and_quotes_do_not_divide_statements() -> None:
    sql = "/* a; b */ SELECT ';', \"x;y\" -- ; z\n; \n SELECT 1-2;"
    assert split_statements(sql) == ["SELECT ';', \"x;y\"", "SELECT 1-2"]
