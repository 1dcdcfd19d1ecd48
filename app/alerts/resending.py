"""Sending a message again that could not be delivered: a person's word, after the attempts of its own."""

from datetime import datetime

from sqlalchemy import select

from app.alerts.models import AlertChannel, AlertDelivery
from app.alerts.queries import GroupIds, get_delivery
from app.audit import service as audit
from app.audit.reasons import optional_reason
from app.audit.service import Actor
from app.errors import ConflictError
from app.unit_of_work import WorkSession


def send_again(
    session: WorkSession, delivery_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> AlertDelivery:
    """Have a failed message sent once more, at once; quiet hours and silences hold for it too.

    Raises NotFoundError('alert_delivery'), InvalidError for the reason, ConflictError: alert_not_failed,
    alert_channel_off.
    """
    reason = optional_reason(reason)
    get_delivery(session, delivery_id, group_ids)
    held = select(AlertDelivery).where(AlertDelivery.id == delivery_id).with_for_update(of=AlertDelivery)
    delivery = session.scalars(held.execution_options(populate_existing=True)).unique().one()
    if not delivery.can_be_sent_again:
        raise ConflictError("alert_not_failed")
    channel = session.get_one(AlertChannel, delivery.channel_id)
    if not channel.is_enabled:
        raise ConflictError("alert_channel_off", name=delivery.channel_name)
    delivery.state, delivery.due_at, delivery.ended_at = "pending", now, None
    session.flush()
    _record(session, delivery, reason, actor, now)
    return delivery


def _record(session: WorkSession, delivery: AlertDelivery, reason: str, actor: Actor, now: datetime) -> None:
    audit.record(
        session,
        actor=actor,
        action="alert.send_again",
        object_type="alert",
        object_id=delivery.id,
        object_name=delivery.title or delivery.channel_name,
        sys_code=None if delivery.group is None else delivery.group.sys_code,
        reason=reason,
        detail={
            "channel": delivery.channel_name,
            "kind": delivery.kind,
            "attempts": delivery.attempts,
        },
        now=now,
    )
    session.touch("alerts", "audit")
