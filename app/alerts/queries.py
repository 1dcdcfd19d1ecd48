"""Reading what was sent."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select

from app.alerts.models import AlertChannel, AlertDelivery
from app.errors import NotFoundError
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of

GroupIds = Collection[int] | None
"""The groups a person may see; None: all."""


@dataclass(frozen=True)
class DeliveryFilter:
    """What is looked for; '' and None do not narrow. ``group_ids`` None: of every group.

    ``has_common``: what concerns no group in particular, such as a stop of everything, belongs to it.
    """

    group_ids: GroupIds = None
    has_common: bool = True
    kind: str = ""
    state: str = ""
    channel_id: int | None = None


def list_deliveries(
    session: ReadSession, wanted: DeliveryFilter, cut: Cut
) -> tuple[Page[AlertDelivery], CappedCount]:
    """Return a page of messages, the newest first, and how many match."""
    filters = _filters(wanted)
    order = Order(AlertDelivery.id, AlertDelivery.id)
    return page_of(session, AlertDelivery, filters, order, cut), capped_count(session, AlertDelivery, filters)


def get_delivery(session: ReadSession, delivery_id: int, group_ids: GroupIds) -> AlertDelivery:
    """Return the message. Raises NotFoundError where it is absent or of a group not to be seen."""
    delivery = session.get(AlertDelivery, delivery_id)
    is_hidden = delivery is not None and (
        group_ids is not None and delivery.group_id is not None and delivery.group_id not in group_ids
    )
    if delivery is None or is_hidden:
        raise NotFoundError("alert_delivery")
    return delivery


def failing_channels(session: ReadSession, group_ids: GroupIds) -> list[AlertChannel]:
    """Return the channels in use whose newest message failed."""
    statement = select(AlertChannel).where(AlertChannel.is_enabled, AlertChannel.failing_since.is_not(None))
    if group_ids is not None:
        statement = statement.where(
            or_(AlertChannel.group_id.is_(None), AlertChannel.group_id.in_(group_ids))
        )
    return list(session.scalars(statement.order_by(AlertChannel.name)).unique())


def _filters(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        of_groups = AlertDelivery.group_id.in_(wanted.group_ids)
        common = AlertDelivery.group_id.is_(None)
        filters.append(or_(of_groups, common) if wanted.has_common else of_groups)
    if wanted.kind:
        filters.append(AlertDelivery.kind == wanted.kind)
    if wanted.state:
        filters.append(AlertDelivery.state == wanted.state)
    if wanted.channel_id is not None:
        filters.append(AlertDelivery.channel_id == wanted.channel_id)
    return filters
