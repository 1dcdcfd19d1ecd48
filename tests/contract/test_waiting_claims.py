"""A claim that waits for another one's lock sees what that one wrote: no snapshot is older than the lock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Executable, insert, literal, select, text, update

from agent.errors import FencedError, RequestsChangedError, RowChangedError
from agent.records import BankRequest, RepairRow, Trade
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


# ---- whoever held the lock left the repair as it was; production changed what it rests on meanwhile


def claims(place: SqlTradePlace, _: RepairRow, trade: Trade) -> object:
    return place.trades.claim_repair(claim_of(trade, fence=3, boot_id="boot-3"), None, trade)


def writes_down(place: SqlTradePlace, claim: RepairRow, trade: Trade) -> object:
    step = step_of(trade.trade_no, state="intended")
    return place.trades.record_step(claim, step, looked_at=trade.read_at, seen=set(), trade=trade)


def asks(place: SqlTradePlace, claim: RepairRow, trade: Trade) -> object:
    step, ours = step_of(trade.trade_no, "pay", state="intended"), request_of(trade, 1)
    return place.trades.open_bank_request(claim, ours, step, {ours.request_no}, trade)


def request_of(trade: Trade, seq: int) -> BankRequest:
    return BankRequest(
        request_no=f"{trade.trade_no}-P{seq}",
        trade_no=trade.trade_no,
        seq=seq,
        kind="payout",
        status="created",
        amount_minor=trade.amount_minor,
        created_at=trade.read_at,
    )


def edits(place: SqlTradePlace, trade_no: str) -> Executable:
    cells = place.trade.c
    return update(place.trade).where(cells["TRD_NUM"] == trade_no).values(AMOUNT=cells["AMOUNT"] + 1)


def opens(place: SqlTradePlace, trade_no: str) -> Executable:
    cells = place.trade.c
    number = cells["TRD_NUM"] + "-theirs"
    line = (number, cells["TRD_NUM"], literal(2), literal("payout"), literal("created"))
    told = select(*line, cells["AMOUNT"], cells["CREATED_AT"], cells["UPDATED_AT"])
    return insert(place.requests).from_select(
        list(place.requests.c), told.where(cells["TRD_NUM"] == trade_no)
    )


@pytest.mark.parametrize(
    ("changes", "refuses", "works"),
    [
        (edits, RowChangedError, claims),
        (edits, RowChangedError, writes_down),
        (edits, RowChangedError, asks),
        (opens, RequestsChangedError, writes_down),
        (opens, RequestsChangedError, asks),
    ],
)
def test_what_changes_while_a_repair_waits_for_its_lock_is_seen(
    sql_trades: SqlTradePlace,
    changes: Callable[[SqlTradePlace, str], Executable],
    refuses: type[Exception],
    works: Callable[[SqlTradePlace, RepairRow, Trade], object],
) -> None:
    """A claim that is fenced, say, holds the lock and gives it back without having written anything."""
    trade = planted_trade(sql_trades)
    claim = sql_trades.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
    locking = "SELECT * FROM piculus_repair"
    locking += "" if sql_trades.engine.dialect.name == "sqlite" else " FOR UPDATE"
    with ThreadPoolExecutor(1) as pool:
        with writing(sql_trades.engine) as other:
            other.execute(text(locking))
            late = pool.submit(works, sql_trades, claim, trade)
            wait_until_blocked(sql_trades.engine)
            other.execute(changes(sql_trades, trade.trade_no))
        with pytest.raises(refuses):
            late.result(timeout=30)
