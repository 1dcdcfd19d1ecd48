"""Deleting what is too old, in batches of at most BATCH rows, so that no writer waits long."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Integer,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    tuple_,
)

from app.agents.models import LIVE, Command, Frame, ReceivedMessage
from app.extensions import Base
from app.guards.models import BegunRepair
from app.keyset import ReadSession
from app.plans.models import Tick
from app.unit_of_work import WorkSession
from app.users.models import EndedLogin, SystemGroup
from app.users.sessions import LOGIN_LASTS

BATCH: Final = 1000
WITNESSED: Final = timedelta(hours=36)
"""A begun repair goes so long before another one that itself began so long ago: a clock that jumps ahead,
however far, can make only one of the two untrue, and what limits and breakers count is a day old at most."""
HEARTBEAT_TYPES: Final = ("Heartbeat",)


class Ages(Protocol):
    """The settings retention reads: ages in days, and the most frames kept whatever their age."""

    @property
    def heartbeat_frame_days(self) -> float: ...
    @property
    def frame_days(self) -> float: ...
    @property
    def frame_rows_cap(self) -> int: ...
    @property
    def received_message_days(self) -> float: ...
    @property
    def tick_days(self) -> float: ...


class _Kind:
    """Rows of one kind. ``old``: which of them are the next batch, over the values of a sweep."""

    def __init__(self, model: type[Base], old: ColumnElement[bool]) -> None:
        self.look = select(exists().where(old).select_from(model))
        self.deletion = delete(model).where(old)


@dataclass(frozen=True)
class Sweep:
    """One kind of row that grows old. ``find`` returns the values that say how old, None where none is."""

    kind: _Kind
    find: Callable[[ReadSession], dict[str, Any] | None]

    def has_work(self, session: ReadSession) -> bool:
        """Return whether a batch would delete anything; a read that needs no lock."""
        values = self.find(session)
        return values is not None and bool(session.scalar(self.kind.look, values))

    def delete_batch(self, session: WorkSession) -> int:
        """Delete one batch; return how many rows went: a full batch means that more may follow."""
        values = self.find(session)
        if values is None:
            return 0
        done = session.execute(self.kind.deletion, values, execution_options={"synchronize_session": False})
        assert isinstance(done, CursorResult)
        return done.rowcount


def sweeps(ages: Ages, now: datetime) -> tuple[Sweep, ...]:
    """Return one sweep for each kind of row that grows old."""
    frames_before = now - timedelta(days=ages.frame_days)
    return (
        _before(_HEARTBEATS, now - timedelta(days=ages.heartbeat_frame_days)),
        _before(_FRAMES, frames_before),
        Sweep(_FRAMES_BEYOND, lambda session: _beyond(session, ages.frame_rows_cap)),
        _before(_MESSAGES, now - timedelta(days=ages.received_message_days)),
        _before(_VERIFIES, frames_before),
        _before(_TICKS, now - timedelta(days=ages.tick_days)),
        _before(_LOGINS, now - LOGIN_LASTS),
        Sweep(_BEGUN, lambda session: _begun(session, now - WITNESSED)),
    )


def _before(kind: _Kind, before: datetime) -> Sweep:
    return Sweep(kind, lambda _: {"before": before, "batch": BATCH})


def _beyond(session: ReadSession, cap: int) -> dict[str, Any] | None:
    # Two queries: asked for both at once, SQLite reads every id.
    newest, first = session.scalar(_NEWEST_FRAME), session.scalar(_FIRST_FRAME)
    if newest is None or first is None or newest - first < cap:
        return None
    return {"last": newest - cap, "batch": BATCH}


def _begun(session: ReadSession, before: datetime) -> dict[str, Any] | None:
    # Ids rise with time, one by one: the oldest are looked at, whatever is kept.
    first, witness = session.scalar(_FIRST_BEGUN), session.scalar(_LAST_BEGUN, {"before": before})
    if first is None or witness is None:
        return None
    return {"end": first + BATCH, "before": witness - WITNESSED}


_AT_ONCE: Final = bindparam("batch", type_=Integer())


def _old_heartbeats() -> ColumnElement[bool]:
    # By the index on (type, id): ids rise with time, so the oldest of the type are looked at first.
    oldest = (
        select(Frame.id, Frame.at).where(Frame.type.in_(HEARTBEAT_TYPES)).order_by(Frame.id).limit(_AT_ONCE)
    ).subquery()
    return Frame.id.in_(select(oldest.c.id).where(oldest.c.at < bindparam("before")))


def _old_verifies() -> ColumnElement[bool]:
    # A Verify writes nothing and is asked again and again; its frames go at the same age. A Repair stays: the
    # fence of the trade's next one is counted from it.
    oldest = (
        select(Command.seq, Command.created_at, Command.state)
        .where(Command.type == "Verify")
        .order_by(Command.seq)
        .limit(_AT_ONCE)
    ).subquery()
    is_old = oldest.c.created_at < bindparam("before")
    return Command.seq.in_(select(oldest.c.seq).where(is_old, oldest.c.state.not_in(LIVE)))


def _old_frames() -> ColumnElement[bool]:
    oldest = select(Frame.id).where(Frame.at < bindparam("before")).order_by(Frame.at)
    return Frame.id.in_(oldest.limit(_AT_ONCE))


def _frames_beyond() -> ColumnElement[bool]:
    oldest = select(Frame.id).where(Frame.id <= bindparam("last")).order_by(Frame.id)
    return Frame.id.in_(oldest.limit(_AT_ONCE))


def _old_messages() -> ColumnElement[bool]:
    key = tuple_(ReceivedMessage.agent_id, ReceivedMessage.message_id)
    oldest = (
        select(ReceivedMessage.agent_id, ReceivedMessage.message_id)
        .where(ReceivedMessage.at < bindparam("before"))
        .order_by(ReceivedMessage.at)
        .limit(_AT_ONCE)
    )
    return key.in_(oldest)


def _old_ticks() -> ColumnElement[bool]:
    return Tick.id.in_(select(Tick.id).where(Tick.at < bindparam("before")).order_by(Tick.at).limit(_AT_ONCE))


def _old_begun() -> ColumnElement[bool]:
    return and_(BegunRepair.id < bindparam("end"), BegunRepair.begun_at < bindparam("before"))


def _old_logins() -> ColumnElement[bool]:
    oldest = select(EndedLogin.login_id).where(EndedLogin.at < bindparam("before")).order_by(EndedLogin.at)
    return EndedLogin.login_id.in_(oldest.limit(_AT_ONCE))


def _last_begun() -> Select[datetime]:
    # Group by group, each by its index.
    of_group = select(func.max(BegunRepair.begun_at)).where(
        BegunRepair.group_id == SystemGroup.id, BegunRepair.begun_at < bindparam("before")
    )
    return select(func.max(of_group.scalar_subquery())).select_from(SystemGroup)


_HEARTBEATS: Final = _Kind(Frame, _old_heartbeats())
_FRAMES: Final = _Kind(Frame, _old_frames())
_FRAMES_BEYOND: Final = _Kind(Frame, _frames_beyond())
_MESSAGES: Final = _Kind(ReceivedMessage, _old_messages())
_VERIFIES: Final = _Kind(Command, _old_verifies())
_TICKS: Final = _Kind(Tick, _old_ticks())
_LOGINS: Final = _Kind(EndedLogin, _old_logins())
_BEGUN: Final = _Kind(BegunRepair, _old_begun())
_NEWEST_FRAME: Final = select(func.max(Frame.id))
_FIRST_FRAME: Final = select(func.min(Frame.id))
_FIRST_BEGUN: Final = select(func.min(BegunRepair.id))
_LAST_BEGUN: Final = _last_begun()
