"""CHAR columns, which PostgreSQL pads with blanks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import create_engine, text

from agent.adapters.ddl import ddl
from agent.adapters.names import RequestColumns
from agent.adapters.trade_db import SqlTrades
from agent.facts import Leg, LegFact, LegState, Status
from agent.records import Correction, Reversal
from sandbox.database import writing
from sandbox.statements import split_statements
from sandbox.world import World
from tests.contract.places import Planted, SqlLedgerPlace, SqlTradePlace, claim_of, declare, step_of
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
)


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
def test_a_row_of_padded_texts_is_read_and_corrected_as_any_other(own_world: World) -> None:
    place = SqlTradePlace(own_world, "READ COMMITTED")
    for column in TRADE_TEXTS:
        declare(place, "TPBAP_TRD_ACC_TRADE", column, "CHAR(64)")
    planted = place.plant(Planted(acc_voucher="GA1", acc_status=1, status=0))
    [trade] = place.trades.find(planted.trade_no)
    assert (trade.row, trade.currency, trade.channel) == (planted.row, "CNY", "ICBC")
    assert None not in (trade.kind, trade.bookkeeping)
    held = place.trades.claim_repair(claim_of(trade))
    booked = Correction(status=Status.SUCCESS, acc_voucher=None, e_acc_voucher="GA2", message="m")
    after = place.trades.write_row(held, trade, booked, step_of(trade.trade_no))
    assert (after.row["ACC_TRD_NUM"], after.row["E_ACC_TRD_NUM"]) == ("GA1", "GA2")
    assert place.trades.begun_since(trade.created_at or trade.read_at, but="").amounts == {"CNY": 10_050}
    place.sql.close()
