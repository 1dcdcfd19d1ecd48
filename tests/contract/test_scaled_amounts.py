"""Amounts in columns with a scale, as production keeps them that counts in yuan: none is taken for fen."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import insert

from agent.adapters.names import TradeCodes
from agent.adapters.rows import TradeReader, naive
from agent.errors import LedgerRejectedError, PortError
from agent.facts import Leg, LegState
from sandbox.database import writing
from sandbox.world import World
from tests.contract.places import Planted, SqlLedgerPlace, SqlTradePlace, declare
from tests.contract.trades import AT, new_trade, posting_of


@pytest.fixture
def trades(own_world: World) -> Iterator[SqlTradePlace]:
    """The trade database under the real adapter."""
    place = SqlTradePlace(own_world, "READ COMMITTED")
    yield place
    place.sql.close()


@pytest.fixture
def ledger(own_world: World) -> Iterator[SqlLedgerPlace]:
    """The ledger under the real adapter."""
    place = SqlLedgerPlace(own_world, "READ COMMITTED")
    yield place
    place.sql.close()


@pytest.mark.parametrize(
    ("stored", "minor", "raw"),
    [
        (Decimal("1000"), 1000, 1000),
        (Decimal("1E+3"), 1000, 1000),
        (Decimal("1000.00"), None, "1000.00"),
        (Decimal("1000.50"), None, "1000.50"),
        (Decimal("0.00"), None, "0.00"),
        (Decimal("NaN"), None, "NaN"),
    ],
)
def test_only_an_amount_without_a_scale_is_fen(stored: Decimal, minor: int | None, raw: object) -> None:
    cells = [7, "WD12345678", 8, None, 0, None, 0, None, "withdraw", stored, "CNY"]
    trade = TradeReader(TradeCodes())([*cells, "A", "B", "ICBC", "two_step", None, None, 1, None])
    assert (trade.amount_minor, trade.raw_amount) == (minor, raw)


class TestTradeRows:
    @pytest.mark.parametrize(("kind", "minor"), [("DECIMAL(18,0)", 10_050), ("DECIMAL(18,2)", None)])
    def test_a_row_in_yuan_has_no_amount(self, trades: SqlTradePlace, kind: str, minor: int | None) -> None:
        declare(trades, "TPBAP_TRD_ACC_TRADE", "AMOUNT", kind)
        planted = trades.plant(Planted())
        [trade] = trades.trades.find(planted.trade_no)
        assert trade.amount_minor == minor
        assert trade.raw_amount == (minor or "10050.00")

    def test_check_names_the_columns_in_yuan(self, trades: SqlTradePlace) -> None:
        declare(trades, "TPBAP_TRD_ACC_TRADE", "AMOUNT", "DECIMAL(18,0)")
        assert "5 tables" in trades.sql.check()
        declare(trades, "TPBAP_TRD_ACC_TRADE", "AMOUNT", "DECIMAL(18,2)")
        declare(trades, "TPBAP_BANK_REQUEST", "AMOUNT", "DOUBLE PRECISION")
        told = r"not in fen: TPBAP_TRD_ACC_TRADE\.AMOUNT is .*18, 2\); TPBAP_BANK_REQUEST\.AMOUNT is DOUBLE"
        with pytest.raises(PortError, match=told):
            trades.sql.check()


class TestRequestLines:
    def test_a_line_in_yuan_has_no_amount(self, own_world: World, trades: SqlTradePlace) -> None:
        declare(trades, "TPBAP_BANK_REQUEST", "AMOUNT", "DECIMAL(18,2)")
        at = naive(AT)
        line = {"REQUEST_NO": "WD12345678-0", "TRD_NUM": "WD12345678", "SEQ": 0, "KIND": "payout"}
        rest = {"STATUS": "failed", "AMOUNT": 1000, "CREATED_AT": at, "UPDATED_AT": at}
        with writing(trades.engine) as connection:
            connection.execute(insert(own_world.production().tables.bank_request).values({**line, **rest}))
        [request] = trades.trades.bank_requests(["WD12345678"])["WD12345678"]
        assert (request.amount_minor, request.raw_amount) == (None, "1000.00")


class TestLedgers:
    def test_an_entry_in_yuan_is_a_mismatch(self, ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        ledger.ledger.post(posting_of(trade, Leg.BOTH))
        declare(ledger, "gl_entry", "AMOUNT", "DECIMAL(18,2)")
        first = ledger.ledger.legs([trade])[trade.trade_no][0]
        assert (first.state, first.detail) == (
            LegState.MISMATCH,
            "amount 10050.00 has decimals and so is not in fen",
        )

    def test_a_posting_in_yuan_is_a_mismatch(self, ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        ledger.ledger.post(posting_of(trade, Leg.BOTH))
        declare(ledger, "gl_posting", "AMOUNT", "DECIMAL(18,2)")
        first = ledger.ledger.legs([trade])[trade.trade_no][0]
        assert (first.state, "in fen" in first.detail) == (LegState.MISMATCH, True)

    def test_nothing_is_posted_to_balances_in_yuan(self, ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        declare(ledger, "gl_account", "BALANCE", "DECIMAL(18,2)")
        with pytest.raises(LedgerRejectedError, match="has decimals"):
            ledger.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger.live_entries(trade.trade_no) == 0

    def test_whole_decimals_are_fen(self, ledger: SqlLedgerPlace) -> None:
        for table, column in (("gl_account", "BALANCE"), ("gl_entry", "AMOUNT"), ("gl_posting", "AMOUNT")):
            declare(ledger, table, column, "DECIMAL(18,0)")
        trade = new_trade()
        ledger.open_account(trade.account_no, 50_000)
        ledger.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger.ledger.legs([trade])[trade.trade_no][0].state is LegState.POSTED
        assert "5 tables" in ledger.sql.check()

    def test_check_names_the_columns_in_yuan(self, ledger: SqlLedgerPlace) -> None:
        declare(ledger, "gl_account", "BALANCE", "DECIMAL(18,2)")
        with pytest.raises(PortError, match=r"not in fen: gl_account\.BALANCE is .*18, 2"):
            ledger.sql.check()
