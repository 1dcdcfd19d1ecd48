"""Deleting what is too old, in batches of at most BATCH rows, so that no writer waits long."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import ColumnElement, CursorResult, and_, delete, exists, func, select, tuple_

from app.agents.models import LIVE, Command, Frame, ReceivedMessage
from app.extensions import Base
from app.guards.models import BegunRepair
from app.keyset import ReadSession
from app.plans.models import Tick
from app.unit_of_work import WorkSession
from app.users.models import EndedLogin
from app.users.sessions import LOGIN_LASTS

BATCH: Final = 1000
COUNTED: Final = timedelta(days=3)
"""What limits and breakers count is a day or an hour old, an attempt has ended long before."""
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


@dataclass(frozen=True)
class Sweep:
    """One kind of row that grows old. ``find`` returns the condition of the next batch, None for none."""

    model: type[Base]
    find: Callable[[ReadSession], ColumnElement[bool] | None]

    def has_work(self, session: ReadSession) -> bool:
        """Return whether a batch would delete anything; a read that needs no lock."""
        old = self.find(session)
        return old is not None and bool(session.scalar(select(exists().where(old).select_from(self.model))))

    def delete_batch(self, session: WorkSession) -> int:
        """Delete one batch; return how many rows went: a full batch means that more may follow."""
        old = self.find(session)
        if old is None:
            return 0
        done = session.execute(
            delete(self.model).where(old), execution_options={"synchronize_session": False}
        )
        assert isinstance(done, CursorResult)
        return done.rowcount


def sweeps(ages: Ages, now: datetime) -> tuple[Sweep, ...]:
    """Return one sweep for each kind of row that grows old."""
    heartbeats_before = now - timedelta(days=ages.heartbeat_frame_days)
    frames_before = now - timedelta(days=ages.frame_days)
    messages_before = now - timedelta(days=ages.received_message_days)
    logins_before = now - LOGIN_LASTS
    ticks_before = now - timedelta(days=ages.tick_days)
    return (
        Sweep(Frame, lambda _: _old_heartbeats(heartbeats_before)),
        Sweep(Frame, lambda _: _old_frames(frames_before)),
        Sweep(Frame, lambda session: _frames_beyond(session, ages.frame_rows_cap)),
        Sweep(ReceivedMessage, lambda _: _old_messages(messages_before)),
        Sweep(Command, lambda _: _old_verifies(frames_before)),
        Sweep(Tick, lambda _: _old_ticks(ticks_before)),
        Sweep(EndedLogin, lambda _: _old_logins(logins_before)),
        Sweep(BegunRepair, lambda session: _old_begun(session, now - COUNTED)),
    )


def _old_heartbeats(before: datetime) -> ColumnElement[bool]:
    # By the index on (type, id): ids rise with time, so the oldest of the type are looked at first.
    oldest = (
        select(Frame.id, Frame.at).where(Frame.type.in_(HEARTBEAT_TYPES)).order_by(Frame.id).limit(BATCH)
    ).subquery()
    return Frame.id.in_(select(oldest.c.id).where(oldest.c.at < before))


def _old_verifies(before: datetime) -> ColumnElement[bool]:
    # A Verify writes nothing and is asked again and again; its frames go at the same age. A Repair stays: the
    # fence of the trade's next one is counted from it.
    oldest = (
        select(Command.seq, Command.created_at, Command.state)
        .where(Command.type == "Verify")
        .order_by(Command.seq)
        .limit(BATCH)
    ).subquery()
    old = select(oldest.c.seq).where(oldest.c.created_at < before, oldest.c.state.not_in(LIVE))
    return Command.seq.in_(old)


def _old_frames(before: datetime) -> ColumnElement[bool]:
    return Frame.id.in_(select(Frame.id).where(Frame.at < before).order_by(Frame.at).limit(BATCH))


def _frames_beyond(session: ReadSession, cap: int) -> ColumnElement[bool] | None:
    # Two queries: asked for both at once, SQLite reads every id.
    newest, first = session.scalar(select(func.max(Frame.id))), session.scalar(select(func.min(Frame.id)))
    if newest is None or first is None or newest - first < cap:
        return None
    return Frame.id.in_(select(Frame.id).where(Frame.id <= newest - cap).order_by(Frame.id).limit(BATCH))


def _old_messages(before: datetime) -> ColumnElement[bool]:
    key = tuple_(ReceivedMessage.agent_id, ReceivedMessage.message_id)
    oldest = (
        select(ReceivedMessage.agent_id, ReceivedMessage.message_id)
        .where(ReceivedMessage.at < before)
        .order_by(ReceivedMessage.at)
        .limit(BATCH)
    )
    return key.in_(oldest)


def _old_ticks(before: datetime) -> ColumnElement[bool]:
    return Tick.id.in_(select(Tick.id).where(Tick.at < before).order_by(Tick.at).limit(BATCH))


def _old_begun(session: ReadSession, before: datetime) -> ColumnElement[bool]:
    # Ids rise with time, one by one: the oldest are looked at, whatever is kept.
    first = session.scalar(select(func.min(BegunRepair.id)))
    return and_(BegunRepair.id < (first or 0) + BATCH, BegunRepair.begun_at < before)


def _old_logins(before: datetime) -> ColumnElement[bool]:
    oldest = select(EndedLogin.login_id).where(EndedLogin.at < before).order_by(EndedLogin.at).limit(BATCH)
    return EndedLogin.login_id.in_(oldest)
