"""Production writes without the lock that an agent takes first: the tables alone refuse a second one.

What is not committed no look of the agent shows; on SQLite, which lets one writer in at a time, it waits.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, insert

from agent.errors import LedgerRejectedError, LegTakenError, RequestsChangedError
from agent.facts import Leg
from agent.records import Trade
from sandbox.database import writing
from sandbox.ledger import PostingOrder, entry_row
from tests.contract.places import SqlLedgerPlace, SqlTradePlace, claim_of, step_of
from tests.contract.racing import wait_until_blocked
from tests.contract.test_sql_trades import planted_trade
from tests.contract.trades import AT, new_trade, posting_of, request_of


def refuse(
    engine: Engine, write: Callable[[Connection], object], work: Callable[[], object], error: type[Exception]
) -> None:
    """Production writes; ``work`` waits for it, and is refused with the error once that is committed."""
    with ThreadPoolExecutor(1) as pool:
        with writing(engine) as connection:
            write(connection)
            late = pool.submit(work)
            wait_until_blocked(engine)
        with pytest.raises(error):
            late.result(timeout=30)


def test_of_two_numbers_opened_at_one_place_in_one_moment_one_stands(sql_trades: SqlTradePlace) -> None:
    trade, trades, requests = planted_trade(sql_trades), sql_trades.trades, sql_trades.requests
    claim, ours = trades.claim_repair(claim_of(trade)), request_of(trade, 1)
    theirs = {
        "REQUEST_NO": f"{trade.trade_no}-1",
        "TRD_NUM": trade.trade_no,
        "SEQ": 1,
        "KIND": "payout",
        "STATUS": "created",
        "AMOUNT": trade.amount_minor,
        "CREATED_AT": AT,
        "UPDATED_AT": AT,
    }
    step = step_of(trade.trade_no, "pay", state="intended")
    refuse(
        sql_trades.engine,
        lambda connection: connection.execute(insert(requests).values(theirs)),
        lambda: trades.open_bank_request(claim, ours, step, set(), trade),
        RequestsChangedError,
    )
    [stored] = trades.bank_requests([trade.trade_no])[trade.trade_no]
    assert (stored.request_no, stored.asked_at) == (theirs["REQUEST_NO"], None)


def test_of_two_entries_on_one_leg_in_one_moment_one_stands(sql_ledger: SqlLedgerPlace) -> None:
    trade = new_trade()
    sql_ledger.open_account(trade.account_no, 50_000)
    refuse(
        sql_ledger.books.engine,
        lambda connection: enter(connection, sql_ledger, trade, f"production {trade.trade_no}"),
        lambda: sql_ledger.ledger.post(posting_of(trade, Leg.BOTH)),
        LegTakenError,
    )
    assert sql_ledger.live_entries(trade.trade_no) == 1
    assert sql_ledger.balance(trade.account_no) == 50_000


def test_of_two_entries_under_one_key_in_one_moment_one_stands(sql_ledger: SqlLedgerPlace) -> None:
    """Their legs are of two trades: the key alone tells that the second one is too many."""
    trade, other = new_trade(), new_trade()
    sql_ledger.open_account(trade.account_no, 50_000)
    ours = posting_of(trade, Leg.BOTH)
    refuse(
        sql_ledger.books.engine,
        lambda connection: enter(connection, sql_ledger, other, ours.key),
        lambda: sql_ledger.ledger.post(ours),
        LedgerRejectedError,
    )
    assert sql_ledger.live_entries(trade.trade_no) == 0
    assert sql_ledger.balance(trade.account_no) == 50_000


def enter(connection: Connection, place: SqlLedgerPlace, trade: Trade, key: str) -> None:
    """An entry and its leg, written without a value of the sequence."""
    tables, voucher_no = place.books.tables, f"GA8{trade.trade_id:017d}"
    order = PostingOrder(trade.trade_no, "withdraw", "1", 10_050, trade.account_no, key, "production")
    connection.execute(insert(tables.entry).values(entry_row(order, voucher_no, AT)))
    leg = {"VOUCHER_NO": voucher_no, "LEG": "1", "TRD_NUM": trade.trade_no, "LIVE": 1}
    connection.execute(insert(tables.entry_leg).values(leg))
