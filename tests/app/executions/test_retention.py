"""Old rows go in batches, by their own ages."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.agents.models import Command, Frame, ReceivedMessage
from app.config import Settings
from app.executions import retention, scheduler
from app.executions.bulk_models import BulkRepair
from app.extensions import db
from app.guards.models import BegunRepair
from app.plans.models import Tick
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import EndedLogin, SystemGroup
from tests.conftest import HandClock
from tests.factories import FIXER, NOW, make_group


def make_frame(session: WorkSession, type: str, days: float) -> None:
    session.add(
        Frame(
            at=NOW - timedelta(days=days),
            group_id=1,
            agent_id=1,
            direction="in",
            type=type,
            size=2,
            body="{}",
        )
    )
    session.flush()


def sweep_all(session: WorkSession, settings: Settings) -> int:
    return sum(sweep.delete_batch(session) for sweep in retention.sweeps(settings, NOW))


def test_each_kind_of_row_goes_at_its_own_age(session: WorkSession, settings: Settings) -> None:
    for type_, days in (("Heartbeat", 40), ("Repair", 31), ("Heartbeat", 2), ("Repair", 2), ("Ack", 0)):
        make_frame(session, type_, days)
    for days in (100, 1):
        at = NOW - timedelta(days=days)
        session.add(ReceivedMessage(agent_id=1, message_id=str(days), at=at))
        session.add(Tick(subject="plan", subject_id=1, due_at=at, at=at))
        session.add(EndedLogin(login_id=str(days), at=at + timedelta(hours=1)))
    session.flush()
    sweep_all(session, settings)
    session.expire_all()
    assert session.scalars(select(Frame.type).order_by(Frame.id)).all() == ["Repair", "Ack"]
    assert session.scalars(select(ReceivedMessage.message_id)).all() == ["1"]
    assert session.scalars(select(EndedLogin.login_id)).all() == ["1"]
    assert session.scalars(select(Tick.due_at)).all() == [NOW - timedelta(days=1)]


def test_no_bulk_repair_goes(session: WorkSession, settings: Settings) -> None:
    """Forms go by the id of the newest, which SQLite would give again."""
    group, at = make_group(session), NOW - timedelta(days=1_000)
    told = {"trigger": "click", "actor_name": "li.na", "reason": "x", "created_at": at, "changed_at": at}
    session.add(BulkRepair(group_id=group.id, state="finished", finished_at=at, **told))
    session.flush()
    sweep_all(session, settings)
    assert session.scalar(select(func.count()).select_from(BulkRepair)) == 1


def begin_repair(session: WorkSession, group: SystemGroup, days: float) -> None:
    """A plan began a repair so many days from now."""
    session.add(
        BegunRepair(
            group_id=group.id,
            plan_id=1,
            fixer_code=FIXER,
            command_id=str(days),
            is_new=True,
            currency="CNY",
            begun_at=NOW + timedelta(days=days),
        )
    )
    session.flush()


@pytest.mark.each_engine
def test_a_clock_far_ahead_deletes_nothing_that_limits_count(
    session: WorkSession, settings: Settings
) -> None:
    group = make_group(session)
    for days in (-9, -5, -0.5, 29.9):
        begin_repair(session, group, days)
    for sweep in (*retention.sweeps(settings, NOW), *retention.sweeps(settings, NOW + timedelta(days=30))):
        sweep.delete_batch(session)
    kept = select(BegunRepair.command_id).order_by(BegunRepair.id)
    assert session.scalars(kept).all() == ["-0.5", "29.9"]


def test_a_batch_deletes_no_more_than_its_size(
    session: WorkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    for _each in range(5):
        make_frame(session, "Repair", 31)
    assert [sweep_all(session, settings) for _round in range(3)] == [3, 2, 0]


def keep_old_rows() -> None:
    with unit_of_work() as session:
        for _each in range(50):
            make_frame(session, "Repair", 31)
        session.add(Tick(subject="plan", subject_id=1, due_at=NOW, at=NOW - timedelta(days=100)))


def left_over() -> tuple[int, int]:
    counts = (db.session.scalar(select(func.count()).select_from(model)) for model in (Frame, Tick))
    frames, ticks = (count or 0 for count in counts)
    db.session.remove()
    return frames, ticks


def test_a_round_deletes_all_that_is_too_old(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    keep_old_rows()
    scheduler.delete_old_rows(NOW)
    assert left_over() == (0, 0)


def test_a_round_that_takes_long_leaves_some_of_each_kind_to_the_next(
    app: Flask, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    keep_old_rows()
    app.extensions["clock"] = lambda: clock.advance(1)
    scheduler.delete_old_rows(NOW)
    assert left_over() == (50 - 4 * 3, 0)


def test_frames_are_capped_whatever_their_age(session: WorkSession, settings: Settings) -> None:
    for _each in range(1010):
        make_frame(session, "Repair", 0)
    sweep_all(session, settings.model_copy(update={"frame_rows_cap": 1000}))
    assert len(session.scalars(select(Frame.id)).all()) == 1000


def test_old_verifies_go_and_repairs_stay(session: WorkSession, settings: Settings) -> None:
    group = make_group(session)
    for number, (type_, state, days) in enumerate(
        (
            ("Verify", "finished", 31),
            ("Verify", "running", 31),
            ("Verify", "finished", 1),
            ("Repair", "finished", 31),
        )
    ):
        at = NOW - timedelta(days=days)
        session.add(
            Command(
                id=f"c{number}",
                group_id=group.id,
                type=type_,
                trade_no=f"T{number}",
                message={},
                state=state,
                created_at=at,
                deadline_at=at,
            )
        )
    session.flush()
    sweep_all(session, settings)
    assert session.scalars(select(Command.id).order_by(Command.seq)).all() == ["c1", "c2", "c3"]
