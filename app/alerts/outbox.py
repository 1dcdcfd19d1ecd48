"""Messages on their way: claimed before they are sent, settled afterwards.

A claim is committed before the message leaves, so a server that dies in between sends it again when the claim
has run out: at least once, and at most MOST_ATTEMPTS times.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, exists, func, literal_column, or_, select, true, update
from sqlalchemy.orm import aliased

from app.alerts.models import (
    IS_UNDONE,
    UNDONE_SQL,
    AlertChannel,
    AlertCondition,
    AlertDelivery,
    AlertSilence,
)
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

MOST_ATTEMPTS: Final = 6
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=1)
CLAIM_LASTS: Final = timedelta(minutes=2)
PACE: Final = timedelta(seconds=6)
"""Between two messages of a channel: the robots of DingTalk and WeCom refuse more than twenty a minute."""
SILENCED_AT_ONCE: Final = 50
STANDING_TOLD: Final = 5


@dataclass(frozen=True)
class Letter:
    """A claimed delivery, by value: all that composing and sending it takes.

    ``standing``: the params of the first conditions that a recovery leaves, of ``standing_count``.
    """

    delivery_id: int
    attempt: int
    url: str
    kind: str
    language: str
    zone: str
    sys_code: str | None
    is_recovery: bool
    is_test: bool
    event_count: int
    samples: tuple[dict[str, Any], ...]
    standing_count: int = 0
    standing: tuple[dict[str, Any], ...] = ()


def has_work(session: ReadSession, now: datetime) -> bool:
    """Return whether a message is due in a channel that may send now, or a claim has run out."""
    is_ready = AlertDelivery.channel_id.in_([channel.id for channel in _ready(session, now)])
    wanted = or_(_is_due(now) & is_ready, _has_run_out(now))
    return session.scalars(select(AlertDelivery.id).where(IS_UNDONE, wanted).limit(1)).first() is not None


def claim(session: WorkSession, now: datetime) -> list[Letter]:
    """Claim the next due message of each channel that may send now: one at a time, no sooner than PACE."""
    _take_back(session, now)
    quiet = standing_silences(session, now)
    letters = []
    for channel in _ready(session, now):
        delivery = _next(session, channel, quiet, now)
        if delivery is not None:
            letters.append(_claimed(session, channel, delivery, now))
    return letters


def claim_test(session: WorkSession, channel: AlertChannel, now: datetime) -> Letter:
    """Begin a test message of the channel, claimed already: whoever pressed the button sends it."""
    delivery = AlertDelivery(
        channel_id=channel.id,
        channel_name=channel.name,
        kind="test",
        group_id=channel.group_id,
        is_recovery=False,
        is_test=True,
        event_count=0,
        samples=[],
        attempts=0,
        window_seconds=0,
        created_at=now,
        due_at=now,
    )
    session.add(delivery)
    session.flush()
    session.touch("alerts")
    return _claimed(session, channel, delivery, now)


def settle(
    session: WorkSession, letter: Letter, *, title: str, body: str, error: str, now: datetime
) -> AlertDelivery | None:
    """Keep how an attempt ended; '' as ``error`` is a success. None where another has claimed it meanwhile.

    A failure is tried again after a pause, a test is not.
    """
    delivery = session.get(AlertDelivery, letter.delivery_id)
    if delivery is None or delivery.state != "sending" or delivery.attempts != letter.attempt:
        return None
    delivery.title, delivery.body = title[:200], body
    delivery.last_error = error[:300]
    channel = None if delivery.channel_id is None else session.get(AlertChannel, delivery.channel_id)
    if channel is not None:
        _note(channel, error, now)
    if not error:
        delivery.state, delivery.ended_at = "sent", now
    elif letter.is_test or delivery.attempts >= MOST_ATTEMPTS or channel is None:
        delivery.state, delivery.ended_at = "failed", now
    else:
        delivery.state, delivery.due_at = "pending", now + pause_after(delivery.attempts)
    session.touch("alerts")
    return delivery


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many failures."""
    factor: int = 4 ** (attempts - 1)
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def drop_undone(session: WorkSession, channel_id: int, now: datetime) -> None:
    """What waits for the channel is sent no more; what is being sent ends as it does."""
    session.execute(
        update(AlertDelivery)
        .where(AlertDelivery.channel_id == channel_id, AlertDelivery.state == "pending")
        .values(state="dropped", ended_at=now)
    )


def standing_silences(session: ReadSession, now: datetime) -> list[AlertSilence]:
    """Return every silence that holds now."""
    standing = select(AlertSilence).where(AlertSilence.until > now, AlertSilence.ended_at.is_(None))
    return list(session.scalars(standing).unique())


def is_silenced(kind: str, group_id: int | None, silences: list[AlertSilence]) -> bool:
    """Return whether one of these silences covers what is of this kind and group."""
    return any(
        one.kind in (None, kind) and (one.group_id is None or one.group_id == group_id) for one in silences
    )


def _take_back(session: WorkSession, now: datetime) -> None:
    """Whoever claimed these has died: nobody knows whether they went, so they go again."""
    for delivery in session.scalars(select(AlertDelivery).where(IS_UNDONE, _has_run_out(now))).unique():
        delivery.last_error = delivery.last_error or "interrupted"
        channel = None if delivery.channel_id is None else session.get(AlertChannel, delivery.channel_id)
        if channel is None or not channel.is_enabled:
            delivery.state, delivery.ended_at = "dropped", now
        elif delivery.is_test or delivery.attempts >= MOST_ATTEMPTS:
            delivery.state, delivery.ended_at = "failed", now
        else:
            delivery.state, delivery.due_at = "pending", now
        session.touch("alerts")


