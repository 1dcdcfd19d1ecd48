"""Reading money orders for a page."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from app.anomalies.models import Anomaly
from app.executions.order_guard import Trade
from app.executions.order_models import MoneyOrder
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of


@dataclass(frozen=True)
class OrderFilter:
    """``group_ids`` None: every group; '' for any state or number, ``trade_no`` by its beginning."""

    group_ids: Collection[int] | None = None
    state: str = ""
    trade_no: str = ""


def list_orders(session: ReadSession, wanted: OrderFilter, cut: Cut) -> Page[MoneyOrder]:
    """Return a page of orders, the newest first. Raises InvalidError('cursor')."""
    return page_of(session, MoneyOrder, _conditions(wanted), Order(MoneyOrder.id, MoneyOrder.id), cut)


def count_orders(session: ReadSession, wanted: OrderFilter) -> CappedCount:
    """Return how many match."""
    return capped_count(session, MoneyOrder, _conditions(wanted))


def count_waiting(session: ReadSession, group_ids: Collection[int] | None) -> int:
    """Return how many orders of the groups wait for a second person; they are few."""
    conditions = _conditions(OrderFilter(group_ids, "proposed"))
    return session.execute(select(func.count()).select_from(MoneyOrder).where(*conditions)).scalar_one()


def find_proposed(session: ReadSession, trades: Collection[Trade]) -> dict[Trade, MoneyOrder]:
    """Return the orders that wait for a second person, by their trade among ``trades``; one query."""
    orders = select(MoneyOrder).where(
        MoneyOrder.state == "proposed", MoneyOrder.trade_no.in_([trade_no for _, trade_no in trades])
    )
    found = {(order.group_id, order.trade_no): order for order in session.scalars(orders)}
    return {trade: found[trade] for trade in trades if trade in found}


def find_whole_by(session: ReadSession, anomaly: Anomaly) -> str | None:
    """Return the action of the order that has repaired an anomaly, None where none has."""
    if anomaly.state != "repaired":
        return None
    newest = select(MoneyOrder).where(MoneyOrder.anomaly_id == anomaly.id).order_by(MoneyOrder.id.desc())
    order = session.scalars(newest.limit(1)).first()
    return order.action if order is not None and order.outcome == "repaired" else None


def _conditions(wanted: OrderFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        conditions.append(MoneyOrder.group_id.in_(wanted.group_ids))
    if wanted.state:
        conditions.append(MoneyOrder.state == wanted.state)
    if wanted.trade_no:
        conditions.append(MoneyOrder.trade_no.startswith(wanted.trade_no, autoescape=True))
    return conditions
