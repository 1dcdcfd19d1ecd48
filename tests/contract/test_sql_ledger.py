"""What only a real ledger can show: posters at once, and what was written."""

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import insert, update

from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import LedgerNames
from agent.errors import (
    EntriesChangedError,
    InsufficientBalanceError,
    LedgerRejectedError,
    LegTakenError,
    PortError,
)
from agent.facts import Leg, LegState
from agent.records import Trade
from sandbox.database import writing
from tests.contract.places import SqlLedgerPlace
from tests.contract.racing import errors_of, race
from tests.contract.test_reversals import reversal_of
from tests.contract.trades import new_trade, posting_of


class TestPostersAtOnce:
    def test_one_of_two_gets_the_leg(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        other = sql_ledger.another()
        postings = [posting_of(trade, Leg.BOTH, key=f"{n} {trade.trade_no}") for n in range(4)]
        results = race(*(lambda p=posting: other.post(p) for posting in postings))
        other.close()
        assert errors_of(results) == [LegTakenError] * 3
        assert sql_ledger.live_entries(trade.trade_no) == 1
        assert sql_ledger.balance(trade.account_no) == 50_000 - 10_050

    def test_the_same_key_gives_everyone_the_same_number(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        results = race(*[lambda: sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))] * 4)
        assert len(set(results)) == 1
        assert errors_of(results) == []
        assert sql_ledger.balance(trade.account_no) == 50_000 - 10_050

    def test_an_agent_and_production_do_not_both_post(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        race(
            lambda: sql_ledger.ledger.post(posting_of(trade, Leg.FIRST)),
            lambda: sql_ledger.book(posting_of(trade, Leg.BOTH, key=f"production {trade.trade_no}")),
        )
        assert sql_ledger.live_entries(trade.trade_no) == 1
        assert sql_ledger.balance(trade.account_no) == 50_000 - 10_050

    def test_one_balance_pays_for_what_it_holds(self, sql_ledger: SqlLedgerPlace) -> None:
        account_no = new_trade().account_no
        sql_ledger.open_account(account_no, 25_000)
        trades = [new_trade(account_no=account_no) for _ in range(4)]
        results = race(*(lambda t=trade: sql_ledger.ledger.post(posting_of(t, Leg.BOTH)) for trade in trades))
        assert errors_of(results) == [InsufficientBalanceError] * 2
        assert sql_ledger.balance(account_no) == 25_000 - 2 * 10_050


class TestWhatIsWritten:
    def test_an_entry_is_whole(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        voucher_no = sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))
        [entry] = sql_ledger.world.entries(trade.trade_no)
        assert (entry["VOUCHER_NO"], entry["LEG"], entry["KIND"]) == (voucher_no, "both", "withdraw")
        assert (entry["AMOUNT"], entry["CURRENCY"], entry["POSTED_BY"]) == (10_050, "CNY", "piculus")
        assert entry["IDEM_KEY"] == f"PCL:PBAP:{trade.trade_no}:both"
        lines = [(line["ACC_NO"], line["AMOUNT"]) for line in sql_ledger.world.postings(voucher_no)]
        assert sorted(lines) == sorted(
            [(trade.account_no, -10_050), ("CLEARING", 10_050), ("CLEARING", -10_050), ("BANK", 10_050)]
        )

    def test_the_number_carries_the_second_it_was_given(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        earliest = datetime.now(UTC) - timedelta(seconds=1)
        voucher_no = sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))
        assert re.fullmatch(r"GA\d{18}", voucher_no)
        at = datetime.strptime(voucher_no[2:14], "%y%m%d%H%M%S").replace(tzinfo=UTC)
        assert earliest - timedelta(seconds=1) <= at <= datetime.now(UTC) + timedelta(seconds=1)

    def test_a_refusal_leaves_no_gap(self, sql_ledger: SqlLedgerPlace) -> None:
        poor, rich = new_trade(), new_trade()
        sql_ledger.open_account(poor.account_no, 1)
        sql_ledger.open_account(rich.account_no, 50_000)
        first = sql_ledger.ledger.post(posting_of(rich, Leg.FIRST))
        with pytest.raises(InsufficientBalanceError):
            sql_ledger.ledger.post(posting_of(poor, Leg.BOTH))
        second = sql_ledger.ledger.post(posting_of(rich, Leg.SECOND))
        assert int(second[-6:]) == int(first[-6:]) + 1
        assert sql_ledger.world.entries(poor.trade_no) == []

    def test_an_account_of_another_currency_is_refused(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade(currency="USD")
        sql_ledger.open_account(trade.account_no, 50_000)
        with pytest.raises(LedgerRejectedError, match="no account"):
            sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))

    def test_a_house_account_is_no_customer(self, sql_ledger: SqlLedgerPlace) -> None:
        with pytest.raises(LedgerRejectedError, match="not a customer"):
            sql_ledger.ledger.post(posting_of(new_trade(account_no="BANK"), Leg.FIRST))


