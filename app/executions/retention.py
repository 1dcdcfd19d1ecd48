"""Deleting what is too old, in batches of at most BATCH rows, so that no writer waits long."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from sqlalchemy import CursorResult, Delete, delete, func, select, tuple_

from app.agents.models import LIVE, Command, Frame, ReceivedMessage
from app.guards.models import BegunRepair
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


Sweep = Callable[[WorkSession], int]
"""Deletes one batch and returns how many rows went; a full batch means that more may follow."""


def sweeps(ages: Ages, now: datetime) -> tuple[Sweep, ...]:
    """Return one sweep for each kind of row that grows old."""
    heartbeats_before = now - timedelta(days=ages.heartbeat_frame_days)
    frames_before = now - timedelta(days=ages.frame_days)
    messages_before = now - timedelta(days=ages.received_message_days)
    logins_before = now - LOGIN_LASTS
    ticks_before = now - timedelta(days=ages.tick_days)
    return (
        lambda session: _delete_heartbeats(session, heartbeats_before),
        lambda session: _delete_frames(session, frames_before),
        lambda session: _cap_frames(session, ages.frame_rows_cap),
        lambda session: _delete_messages(session, messages_before),
        lambda session: _delete_verifies(session, frames_before),
        lambda session: _delete_ticks(session, ticks_before),
        lambda session: _delete_logins(session, logins_before),
        lambda session: _delete_begun(session, now - COUNTED),
    )


def _delete_heartbeats(session: WorkSession, before: datetime) -> int:
    # By the index on (type, id): ids rise with time, so the oldest of the type are looked at first.
    oldest = (
        select(Frame.id, Frame.at).where(Frame.type.in_(HEARTBEAT_TYPES)).order_by(Frame.id).limit(BATCH)
    ).subquery()
    return _run(session, delete(Frame).where(Frame.id.in_(select(oldest.c.id).where(oldest.c.at < before))))


def _delete_verifies(session: WorkSession, before: datetime) -> int:
    # A Verify writes nothing and is asked again and again; its frames go at the same age. A Repair stays: the
    # fence of the trade's next one is counted from it.
    oldest = (
        select(Command.seq, Command.created_at, Command.state)
        .where(Command.type == "Verify")
        .order_by(Command.seq)
        .limit(BATCH)
    ).subquery()
    old = select(oldest.c.seq).where(oldest.c.created_at < before, oldest.c.state.not_in(LIVE))
    return _run(session, delete(Command).where(Command.seq.in_(old)))


def _delete_frames(session: WorkSession, before: datetime) -> int:
    oldest = select(Frame.id).where(Frame.at < before).order_by(Frame.at).limit(BATCH)
    return _run(session, delete(Frame).where(Frame.id.in_(oldest)))


def _cap_frames(session: WorkSession, cap: int) -> int:
    # Two queries: asked for both at once, SQLite reads every id.
    newest, first = session.scalar(select(func.max(Frame.id))), session.scalar(select(func.min(Frame.id)))
    if newest is None or first is None or newest - first < cap:
        return 0
    oldest = select(Frame.id).where(Frame.id <= newest - cap).order_by(Frame.id).limit(BATCH)
    return _run(session, delete(Frame).where(Frame.id.in_(oldest)))


def _delete_messages(session: WorkSession, before: datetime) -> int:
    key = tuple_(ReceivedMessage.agent_id, ReceivedMessage.message_id)
    oldest = (
        select(ReceivedMessage.agent_id, ReceivedMessage.message_id)
        .where(ReceivedMessage.at < before)
        .order_by(ReceivedMessage.at)
        .limit(BATCH)
    )
    return _run(session, delete(ReceivedMessage).where(key.in_(oldest)))


def _delete_ticks(session: WorkSession, before: datetime) -> int:
    oldest = select(Tick.id).where(Tick.at < before).order_by(Tick.at).limit(BATCH)
    return _run(session, delete(Tick).where(Tick.id.in_(oldest)))


def _delete_begun(session: WorkSession, before: datetime) -> int:
    # Ids rise with time, one by one: the oldest are looked at, whatever is kept.
    first = session.scalar(select(func.min(BegunRepair.id)))
    oldest = BegunRepair.id < (first or 0) + BATCH
    return _run(session, delete(BegunRepair).where(oldest, BegunRepair.begun_at < before))


def _delete_logins(session: WorkSession, before: datetime) -> int:
    oldest = select(EndedLogin.login_id).where(EndedLogin.at < before).order_by(EndedLogin.at).limit(BATCH)
    return _run(session, delete(EndedLogin).where(EndedLogin.login_id.in_(oldest)))


def _run(session: WorkSession, statement: Delete) -> int:
    done = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(done, CursorResult)
    return done.rowcount
