"""Bulk repairs go on as results come, not only once a second."""

import threading

import pytest
from flask import Flask

from app import HANDLERS
from app.agents.models import Agent, Command
from app.anomalies.queries import AnomalyFilter
from app.executions import bulk, bulk_course
from app.executions.bulk_models import BulkRepair
from app.executions.bulk_tending import BulkTender
from app.executions.starting import Order
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    make_user,
)


class Listener:
    """In the tender's place: counts how often it is told to look."""

    looks = 0

    def look_now(self) -> None:
        self.looks += 1


@pytest.fixture
def bulk_id(app: Flask) -> int:
    """A bulk repair whose first trade is being repaired."""
    with unit_of_work() as session:
        make_user(session)
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        ids = tuple(make_anomaly(session, group).id for _each in range(3))
        return (
            bulk.begin(session, AnomalyFilter(ids=ids), Order("click", PERSON, "日终处理", NOW)).bulks[0].id
        )


def answer(kind: str, outcome: str) -> None:
    """What the writer does with an agent's answer to the one command of a kind under way."""
    with unit_of_work() as session:
        agent = session.scalars(db.select(Agent)).unique().one()
        command = session.scalars(db.select(Command).where(Command.type == kind)).one()
        hand_to(session, command, agent)
        message = (finished if kind == "Repair" else facts_read)(command, outcome)
        for handler in HANDLERS[type(message)]:
            handler(session, agent, message, NOW)


def stored(bulk_id: int) -> BulkRepair:
    db.session.expire_all()
    return db.session.get_one(BulkRepair, bulk_id)


def commands_of(kind: str) -> int:
    return len(db.session.scalars(db.select(Command.seq).where(Command.type == kind)).all())


def test_what_ends_has_it_tended_at_once_and_only_then(app: Flask, bulk_id: int) -> None:
    tender: BulkTender = app.extensions["bulk_tender"]
    tender.round()
    assert bulk_course.ended_ids(db.session) == []
    answer("Repair", "repaired")
    assert bulk_course.ended_ids(db.session) == [bulk_id]
    tender.round()
    assert (commands_of("Verify"), bulk_course.ended_ids(db.session)) == (1, [])
    answer("Verify", "consistent")
    tender.round()
    assert (stored(bulk_id).stage, commands_of("Repair")) == (2, 3)


def test_what_is_to_be_asked_again_waits_for_its_second(app: Flask, bulk_id: int) -> None:
    answer("Repair", "repaired")
    app.extensions["bulk_tender"].round()
    answer("Verify", "wait")
    assert bulk_course.ended_ids(db.session) == []


def test_an_answer_has_the_tender_look_once_it_is_committed(app: Flask, bulk_id: int) -> None:
    listener = app.extensions["bulk_tender"] = Listener()
    answer("Repair", "repaired")
    assert listener.looks == 1
    with unit_of_work() as session:
        bulk_course.tend(session, bulk_id, NOW)
    answer("Verify", "consistent")
    assert listener.looks == 2


def test_one_that_fails_holds_up_no_other(
    app: Flask, bulk_id: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tend = bulk_course.tend

    def fail_at_zero(session: WorkSession, identity: int, now: object) -> None:
        if not identity:
            raise RuntimeError("broken")
        tend(session, identity, NOW)

    monkeypatch.setattr(bulk_course, "ended_ids", lambda _session: [0, bulk_id])
    monkeypatch.setattr(bulk_course, "tend", fail_at_zero)
    answer("Repair", "repaired")
    app.extensions["bulk_tender"].round()
    assert commands_of("Verify") == 1
    assert "the bulk repair 0 failed" in caplog.text


class Watched(BulkTender):
    """Tells when it has looked; the first look fails."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.looked = threading.Event()
        self._has_failed = False

    def round(self) -> None:
        self.looked.set()
        if not self._has_failed:
            self._has_failed = True
            raise RuntimeError("broken")


def test_its_thread_looks_when_told_and_outlives_a_look_that_fails(app: Flask) -> None:
    tender = Watched(app)
    tender.start()
    try:
        for _look in range(2):
            tender.look_now()
            assert tender.looked.wait(5)
            tender.looked.clear()
    finally:
        tender.stop()