def reversed_by_hand(place: SqlLedgerPlace, trade: Trade, *, is_named: bool, is_marked: bool) -> str:
    """Production posts and takes back, one of the two marks forgotten; return the entry's number."""
    place.open_account(trade.account_no, 50_000)
    voucher_no = place.book(posting_of(trade, Leg.BOTH, key=f"production {trade.trade_no}"))
    place.reverse(voucher_no)
    entry, legs = place.books.tables.entry, place.books.tables.entry_leg
    with writing(place.books.engine) as connection:
        if not is_named:
            taking = entry.c["REVERSES"] == voucher_no
            connection.execute(update(entry).where(taking).values(REVERSES=None))
        if not is_marked:
            mine = entry.c["VOUCHER_NO"] == voucher_no
            connection.execute(update(entry).where(mine).values(REVERSED_BY=None))
            connection.execute(update(legs).where(legs.c["VOUCHER_NO"] == voucher_no).values(LIVE=1))
    return voucher_no


class TestReadingLegs:
    def test_postings_that_do_not_add_up_are_a_mismatch(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        voucher_no = sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))
        posting = sql_ledger.books.tables.posting
        line = (posting.c["VOUCHER_NO"] == voucher_no) & (posting.c["ACC_NO"] == trade.account_no)
        with writing(sql_ledger.books.engine) as connection:
            connection.execute(update(posting).where(line).values(AMOUNT=-10_049))
        states = [leg.state for leg in sql_ledger.ledger.legs([trade])[trade.trade_no] if leg]
        assert states == [LegState.MISMATCH] * 2

    def test_two_entries_on_a_leg_are_a_mismatch(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        sql_ledger.ledger.post(posting_of(trade, Leg.FIRST))
        entry = sql_ledger.books.tables.entry
        twin = sql_ledger.world.entries(trade.trade_no)[0] | {
            "VOUCHER_NO": f"GA9{trade.trade_id:017d}",
            "IDEM_KEY": f"twin {trade.trade_no}",
        }
        with writing(sql_ledger.books.engine) as connection:
            connection.execute(insert(entry).values(twin))
        first, second = sql_ledger.ledger.legs([trade])[trade.trade_no]
        assert (first.state, second and second.state) == (LegState.MISMATCH, LegState.NONE)
        assert "more than one" in first.detail

    @pytest.mark.parametrize("is_named", [True, False])
    def test_an_entry_taken_back_by_one_that_forgot_to_mark_it_is_a_mismatch(
        self, sql_ledger: SqlLedgerPlace, is_named: bool
    ) -> None:
        """Somebody reverses by hand: the money is back, and the entry still reads as if it stood."""
        trade = new_trade()
        voucher_no = reversed_by_hand(sql_ledger, trade, is_named=is_named, is_marked=False)
        legs = sql_ledger.ledger.legs([trade])[trade.trade_no]
        assert [leg.state for leg in legs if leg] == [LegState.MISMATCH] * 2
        assert sql_ledger.balance(trade.account_no) == 50_000
        assert all(leg.voucher_no == voucher_no and "reverses it" in leg.detail for leg in legs if leg)

    def test_a_reversal_that_only_the_entry_names_spoils_no_later_entry(
        self, sql_ledger: SqlLedgerPlace
    ) -> None:
        trade = new_trade()
        reversed_by_hand(sql_ledger, trade, is_named=False, is_marked=True)
        assert sql_ledger.ledger.legs([trade])[trade.trade_no][0].state is LegState.NONE
        later = sql_ledger.book(posting_of(trade, Leg.BOTH, key=f"later {trade.trade_no}"))
        first, _ = sql_ledger.ledger.legs([trade])[trade.trade_no]
        assert (first.state, first.voucher_no) == (LegState.POSTED, later)

    @pytest.mark.parametrize("is_named", [True, False])
    def test_what_somebody_takes_back_behind_the_last_look_is_not_taken_back_twice(
        self, sql_ledger: SqlLedgerPlace, is_named: bool
    ) -> None:
        """Not marked, so that the entry still stands by itself when the reversal reaches the ledger."""
        trade = new_trade()
        voucher_no = reversed_by_hand(sql_ledger, trade, is_named=is_named, is_marked=False)
        wanted = reversal_of(trade, voucher_no)
        for seen in (wanted, msgspec.structs.replace(wanted, standing=frozenset({voucher_no}))):
            with pytest.raises(EntriesChangedError):
                sql_ledger.ledger.reverse_entry(seen)
        assert sql_ledger.balance(trade.account_no) == 50_000

    def test_an_entry_posted_behind_one_taken_back_and_marked_so_is_taken_back(
        self, sql_ledger: SqlLedgerPlace
    ) -> None:
        trade = new_trade()
        reversed_by_hand(sql_ledger, trade, is_named=False, is_marked=True)
        later = sql_ledger.book(posting_of(trade, Leg.BOTH, key=f"later {trade.trade_no}"))
        sql_ledger.ledger.reverse_entry(reversal_of(trade, later))
        assert sql_ledger.balance(trade.account_no) == 50_000

    def test_a_ledger_that_cannot_be_read_is_unknown(self, sql_ledger: SqlLedgerPlace) -> None:
        nowhere = SqlLedger(sql_ledger.url, LedgerNames(entry="gl_nothing"))
        trade = new_trade()
        first, second = nowhere.legs([trade])[trade.trade_no]
        nowhere.close()
        assert (first.state, second and second.state) == (LegState.UNKNOWN, LegState.UNKNOWN)
        assert first.detail

    def test_more_trades_than_one_statement_takes(self, sql_ledger: SqlLedgerPlace) -> None:
        trade = new_trade()
        sql_ledger.open_account(trade.account_no, 50_000)
        sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))
        found = sql_ledger.ledger.legs([new_trade() for _ in range(1_100)] + [trade])
        assert len(found) == 1_101
        assert found[trade.trade_no][0].state is LegState.POSTED


class TestCheck:
    def test_it_says_what_was_found(self, sql_ledger: SqlLedgerPlace) -> None:
        assert "5 tables" in sql_ledger.sql.check()

    def test_it_names_what_is_missing(self, sql_ledger: SqlLedgerPlace) -> None:
        without_table = SqlLedger(sql_ledger.url, LedgerNames(posting="gl_postings"))
        with pytest.raises(PortError, match="missing: table gl_postings"):
            without_table.check()
        without_account = SqlLedger(sql_ledger.url, LedgerNames(bank_account="BANK-2"))
        with pytest.raises(PortError, match="missing: account BANK-2"):
            without_account.check()
        without_table.close()
        without_account.close()
