"""Counting what was begun lately, from Piculus's own table in production: over every agent of the group."""

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, DateTime, func, literal, select

from agent.adapters.names import TradeColumns
from agent.adapters.rows import naive, number, plain_amount
from agent.adapters.tables import TradeTables
from agent.money import parse_minor
from agent.records import Begun

ABANDONED = "abandoned"


def begun_since(
    connection: Connection, tables: TradeTables, columns: TradeColumns, since: datetime, but: str
) -> Begun:
    """Count the trades whose newest repair was begun since and add up their amounts, but for one trade's.

    Amounts are added here, not in SQL: production may keep them as it likes.
    """
    repair, trade = tables.repair.c, tables.trade.c
    amount, currency = trade[columns.amount], trade[columns.currency]
    statement = (
        select(amount, currency, func.count())
        .select_from(tables.repair)
        .outerjoin(tables.trade, trade[columns.trade_no] == repair.trade_no)
        .where(repair.started_at >= literal(naive(since), DateTime()))
        .where(repair.state != ABANDONED, repair.trade_no != but)
        .group_by(amount, currency)
    )
    trades, amounts = 0, Counter[str]()
    for stored, of_currency, count in connection.execute(statement):
        trades += count
        amounts[number(of_currency)] += (parse_minor(plain_amount(stored)) or 0) * count
    return Begun(trades=trades, amounts=amounts)
