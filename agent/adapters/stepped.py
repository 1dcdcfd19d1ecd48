"""Finding the trades of which Piculus once took certain steps, from its own two tables in production."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, DateTime, literal, select

from agent.adapters.tables import TradeTables


def stepped_since(
    connection: Connection, tables: TradeTables, steps: Sequence[str], since: datetime, after: str, most: int
) -> list[str]:
    """Return, ascending, up to ``most`` numbers behind ``after`` of trades that have such a step.

    ``since``, naive UTC: when their newest repair was begun, at the earliest. Only our own tables are joined:
    a join with production's, whose text may sort otherwise, would keep the database off its index.
    """
    repair, step = tables.repair.c, tables.step.c
    has_step = (
        select(literal(1))
        .select_from(tables.step)
        .where(step.trade_no == repair.trade_no, step.name.in_(steps))
        .exists()
    )
    statement = (
        select(repair.trade_no)
        .where(repair.started_at >= literal(since, DateTime()), repair.trade_no > after, has_step)
        .order_by(repair.trade_no)
        .limit(most)
    )
    return list(connection.execute(statement).scalars())
