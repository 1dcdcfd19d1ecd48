"""Frames as the monitor lists them: newest first, by keyset, with every scan bounded.

A list is driven by one index (command, trade, agent, type or group) and the other filters are checked on the
rows it yields. Where such a check could reject millions of rows, one page looks at SCAN_SPAN ids only and
says how far it came.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import aliased

from app.agents.models import Agent, Frame
from app.errors import InvalidError, NotFoundError
from app.keyset import PAGE_SIZE, ReadSession, first_ids
from app.monitor.frame_types import COMMAND_TYPES, DIRECTIONS, TYPES
from app.users.models import SystemGroup

SCAN_SPAN = 200_000
TYPE_SAMPLE = 5_000
"""Type counts are over the newest so many frames."""


@dataclass(frozen=True)
class FrameFilter:
    """What a person asks for; an empty value asks for all. ``start`` is inclusive, ``end`` exclusive."""

    agent_id: int | None = None
    type: str = ""
    direction: str = ""
    trade_no: str = ""
    command_id: str = ""
    start: datetime | None = None
    end: datetime | None = None
    is_faulty: bool = False


@dataclass(frozen=True)
class FrameCut:
    """Which page: older than frame ``after``, or newer than frame ``before``; neither: the newest."""

    after: int | None = None
    before: int | None = None
    size: int = PAGE_SIZE


@dataclass(frozen=True)
class FrameLine:
    """A frame without its body. ``answer_ms``: how long its answer took, or it took as an answer."""

    id: int
    at: datetime
    direction: str
    type: str
    size: int
    command_id: str | None
    trade_no: str | None
    error: str
    agent_id: int
    agent_name: str
    sys_code: str
    answer_ms: int | None


@dataclass(frozen=True)
class FramePage:
    """Newest first. ``searched_to``: older frames were not looked at yet; go on with it as ``after``."""

    rows: list[FrameLine] = field(default_factory=list)
    after: int | None = None
    before: int | None = None
    searched_to: int | None = None


GroupIds = Collection[int] | None
"""The groups a person may see; None for all."""


def list_frames(session: ReadSession, groups: GroupIds, wanted: FrameFilter, cut: FrameCut) -> FramePage:
    """Return one page of the frames a person may see. Raises InvalidError on direction, type or end."""
    _check(wanted)
    bounds = _bounds(session, wanted, cut)
    if bounds is None:
        return FramePage()
    low, high = bounds
    is_backward = cut.before is not None
    is_cut_short = False
    if _is_slow(wanted, groups):
        if is_backward and high - low > SCAN_SPAN:
            high = low + SCAN_SPAN
        elif high - low > SCAN_SPAN:
            low, is_cut_short = high - SCAN_SPAN, True
    ids = _find_ids(session, _conditions(groups, wanted), (low, high), is_backward, cut.size + 1)
    has_more = len(ids) > cut.size
    ids = sorted(ids[: cut.size], reverse=True)
    if is_backward and not has_more:
        return list_frames(session, groups, wanted, FrameCut(size=cut.size))
    return FramePage(
        rows=_load(session, ids),
        after=ids[-1] if ids and (has_more or is_backward) else None,
        before=ids[0] if ids and (is_backward or cut.after is not None) else None,
        searched_to=low if is_cut_short and not has_more else None,
    )


def _check(wanted: FrameFilter) -> None:
    if wanted.direction and wanted.direction not in DIRECTIONS:
        raise InvalidError("unknown_direction", field="direction")
    if wanted.type and wanted.type not in TYPES:
        raise InvalidError("unknown_frame_type", field="type")
    if wanted.start and wanted.end and wanted.start >= wanted.end:
        raise InvalidError("window_order", field="end")


def _bounds(session: ReadSession, wanted: FrameFilter, cut: FrameCut) -> tuple[int, int] | None:
    """Return the ids to look at, low inclusive and high exclusive; None for none.

    A time is resolved to the first id at or after it; the writer numbers frames in order of time, save within
    one batch of 50 ms.
    """
    # Asked in one statement, SQLite would read every row for the two.
    low = session.scalar(select(func.min(Frame.id)))
    newest = session.scalar(select(func.max(Frame.id)))
    if low is None or newest is None:
        return None
    high = newest + 1
    if wanted.start is not None:
        low = _first_id_since(session, wanted.start, high)
    if wanted.end is not None:
        high = _first_id_since(session, wanted.end, high)
    if cut.after is not None:
        high = min(high, cut.after)
    if cut.before is not None:
        low = max(low, cut.before + 1)
    return (low, high) if low < high else None


def _first_id_since(session: ReadSession, moment: datetime, otherwise: int) -> int:
    statement = select(Frame.id).where(Frame.at >= moment).order_by(Frame.at, Frame.id).limit(1)
    found = session.scalar(statement)
    return otherwise if found is None else found


def _is_slow(wanted: FrameFilter, groups: GroupIds) -> bool:
    """Return whether rows of the driving index may be rejected one by one for a long way."""
    if wanted.command_id or wanted.trade_no:
        return False
    if wanted.direction or wanted.is_faulty:
        return True
    return bool(wanted.type) and (wanted.agent_id is not None or groups is not None)


def _conditions(groups: GroupIds, wanted: FrameFilter) -> list[list[ColumnElement[bool]]]:
    """Return the conditions of one or more queries, to be united: one a group where groups drive the list.

    A column beside the driving one is hidden in an expression, so that its index does not tempt the planner
    away from an order by id.
    """
    rest: list[ColumnElement[bool]] = []
    if wanted.direction:
        rest.append(Frame.direction == wanted.direction)
    if wanted.is_faulty:
        rest.append(Frame.error != "")
    drivers: list[ColumnElement[bool]] = []
    if wanted.command_id:
        drivers.append(Frame.command_id == wanted.command_id)
    if wanted.trade_no:
        drivers.append(
            Frame.trade_no == wanted.trade_no if not drivers else Frame.trade_no.concat("") == wanted.trade_no
        )
    if wanted.agent_id is not None:
        drivers.append(
            Frame.agent_id == wanted.agent_id if not drivers else Frame.agent_id + 0 == wanted.agent_id
        )
    if wanted.type:
        drivers.append(Frame.type == wanted.type if not drivers else Frame.type.concat("") == wanted.type)
    if groups is None:
        return [drivers + rest]
    if drivers:
        return [[*drivers, *rest, (Frame.group_id + 0).in_(groups)]]
    return [[Frame.group_id == group_id, *rest] for group_id in groups]


def _find_ids(
    session: ReadSession,
    alternatives: Sequence[list[ColumnElement[bool]]],
    bounds: tuple[int, int],
    is_backward: bool,
    limit: int,
) -> list[int]:
    low, high = bounds
    order = Frame.id.asc() if is_backward else Frame.id.desc()
    parts: list[Select[Any]] = [
        select(Frame.id).where(*conditions, Frame.id >= low, Frame.id < high).order_by(order).limit(limit)
        for conditions in alternatives
    ]
    return first_ids(session, parts, limit, is_descending=not is_backward)


def _load(session: ReadSession, ids: Sequence[int]) -> list[FrameLine]:
    answer = aliased(Frame)
    answered = (
        select(answer.latency_ms)
        .where(
            answer.command_id == Frame.command_id, answer.direction == "in", answer.latency_ms.is_not(None)
        )
        .order_by(answer.id)
        .limit(1)
        .correlate(Frame)
        .scalar_subquery()
    )
    statement = (
        select(
            Frame.id,
            Frame.at,
            Frame.direction,
            Frame.type,
            Frame.size,
            Frame.command_id,
            Frame.trade_no,
            Frame.error,
            Frame.agent_id,
            Agent.name.label("agent_name"),
            SystemGroup.sys_code,
            Frame.latency_ms,
            answered.label("answer_ms"),
        )
        .outerjoin(Agent, Agent.id == Frame.agent_id)
        .outerjoin(SystemGroup, SystemGroup.id == Frame.group_id)
        .where(Frame.id.in_(ids))
        .order_by(Frame.id.desc())
    )
    return [_line(row) for row in session.execute(statement)] if ids else []


def _line(row: Any) -> FrameLine:
    is_command = row.direction == "out" and row.type in COMMAND_TYPES
    return FrameLine(
        id=row.id,
        at=row.at,
        direction=row.direction,
        type=row.type,
        size=row.size,
        command_id=row.command_id,
        trade_no=row.trade_no,
        error=row.error,
        agent_id=row.agent_id,
        agent_name=row.agent_name or "",
        sys_code=row.sys_code or "",
        answer_ms=row.answer_ms if is_command else row.latency_ms,
    )


def count_types(session: ReadSession, groups: GroupIds) -> list[tuple[str, int]]:
    """Return (type, frames) over the newest TYPE_SAMPLE frames, most frequent first."""
    newest = select(Frame.type, Frame.group_id).order_by(Frame.id.desc()).limit(TYPE_SAMPLE).subquery()
    statement = select(newest.c.type, func.count()).group_by(newest.c.type).order_by(func.count().desc())
    if groups is not None:
        statement = statement.where(newest.c.group_id.in_(groups))
    return [(name, count) for name, count in session.execute(statement)]


def get_frame(session: ReadSession, frame_id: int, groups: GroupIds) -> tuple[Frame, FrameLine]:
    """Return a frame with its body, and its line. Raises NotFoundError('frame')."""
    frame = session.get(Frame, frame_id)
    if frame is None or (groups is not None and frame.group_id not in groups):
        raise NotFoundError("frame", id=frame_id)
    return frame, _load(session, [frame_id])[0]
