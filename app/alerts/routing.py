"""From events to messages: what is alike goes together, to each channel that wants it.

A message gathers for its channel's window. While events go on coming the next window is twice as long, up to
LONGEST_WINDOW: ten thousand exhausted trades are a handful of messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select, update

from app.alerts.events import AGENT_OFFLINE, TRADE_KINDS
from app.alerts.models import AlertChannel, AlertDelivery, AlertEvent
from app.alerts.service import open_condition
from app.keyset import ReadSession
from app.plans.models import Plan
from app.unit_of_work import WorkSession

BATCH: Final = 1_000
SAMPLES: Final = 5
LONGEST_WINDOW: Final = 3_600
HIGHEST_LEVEL: Final = 3

Levels = Mapping[tuple[int | None, str | None], int]
"""Plan levels by group and fixer code."""

Bundle = tuple[str, int | None, bool]
"""What goes together: kind, group, and whether it is a recovery."""


def has_events(session: ReadSession) -> bool:
    """Return whether something waits to be routed."""
    return session.scalars(select(AlertEvent.id).limit(1)).first() is not None


def route(session: WorkSession, now: datetime) -> int:
    """Put the oldest BATCH events into deliveries; return how many there were.

    The events are deleted in the same transaction: none is lost by a crash, and none is told twice.
    """
    oldest = select(AlertEvent).order_by(AlertEvent.id).limit(BATCH).with_for_update(skip_locked=True)
    events = list(session.scalars(oldest))
    if not events:
        return 0
    for event in events:
        if event.kind in TRADE_KINDS and not event.is_recovery:
            open_condition(session, event.kind, group_id=event.group_id, key="", params={}, now=event.at)
    levels = _levels(session, events)
    channels = session.scalars(select(AlertChannel).where(AlertChannel.is_enabled)).unique().all()
    bundles = _bundles(events)
    for channel in channels:
        for bundle, alike in bundles:
            _offer(session, channel, bundle, alike, levels, now)
    session.execute(delete(AlertEvent).where(AlertEvent.id.in_([event.id for event in events])))
    session.touch("alerts")
    return len(events)


def offer(session: WorkSession, channel: AlertChannel, events: Sequence[AlertEvent], now: datetime) -> None:
    """Gather what has begun, for one channel alone, as ``route`` does for all."""
    levels = _levels(session, events)
    for bundle, alike in _bundles(events):
        _offer(session, channel, bundle, alike, levels, now)


def _bundles(events: Iterable[AlertEvent]) -> list[tuple[Bundle, list[AlertEvent]]]:
    """Put together what is alike and has nothing of the other sort, beginnings or ends, in between.

    So each end finds its beginning gathered, and of a group of trades what came last is what is told.
    """
    bundles: list[tuple[Bundle, list[AlertEvent]]] = []
    newest: dict[tuple[str, int | None], tuple[Bundle, list[AlertEvent]]] = {}
    for event in events:
        bundle = (event.kind, event.group_id, event.is_recovery)
        of_kind = newest.get(bundle[:2])
        if of_kind is None or of_kind[0] != bundle:
            of_kind = newest[bundle[:2]] = (bundle, [])
            bundles.append(of_kind)
        of_kind[1].append(event)
    return bundles


def _offer(
    session: WorkSession,
    channel: AlertChannel,
    bundle: Bundle,
    events: Sequence[AlertEvent],
    levels: Levels,
    now: datetime,
) -> None:
    kind, group_id, is_recovery = bundle
    is_of_group = channel.group_id is None or group_id is None or channel.group_id == group_id
    if kind not in channel.kinds or not is_of_group:
        return
    if is_recovery:
        heard = [one for one in events if channel.tells_recovery and _must_hear(session, channel, one, now)]
    else:
        heard = [one for one in events if _level(one, levels) >= channel.least_level]
    if heard and kind in TRADE_KINDS and not is_recovery:
        _take_back_recovery(session, channel, bundle, now)
    if heard:
        _gather(session, channel, bundle, heard, now)


def _level(event: AlertEvent, levels: Levels) -> int:
    """The level of the trade's plan; what has no plan has nobody else to look after it."""
    return levels.get((event.group_id, event.params.get("fixer_code")), HIGHEST_LEVEL)


def _must_hear(session: WorkSession, channel: AlertChannel, event: AlertEvent, now: datetime) -> bool:
    """Whether the channel heard, or is about to hear, that this began.

    What it has not heard of, and nothing else with it, it need not hear of at all: an agent that was back
    before the message went. A silence that kept later ones from it has not made it forget the first.
    """
    # Where it ended by a clock that was put back since, it began by that clock.
    since = min(datetime.fromisoformat(event.params["since"]), now)
    told = session.scalars(
        select(AlertDelivery)
        .where(
            *_alike(channel, (event.kind, event.group_id, False)),
            # It gathered before what it gathers now: a message may begin before this condition did.
            func.coalesce(AlertDelivery.ended_at, now) >= since,
            AlertDelivery.state.in_(("pending", "sending", "sent")),
        )
        .order_by(AlertDelivery.id.desc())
        .limit(1)
    ).first()
    if told is None:
        return False
    if event.kind == AGENT_OFFLINE and _is_gathering(told) and _is_alone(told, event):
        told.state, told.ended_at = "dropped", now
        return False
    return True


