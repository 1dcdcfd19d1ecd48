"""CHAR columns, which PostgreSQL pads with blanks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine, select, text

from agent.adapters.bank_http import HttpBank
from agent.adapters.ddl import ddl
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import BankNames, RequestColumns, TradeCodes
from agent.adapters.narrow import Narrow
from agent.adapters.tables import TradeTables
from agent.adapters.trade_db import SqlTrades
from agent.decision import RowCodes
from agent.facts import Kind, Leg, LegFact, LegState, Status
from agent.ports import Ports
from agent.records import Correction, Pattern, Reversal
from sandbox.database import writing
from sandbox.statements import split_statements
from sandbox.world import World
from tests.contract.places import Planted, SqlLedgerPlace, SqlTradePlace, claim_of, declare, step_of
from tests.contract.test_whole_system import SETTINGS, Host
from tests.contract.trades import new_trade, posting_of
from tests.databases import databases

LEDGER_TEXTS = {
    "gl_account": ("ACC_NO", "KIND", "CURRENCY"),
    "gl_entry": ("TRD_NUM", "VOUCHER_NO", "LEG", "KIND", "CURRENCY", "IDEM_KEY", "REVERSES", "REVERSED_BY"),
    "gl_entry_leg": ("TRD_NUM", "LEG", "VOUCHER_NO"),
    "gl_posting": ("VOUCHER_NO", "ACC_NO"),
}
TRADE_TEXTS = (
    "TRD_NUM",
    "ACC_TRD_NUM",
    "E_ACC_TRD_NUM",
    "TRD_KIND",
    "CURRENCY",
    "ACC_NO",
    "BANK_ACC_NO",
    "CHANNEL",
    "POSTING_MODE",
    "FAILED_MSG",
)
STATUSES = ("TRD_STATUS", "ACC_TRD_STATUS", "E_ACC_TRD_STATUS")
CODES = TradeCodes(processing="0", success="8", failed="9", not_booked="0", booked="1")
"""Statuses that production keeps as texts."""


def half_booked(**cells: Any) -> Planted:
    """A row of such statuses whose second leg is not booked; every cell may be replaced."""
    return replace(Planted(status="0", acc_voucher="GA1", acc_status="1", e_acc_status="0"), **cells)


def test_the_blanks_of_a_char_column_are_no_part_of_a_request_number(tmp_path: Path) -> None:
    columns = msgspec.structs.astuple(RequestColumns())
    typed = ", ".join(f'"{name}" {"CHAR(80)" if name in columns[:2] else "TEXT"}' for name in columns)
    values = ("WD12345678-0", "WD12345678", None, "payout", "created", None, None, None)
    with databases("postgresql", tmp_path) as new_database:
        url = new_database()
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text(f'CREATE TABLE "TPBAP_BANK_REQUEST" ({typed})'))
            insert_of = f'INSERT INTO "TPBAP_BANK_REQUEST" VALUES ({", ".join(["%s"] * len(values))})'
            connection.exec_driver_sql(insert_of, values)
            for statement in split_statements(ddl("postgresql")):
                connection.execute(text(statement))
        engine.dispose()
        trades = SqlTrades(url)
        found = trades.bank_requests(["WD12345678"])
        trades.close()
    assert [each.request_no for each in found["WD12345678"]] == ["WD12345678-0"]


@pytest.mark.parametrize("own_world", ["postgresql"], indirect=True)
class TestLedgers:
    @pytest.fixture(params=[*LEDGER_TEXTS, "all"])
    def ledger(self, own_world: World, request: pytest.FixtureRequest) -> Iterator[SqlLedgerPlace]:
        """A ledger of which one table pads its texts, or all of them do."""
        place = SqlLedgerPlace(own_world, "READ COMMITTED")
        with writing(place.books.engine) as connection:
            for name in ("reverses", "reversed_by"):
                connection.execute(text(f"ALTER TABLE gl_entry DROP CONSTRAINT fk_gl_entry_{name}"))
        for table in LEDGER_TEXTS if request.param == "all" else [request.param]:
            for column in LEDGER_TEXTS[table]:
                declare(place, table, column, "CHAR(160)")
        yield place
        place.sql.close()

    def test_a_posting_whose_reply_was_lost_is_known_again(self, ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        posting = posting_of(trade, Leg.BOTH)
        voucher_no = ledger.ledger.post(posting)
        assert ledger.ledger.post(posting) == voucher_no
        posted = LegFact(LegState.POSTED, voucher_no, 10_050)
        assert ledger.ledger.legs([trade])[trade.trade_no] == (posted, posted)
        assert ledger.balance(trade.account_no) == 39_950
        assert "5 tables" in ledger.sql.check()

    def test_an_entry_is_taken_back_once(self, ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        voucher_no = ledger.ledger.post(posting_of(trade, Leg.BOTH))
        back = Reversal(
            key=f"PCL:PBAP:{trade.trade_no}:reverse:both",
            trade_no=trade.trade_no,
            voucher_no=voucher_no,
            intended_at=datetime.now(UTC),
        )
        assert ledger.ledger.reverse_entry(back) == ledger.ledger.reverse_entry(back)
        none = LegFact(LegState.NONE)
        assert ledger.ledger.legs([trade])[trade.trade_no] == (none, none)
        assert ledger.balance(trade.account_no) == 50_000


@pytest.mark.parametrize("own_world", ["postgresql"], indirect=True)
class TestTrades:
    @pytest.fixture
    def trades(self, own_world: World) -> Iterator[SqlTradePlace]:
        """A trade table that pads its texts, of which its statuses are some."""
        place = SqlTradePlace(own_world, "READ COMMITTED", CODES)
        for column in (*TRADE_TEXTS, *STATUSES):
            declare(place, "TPBAP_TRD_ACC_TRADE", column, "CHAR(64)")
        yield place
        place.sql.close()

    def test_a_row_of_padded_texts_is_read_and_corrected_as_any_other(self, trades: SqlTradePlace) -> None:
        planted = trades.plant(half_booked(message="old"))
        [trade] = trades.trades.find(planted.trade_no)
        assert (trade.row, trade.currency, trade.channel) == (planted.row, "CNY", "ICBC")
        assert None not in (trade.kind, trade.bookkeeping, trade.status)
        held = trades.trades.claim_repair(claim_of(trade))
        booked = Correction(status=Status.SUCCESS, acc_voucher=None, e_acc_voucher="GA2", message="m")
        after = trades.trades.write_row(held, trade, booked, step_of(trade.trade_no))
        wanted = {"TRD_STATUS": "8", "E_ACC_TRD_NUM": "GA2", "E_ACC_TRD_STATUS": "1", "FAILED_MSG": "m"}
        assert after.row == {**planted.row, **wanted}
        assert trades.trades.begun_since(trade.created_at or trade.read_at, but="").amounts == {"CNY": 10_050}

    def test_a_repair_that_kept_its_row_padded_is_still_of_that_row(self, trades: SqlTradePlace) -> None:
        [trade] = trades.trades.find(trades.plant(half_booked(message="old")).trade_no)
        kept = {name: cell.ljust(64) if isinstance(cell, str) else cell for name, cell in trade.row.items()}
        trades.trades.claim_repair(msgspec.structs.replace(claim_of(trade), before=kept))
        standing = trades.trades.find_repair(trade.trade_no)
        assert standing is not None
        assert standing.before == trade.row

    def test_sql_takes_no_padded_number_for_a_malformed_one(self, trades: SqlTradePlace) -> None:
        suspect = trades.plant(half_booked())
        trades.plant(half_booked(e_acc_voucher="GA2", e_acc_status="1"))
        malformed = trades.plant(half_booked(e_acc_voucher="GA3", e_acc_status="1", trade_no="SHORT1"))
        half = Pattern(kind=Kind.WITHDRAW, status=Status.PROCESSING, is_acc=True, is_e_acc=False)
        tables = TradeTables(trades.names)
        narrow, trade_id = Narrow(trades.names, tables, "postgresql").clause([half]), tables.trade.c["TRD_ID"]
        with trades.engine.connect() as connection:
            found = list(connection.execute(select(trade_id).where(narrow).order_by(trade_id)).scalars())
        assert found == [suspect.trade_id, malformed.trade_id]

    def test_its_repairs_come_to_their_end(self, own_world: World, trades: SqlTradePlace) -> None:
        own_world.load_cases()
        settings = replace(SETTINGS, codes=RowCodes(success="8", failed="9", booked="1", not_booked="0"))
        ledger = SqlLedger(own_world.ledger_url())
        with own_world.bank() as running:
            bank = HttpBank(running.url, running.token, BankNames(failure_settles_s=60))
            host = Host(own_world, Ports(trades.sql, ledger, bank))
            ends = [host.repair(told, settings).outcome for told in host.collect(settings).values()]
            left = host.collect(settings)
            bank.close()
        ledger.close()
        assert (ends, left) == (["repaired"] * 10, {})
