"""A claim that waits for another one's lock sees what that one wrote: no snapshot is older than the lock."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from agent.errors import FencedError
from sandbox.database import writing
from tests.contract.places import SqlTradePlace, claim_of, step_of
from tests.contract.racing import wait_until_blocked
from tests.contract.test_sql_trades import planted_trade


def test_a_claim_that_waits_for_a_higher_fence_is_refused(sql_trades: SqlTradePlace) -> None:
    trade = planted_trade(sql_trades)
    sql_trades.trades.claim_repair(claim_of(trade, fence=1, boot_id="boot-1"))
    with ThreadPoolExecutor(1) as pool:
        with writing(sql_trades.engine) as other:
            other.execute(text("UPDATE piculus_repair SET fence = 9, boot_id = 'boot-9'"))
            late = pool.submit(sql_trades.trades.claim_repair, claim_of(trade, fence=2, boot_id="boot-2"))
            wait_until_blocked(sql_trades.engine)
        with pytest.raises(FencedError):
            late.result(timeout=30)
    assert sql_trades.trades.find_repair(trade.trade_no).fence == 9  # type: ignore[union-attr]


def test_a_step_that_waits_for_the_lock_is_dated_behind_it(sql_trades: SqlTradePlace) -> None:
    """Who held it changed nothing: a database may then write what it had worked out before it waited."""
    trade, dialect = planted_trade(sql_trades), sql_trades.engine.dialect.name
    claim = sql_trades.trades.claim_repair(claim_of(trade, fence=1, boot_id="boot-1"))
    locking = "SELECT * FROM piculus_repair" + ("" if dialect == "sqlite" else " FOR UPDATE")
    with ThreadPoolExecutor(1) as pool:
        with writing(sql_trades.engine) as other:
            other.execute(text(locking))
            late = pool.submit(sql_trades.trades.record_step, claim, step_of(trade.trade_no))
            wait_until_blocked(sql_trades.engine)
            released_at = sql_trades.trades.now()
        assert late.result(timeout=30) >= released_at


def test_a_claim_that_waits_for_the_repair_to_be_closed_begins_a_round(sql_trades: SqlTradePlace) -> None:
    """Whoever held it holds it still: only the look behind the lock tells that it has ended."""
    trade = planted_trade(sql_trades)
    sql_trades.trades.claim_repair(claim_of(trade, fence=1, boot_id="boot-1"))
    with ThreadPoolExecutor(1) as pool:
        with writing(sql_trades.engine) as other:
            other.execute(text("UPDATE piculus_repair SET state = 'done'"))
            next_one = pool.submit(sql_trades.trades.claim_repair, claim_of(trade, fence=2, boot_id="boot-2"))
            wait_until_blocked(sql_trades.engine)
        claimed = next_one.result(timeout=30)
    assert (claimed.state, claimed.round, claimed.fence) == ("open", 2, 2)