def _take_back_recovery(session: WorkSession, channel: AlertChannel, bundle: Bundle, now: datetime) -> None:
    """The group is not clear after all: what would have said so is not sent."""
    kind, group_id, _is_recovery = bundle
    of_recovery = _alike(channel, (kind, group_id, True))
    session.execute(
        update(AlertDelivery)
        .where(*of_recovery, AlertDelivery.state == "pending", AlertDelivery.attempts == 0)
        .values(state="dropped", ended_at=now)
    )


def _put_in_order(session: WorkSession, channel: AlertChannel, recovery: AlertDelivery) -> None:
    """No end is told before its beginning, however long that still gathers; and both are told soon.

    What gathers of a lasting condition is due with the recovery, and outbox lets it go first: nobody hears of
    a stop an hour after it was lifted. Trades gather on and the recovery waits: more of them take it back.
    """
    if recovery.kind in TRADE_KINDS:
        begun = _alike(channel, (recovery.kind, recovery.group_id, False))
        latest = session.scalar(
            select(func.max(AlertDelivery.due_at)).where(*begun, AlertDelivery.state == "pending")
        )
        recovery.due_at = recovery.due_at if latest is None else max(recovery.due_at, latest)
    else:
        later = _gathers_longer(channel, recovery)
        session.execute(update(AlertDelivery).where(*later).values(due_at=recovery.due_at))


def _is_full(session: WorkSession, channel: AlertChannel, delivery: AlertDelivery, now: datetime) -> bool:
    """Whether it is a recovery on its way that would be kept waiting for one beginning after another."""
    if not delivery.is_recovery or delivery.kind in TRADE_KINDS or delivery.due_at > now:
        return False
    later = select(AlertDelivery.id).where(*_gathers_longer(channel, delivery))
    return session.scalars(later.limit(1)).first() is not None


def _gathers_longer(channel: AlertChannel, recovery: AlertDelivery) -> tuple[ColumnElement[bool], ...]:
    """A beginning that would go after the recovery."""
    return (
        *_alike(channel, (recovery.kind, recovery.group_id, False)),
        AlertDelivery.state == "pending",
        AlertDelivery.attempts == 0,
        AlertDelivery.due_at > recovery.due_at,
    )


def _is_alone(delivery: AlertDelivery, event: AlertEvent) -> bool:
    return delivery.event_count == 1 and delivery.samples[0].get("name") == event.params.get("name")


def _gather(
    session: WorkSession, channel: AlertChannel, bundle: Bundle, events: Sequence[AlertEvent], now: datetime
) -> None:
    newest = session.scalars(
        select(AlertDelivery)
        .where(*_alike(channel, bundle), AlertDelivery.is_test.is_(False))
        .order_by(AlertDelivery.id.desc())
        .limit(1)
        .with_for_update(of=AlertDelivery)
    ).first()
    if newest is not None and _is_gathering(newest) and not _is_full(session, channel, newest, now):
        delivery = newest
    else:
        delivery = _begin(session, channel, bundle, newest, min(now, events[0].at), now)
    if delivery.is_recovery:
        _put_in_order(session, channel, delivery)
    delivery.event_count += len(events)
    room = SAMPLES - len(delivery.samples)
    if room > 0:
        delivery.samples = [*delivery.samples, *(dict(event.params) for event in events[:room])]


def _begin(
    session: WorkSession,
    channel: AlertChannel,
    bundle: Bundle,
    before: AlertDelivery | None,
    since: datetime,
    now: datetime,
) -> AlertDelivery:
    kind, group_id, is_recovery = bundle
    window = _window(channel.grouping_seconds, before, since)
    delivery = AlertDelivery(
        channel_id=channel.id,
        channel_name=channel.name,
        kind=kind,
        group_id=group_id,
        is_recovery=is_recovery,
        is_test=False,
        state="pending",
        event_count=0,
        samples=[],
        window_seconds=window,
        attempts=0,
        created_at=now,
        due_at=since + timedelta(seconds=window),
    )
    session.add(delivery)
    session.flush()
    return delivery


def _window(shortest: int, before: AlertDelivery | None, since: datetime) -> int:
    """Return how many seconds to gather: twice as long as before where it has hardly stopped since."""
    if before is None or before.state == "dropped" or before.window_seconds == 0:
        return shortest
    is_going_on = since < before.due_at + timedelta(seconds=2 * before.window_seconds)
    return max(shortest, min(2 * before.window_seconds, LONGEST_WINDOW)) if is_going_on else shortest


def _alike(channel: AlertChannel, bundle: Bundle) -> tuple[ColumnElement[bool], ...]:
    kind, group_id, is_recovery = bundle
    return (
        AlertDelivery.channel_id == channel.id,
        AlertDelivery.kind == kind,
        AlertDelivery.group_id.is_(None) if group_id is None else AlertDelivery.group_id == group_id,
        AlertDelivery.is_recovery.is_(is_recovery),
    )


def _is_gathering(delivery: AlertDelivery) -> bool:
    return delivery.state == "pending" and delivery.attempts == 0


def _levels(session: WorkSession, events: Iterable[AlertEvent]) -> dict[tuple[int | None, str | None], int]:
    groups = {event.group_id for event in events if event.kind in TRADE_KINDS}
    rows = session.execute(
        select(Plan.group_id, Plan.fixer_code, Plan.level).where(Plan.group_id.in_(groups))
    )
    return {(group_id, code): level for group_id, code, level in rows}
