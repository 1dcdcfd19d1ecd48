"""Channels: made, changed, deleted by an admin. A URL is looked at before it is kept, and never told."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import or_, select

from app.alerts.events import KINDS
from app.alerts.models import CHANNEL_KINDS, AlertChannel
from app.alerts.outbox import drop_undone
from app.alerts.sender import OWN_ADDRESSES, SCHEMES, BadUrlError, Sender
from app.audit import service as audit
from app.audit.reasons import reason_errors, required_reason
from app.audit.service import Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.i18n import LANGUAGES, is_zone
from app.keyset import ReadSession
from app.unit_of_work import WorkSession
from app.users.groups import find_group
from app.users.service import FormErrors

NAME_LIMIT: Final = 80
URL_LIMIT: Final = 2_000
GROUPING: Final = (10, 3_600)
"""The least and the most seconds that events gather at first."""
LEVELS: Final = range(4)
_hour: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")

Wrong = InvalidError | ConflictError


@dataclass(frozen=True)
class ChannelValues:
    """What a form says of a channel. ``url`` '' keeps the one it has; one that its service shows is kept in a
    scheme of SCHEMES. ``sys_code`` '' is every group.

    ``grouping_seconds`` and ``least_level`` None: what was typed is no number.
    """

    name: str
    kind: str
    url: str
    is_plain_confirmed: bool
    sys_code: str
    kinds: tuple[str, ...]
    least_level: int | None
    language: str
    grouping_seconds: int | None
    quiet_from: str
    quiet_to: str
    zone: str
    tells_recovery: bool
    is_enabled: bool
    reason: str = ""


def list_channels(session: ReadSession, group_ids: Sequence[int] | None) -> list[AlertChannel]:
    """Return the channels by name; ``group_ids`` those a person may see, None: all."""
    statement = select(AlertChannel).order_by(AlertChannel.name)
    if group_ids is not None:
        statement = statement.where(
            or_(AlertChannel.group_id.is_(None), AlertChannel.group_id.in_(group_ids))
        )
    return list(session.scalars(statement).unique())


def get_channel(session: ReadSession, channel_id: int) -> AlertChannel:
    """Return the channel. Raises NotFoundError('alert_channel')."""
    channel = session.get(AlertChannel, channel_id)
    if channel is None:
        raise NotFoundError("alert_channel")
    return channel


def create_channel(
    session: WorkSession, values: ChannelValues, *, sender: Sender, actor: Actor, now: datetime
) -> AlertChannel:
    """Make a channel. Raises FormErrors."""
    values = _written(values, sender)
    wrong = _mistakes(session, values, sender, None)
    if wrong:
        raise FormErrors(wrong)
    channel = AlertChannel(**_columns(session, values), created_at=now, updated_at=now, updated_by=actor.name)
    session.add(channel)
    session.flush()
    _record(session, channel, "alert_channel.create", actor, values.reason, now, {"kinds": channel.kinds})
    return channel


def update_channel(
    session: WorkSession,
    channel_id: int,
    values: ChannelValues,
    *,
    sender: Sender,
    actor: Actor,
    now: datetime,
) -> AlertChannel:
    """Change a channel; disabling it takes a reason and drops what waits for it.

    Raises NotFoundError, FormErrors.
    """
    channel = get_channel(session, channel_id)
    values = _written(values, sender)
    wrong = _mistakes(session, values, sender, channel)
    if wrong:
        raise FormErrors(wrong)
    wanted = _columns(session, values)
    changed: dict[str, Any] = {
        name: [getattr(channel, name), value]
        for name, value in wanted.items()
        if getattr(channel, name) != value
    }
    if "url" in changed:
        changed["url"] = "changed"
        channel.failing_since, channel.last_error = None, ""
    for name, value in wanted.items():
        setattr(channel, name, value)
    channel.updated_at, channel.updated_by = now, actor.name
    if not channel.is_enabled:
        drop_undone(session, channel.id, now)
    _record(session, channel, "alert_channel.update", actor, values.reason, now, changed)
    return channel


def delete_channel(
    session: WorkSession, channel_id: int, *, reason: str, actor: Actor, now: datetime
) -> AlertChannel:
    """Delete a channel; what was sent to it stays in the history. Raises NotFoundError, InvalidError."""
    reason = required_reason(reason)
    channel = get_channel(session, channel_id)
    drop_undone(session, channel.id, now)
    _record(session, channel, "alert_channel.delete", actor, reason, now, {})
    session.delete(channel)
    return channel


def record_test(
    session: WorkSession, channel: AlertChannel, *, actor: Actor, error: str, now: datetime
) -> None:
    """Keep that somebody has tried a channel, and whether the message went."""
    _record(session, channel, "alert_channel.test", actor, "", now, {"sent": not error})


def _written(values: ChannelValues, sender: Sender) -> ChannelValues:
    is_short = len(values.url) <= URL_LIMIT
    return replace(values, url=sender.written(values.url)) if is_short else values


def _columns(session: ReadSession, values: ChannelValues) -> dict[str, Any]:
    group = find_group(session, values.sys_code) if values.sys_code else None
    columns: dict[str, Any] = {
        "name": values.name,
        "kind": values.kind,
        "group_id": None if group is None else group.id,
        "kinds": [kind for kind in KINDS if kind in values.kinds],
        "least_level": values.least_level,
        "language": values.language,
        "grouping_seconds": values.grouping_seconds,
        "quiet_from": values.quiet_from,
        "quiet_to": values.quiet_to,
        "zone": values.zone,
        "tells_recovery": values.tells_recovery,
        "is_enabled": values.is_enabled,
    }
    return {**columns, "url": values.url} if values.url else columns


def _mistakes(
    session: ReadSession, values: ChannelValues, sender: Sender, channel: AlertChannel | None
) -> list[Wrong]:
    wrong: list[Wrong] = _name_errors(session, values.name, channel)
    if values.kind not in CHANNEL_KINDS:
        wrong.append(
            InvalidError("choice" if values.kind else "required", field="channel_kind", value=values.kind)
        )
    elif values.url:
        wrong += _url_errors(values, sender)
    elif channel is None or values.kind != channel.kind:
        wrong.append(InvalidError("required", field="url"))
    if values.sys_code and find_group(session, values.sys_code) is None:
        wrong.append(InvalidError("unknown_group", field="group"))
    if not values.kinds:
        wrong.append(InvalidError("alert_kinds", field="kinds"))
    wrong += [InvalidError("choice", field="kinds", value=kind) for kind in set(values.kinds) - set(KINDS)]
    if values.least_level not in LEVELS:
        wrong.append(InvalidError("choice", field="least_level", value=""))
    if values.language not in LANGUAGES:
        wrong.append(InvalidError("unknown_locale", field="language"))
    low, high = GROUPING
    if values.grouping_seconds is None or not low <= values.grouping_seconds <= high:
        wrong.append(InvalidError("range", field="grouping_seconds", low=low, high=high))
    wrong += _quiet_errors(values)
    is_disabled_now = channel is not None and channel.is_enabled and not values.is_enabled
    return [*wrong, *reason_errors(values.reason, is_required=is_disabled_now)]


def _name_errors(session: ReadSession, name: str, channel: AlertChannel | None) -> list[Wrong]:
    if not name:
        return [InvalidError("required", field="name")]
    if len(name) > NAME_LIMIT:
        return [InvalidError("too_long", field="name", limit=NAME_LIMIT)]
    holder = session.scalars(select(AlertChannel.id).where(AlertChannel.name == name)).first()
    if holder is not None and (channel is None or holder != channel.id):
        return [ConflictError("alert_name_taken", field="name", name=name)]
    return []


def _url_errors(values: ChannelValues, sender: Sender) -> list[Wrong]:
    if len(values.url) > URL_LIMIT:
        return [InvalidError("too_long", field="url", limit=URL_LIMIT)]
    try:
        scheme = urlsplit(values.url).scheme.lower()
    except ValueError:
        return [InvalidError("alert_url", field="url")]
    allowed = SCHEMES[values.kind]
    if scheme not in allowed:
        # Only the scheme is told again; without one what was typed may be the token.
        told = f"{scheme}://" if scheme and "://" in values.url else "—"
        own = (f"{one}…" for one in OWN_ADDRESSES.get(values.kind, ()))
        written = " / ".join((*own, *(f"{one}://" for one in allowed)))
        return [InvalidError("alert_scheme", field="url", scheme=told[:20], allowed=written)]
    try:
        destination = sender.check(values.url)
    except BadUrlError as error:
        return [InvalidError(error.code, field="url")]
    if not destination.is_encrypted and not values.is_plain_confirmed:
        return [InvalidError("alert_plain", field="is_plain_confirmed")]
    return []


def _quiet_errors(values: ChannelValues) -> list[Wrong]:
    wrong: list[Wrong] = []
    for name in ("quiet_from", "quiet_to"):
        typed = getattr(values, name)
        if typed and not _hour.fullmatch(typed):
            wrong.append(InvalidError("alert_hour", field=name))
    if bool(values.quiet_from) != bool(values.quiet_to):
        missing = "quiet_to" if values.quiet_from else "quiet_from"
        wrong.append(InvalidError("alert_quiet_half", field=missing))
    elif values.quiet_from and values.quiet_from == values.quiet_to:
        wrong.append(InvalidError("alert_quiet_whole", field="quiet_to"))
    if not is_zone(values.zone):
        wrong.append(InvalidError("zone", field="zone"))
    return wrong


def _record(
    session: WorkSession,
    channel: AlertChannel,
    action: str,
    actor: Actor,
    reason: str,
    now: datetime,
    detail: dict[str, Any],
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="alert_channel",
        object_id=channel.id,
        object_name=channel.name,
        reason=reason.strip(),
        detail=detail,
        now=now,
    )
    session.touch("alerts", "audit")