def _ready(session: ReadSession, now: datetime) -> list[AlertChannel]:
    """Return the channels that may send now."""
    is_rested = or_(AlertChannel.rests_until.is_(None), AlertChannel.rests_until <= now)
    found = session.scalars(select(AlertChannel).where(AlertChannel.is_enabled, is_rested)).unique()
    return [channel for channel in found if not _is_quiet(channel, now)]


def _next(
    session: WorkSession, channel: AlertChannel, silences: list[AlertSilence], now: datetime
) -> AlertDelivery | None:
    """Return the channel's oldest due message that no silence covers, None while one is being sent."""
    of_channel = (IS_UNDONE, AlertDelivery.channel_id == channel.id)
    is_busy = select(AlertDelivery.id).where(*of_channel, AlertDelivery.state == "sending").limit(1)
    if session.scalars(is_busy).first() is not None:
        return None
    due = (
        select(AlertDelivery)
        .where(*of_channel, _is_due(now))
        # Due together, a beginning goes before its end, though its message may have begun later.
        .order_by(AlertDelivery.due_at, AlertDelivery.is_recovery, AlertDelivery.id)
        .limit(SILENCED_AT_ONCE)
        .with_for_update(of=AlertDelivery, skip_locked=True)
    )
    for delivery in session.scalars(due).unique():
        if not is_silenced(delivery.kind, delivery.group_id, silences):
            return delivery
        delivery.state, delivery.ended_at = "silenced", now
        session.touch("alerts")
    return None


def _claimed(session: ReadSession, channel: AlertChannel, delivery: AlertDelivery, now: datetime) -> Letter:
    delivery.state, delivery.claimed_at = "sending", now
    delivery.attempts += 1
    channel.rests_until = now + PACE
    return letter_of(
        session, delivery, channel, url=channel.url, language=channel.language, zone=channel.zone
    )


def letter_of(
    session: ReadSession,
    delivery: AlertDelivery,
    channel: AlertChannel | None,
    *,
    url: str,
    language: str,
    zone: str,
    group_ids: Collection[int] | None = None,
) -> Letter:
    """Return a delivery by value. ``channel`` None: it has been deleted. ``group_ids``: the groups of which
    its reader is told what still holds, None: of all.
    """
    group = delivery.group
    if delivery.is_test and channel is not None:
        group = channel.group
    count, standing = _standing(session, delivery, channel, group_ids) if delivery.is_recovery else (0, ())
    return Letter(
        delivery_id=delivery.id,
        attempt=delivery.attempts,
        url=url,
        kind=delivery.kind,
        language=language,
        zone=zone,
        sys_code=None if group is None else group.sys_code,
        is_recovery=delivery.is_recovery,
        is_test=delivery.is_test,
        event_count=delivery.event_count,
        samples=tuple(delivery.samples),
        standing_count=count,
        standing=standing,
    )


def _standing(
    session: ReadSession,
    recovery: AlertDelivery,
    channel: AlertChannel | None,
    group_ids: Collection[int] | None,
) -> tuple[int, tuple[dict[str, Any], ...]]:
    """Return how many conditions of a recovery's kind still hold where it tells of, and the first of them.

    What concerns every group stands in each; where all groups may go on, what still stands in one of them
    is told, too, to a channel of them all.
    """
    group_id = recovery.group_id
    if group_id is None and channel is not None:
        group_id = channel.group_id
    is_here = AlertCondition.group_id.is_(None) | (AlertCondition.group_id == group_id)
    is_seen = AlertCondition.group_id.is_(None) | AlertCondition.group_id.in_(group_ids or ())
    holds = (
        AlertCondition.kind == recovery.kind,
        true() if group_id is None else is_here,
        true() if group_ids is None else is_seen,
    )
    count = session.scalar(select(func.count()).select_from(AlertCondition).where(*holds)) or 0
    first = select(AlertCondition.params).where(*holds).order_by(AlertCondition.since).limit(STANDING_TOLD)
    return count, tuple(session.scalars(first)) if count else ()


def _note(channel: AlertChannel, error: str, now: datetime) -> None:
    channel.last_error = error[:300]
    if error:
        channel.failing_since = channel.failing_since or now
    else:
        channel.failing_since, channel.last_sent_at = None, now


def _is_quiet(channel: AlertChannel, now: datetime) -> bool:
    """Whether the channel's quiet hours hold; they may go over midnight."""
    begin, end = channel.quiet_from, channel.quiet_to
    if not begin or not end:
        return False
    clock = now.astimezone(ZoneInfo(channel.zone)).strftime("%H:%M")
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _is_due(now: datetime) -> ColumnElement[bool]:
    is_held = AlertDelivery.is_recovery & _is_beginning_tried_again()
    is_due: ColumnElement[bool] = (
        (AlertDelivery.state == "pending") & (AlertDelivery.due_at <= now) & ~is_held
    )
    return is_due


def _is_beginning_tried_again() -> ColumnElement[bool]:
    """Whether a beginning of the same kind and group failed to go to the channel and is to be tried again."""
    begun = aliased(AlertDelivery, name="begun")
    return exists().where(
        literal_column(f"begun.{UNDONE_SQL}"),
        begun.channel_id == AlertDelivery.channel_id,
        begun.kind == AlertDelivery.kind,
        begun.group_id.is_not_distinct_from(AlertDelivery.group_id),
        begun.is_recovery.is_(False),
        begun.attempts > 0,
    )


def _has_run_out(now: datetime) -> ColumnElement[bool]:
    has_run_out: ColumnElement[bool] = (AlertDelivery.state == "sending") & (
        AlertDelivery.claimed_at <= now - CLAIM_LASTS
    )
    return has_run_out
