"""Counting what was begun lately, from Piculus's own table in production: over every agent of the group."""

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, DateTime, exists, func, literal, or_, select

from agent.adapters.names import TradeColumns
from agent.adapters.rows import naive, number, plain_amount
from agent.adapters.tables import TradeTables
from agent.money import parse_minor
from agent.records import Begun

ABANDONED = "abandoned"
DONE = "done"


def begun_since(
    connection: Connection, tables: TradeTables, columns: TradeColumns, since: datetime, but: str
) -> Begun:
    """Count the trades whose newest repair was begun since and add up their amounts, but for one trade's.

    One that was given up counts where an earlier repair of the trade moved money since.
    Amounts are added here, not in SQL: production may keep them as it likes.
    """
    repair, trade = tables.repair.c, tables.trade.c
    amount, currency = trade[columns.amount], trade[columns.currency]
    step, at = tables.step.c, literal(naive(since), DateTime())
    has_moved_money = exists().where(
        step.trade_no == repair.trade_no, step.moves_money == 1, step.state == DONE, step.started_at >= at
    )
    statement = (
        select(amount, currency, func.count())
        .select_from(tables.repair)
        .outerjoin(tables.trade, trade[columns.trade_no] == repair.trade_no)
        .where(repair.started_at >= at, or_(repair.state != ABANDONED, has_moved_money))
        .where(repair.trade_no != but)
        .group_by(amount, currency)
    )
    trades, amounts = 0, Counter[str]()
    for stored, of_currency, count in connection.execute(statement):
        trades += count
        amounts[number(of_currency)] += (parse_minor(plain_amount(stored)) or 0) * count
    return Begun(trades=trades, amounts=amounts)
