"""A production database that fails over in mid-transaction: all or nothing, told as unknown, gone on with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from agent.errors import PortError
from agent.facts import Status
from agent.records import Correction, Trade
from tests.contract.places import Planted, SqlTradePlace, claim_of, step_of

CORRECTION = Correction(status=Status.SUCCESS, acc_voucher="GA1", e_acc_voucher="GA1", message="提现成功修复")
_THIS_CONNECTION = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
_END = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}


def end_connection(engine: Engine, number: int) -> None:
    """The server ends a connection, as a failover does: its transaction is rolled back."""
    with engine.connect() as other:
        other.execute(text(_END[engine.dialect.name].format(number)))


@contextmanager
def failing_over(agents: Engine, production: Engine, verb: str) -> Iterator[list[str]]:
    """The agent's connection ends right before its first statement with this verb; yields what was ended."""
    ended: list[str] = []

    def before(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if not ended and statement.lstrip().upper().startswith(verb):
            ended.append(statement)
            cursor.execute(_THIS_CONNECTION[connection.dialect.name])
            end_connection(production, int(cursor.fetchone()[0]))

    event.listen(agents, "before_cursor_execute", before)
    try:
        yield ended
    finally:
        event.remove(agents, "before_cursor_execute", before)


Work = Callable[[SqlTradePlace, Trade], object]


def claim(place: SqlTradePlace, trade: Trade) -> object:
    return place.trades.claim_repair(claim_of(trade))


def write_down(place: SqlTradePlace, trade: Trade) -> object:
    held = place.trades.claim_repair(claim_of(trade))
    return place.trades.record_step(held, step_of(trade.trade_no, "post_both", state="intended"))


def write_row(place: SqlTradePlace, trade: Trade) -> object:
    held = place.trades.claim_repair(claim_of(trade))
    return place.trades.write_row(held, trade, CORRECTION, step_of(trade.trade_no))


def stored(place: SqlTradePlace, trade_no: str) -> tuple[object, ...]:
    """Everything production holds of the trade."""
    (trade,) = place.trades.find(trade_no)
    repair = place.trades.find_repair(trade_no)
    steps = () if repair is None else repair.steps
    return trade.row, repair is not None, len(steps), len(place.old_rows(trade_no))


@pytest.mark.parametrize("work", [claim, write_down, write_row])
@pytest.mark.parametrize("verb", ["INSERT", "UPDATE"])
def test_a_failover_in_mid_transaction_leaves_all_or_nothing_and_the_next_attempt_goes_on(
    sql_trades: SqlTradePlace, work: Work, verb: str
) -> None:
    if sql_trades.engine.dialect.name == "sqlite":
        pytest.skip("a file does not fail over")
    [trade] = sql_trades.trades.find(sql_trades.plant(Planted()).trade_no)
    twin = sql_trades.trades.find(sql_trades.plant(Planted()).trade_no)[0]
    work(sql_trades, twin)
    whole = stored(sql_trades, twin.trade_no)
    if work is not claim:
        sql_trades.trades.claim_repair(claim_of(trade))
    before = stored(sql_trades, trade.trade_no)
    failover = failing_over(sql_trades.sql._engine, sql_trades.engine, verb)
    with failover as ended, pytest.raises(PortError) as told:
        work(sql_trades, trade)
    assert ended
    assert stored(sql_trades, trade.trade_no) == before
    assert "://" not in str(told.value)
    work(sql_trades, trade)
    assert stored(sql_trades, trade.trade_no)[1:] == whole[1:]
