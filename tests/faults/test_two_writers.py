"""Two servers on one database; one is slow: it has decided, and writes only after the other came."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select

from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.service import ignore
from app.errors import ConflictError
from app.executions import results
from app.executions.limits import apply_limits
from app.executions.models import Attempt
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.executions.ticking import attempt_tick_page, begin_plan_tick
from app.extensions import db
from app.plans import ticks
from app.unit_of_work import WorkSession, unit_of_work
from tests.contract.racing import PATIENCE_S, wait_until_blocked
from tests.factories import NOW, PERSON, finished, hand_to, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

Act = Callable[[WorkSession], Any]
ORDER = Order("click", PERSON, "the customer called", NOW)


@pytest.fixture
def anomaly_id(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An open anomaly of an automatic plan; no lock of one process keeps the threads apart."""
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        made = make_anomaly(session, group).id
    monkeypatch.setattr("app.unit_of_work._lock", nullcontext())
    yield made
    db.session.remove()


def in_turn(app: Flask, slow: Act, quick: Act) -> list[object]:
    """Hold up one server before it writes anything until the other has come; what each returned or raised."""
    has_decided, may_write = threading.Event(), threading.Event()

    def hold_up(_session: object, _context: object, _instances: object) -> None:
        has_decided.set()
        assert may_write.wait(PATIENCE_S)

    def serve(act: Act, *, is_slow: bool) -> object:
        try:
            with app.app_context(), unit_of_work() as session:
                if is_slow:
                    event.listen(session, "before_flush", hold_up, once=True)
                return act(session)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        try:
            first = pool.submit(serve, slow, is_slow=True)
            assert has_decided.wait(PATIENCE_S)
            second = pool.submit(serve, quick, is_slow=False)
            wait_until_blocked(db.engine)
        finally:
            may_write.set()
        return [first.result(), second.result()]


def assert_history_tells_all(anomaly_id: int) -> None:
    """Each change begins where the one before it ended, and the last ended in the state that is stored."""
    events = db.session.scalars(
        select(AnomalyEvent).where(AnomalyEvent.anomaly_id == anomaly_id).order_by(AnomalyEvent.id)
    ).all()
    begun = [event.from_state for event in events]
    ended = [event.to_state for event in events]
    assert begun == ["open", *ended[:-1]]
    assert ended[-1] == db.session.get_one(Anomaly, anomaly_id).state


@pytest.mark.parametrize(
    ("is_click_first", "state", "commanded"), [(True, "repairing", 1), (False, "ignored", 0)]
)
def test_a_click_and_an_ignore_never_both_stand(
    app: Flask, anomaly_id: int, is_click_first: bool, state: str, commanded: int
) -> None:
    def click(session: WorkSession) -> None:
        attempt_one(session, anomaly_id, ORDER, group_ids=None)

    def close(session: WorkSession) -> None:
        ignore(session, anomaly_id, reason="not ours", actor=PERSON, group_ids=None, now=NOW)

    _, refused = in_turn(app, click, close) if is_click_first else in_turn(app, close, click)
    assert isinstance(refused, ConflictError)
    assert db.session.get_one(Anomaly, anomaly_id).state == state
    assert len(db.session.scalars(select(Command)).all()) == commanded
    assert_history_tells_all(anomaly_id)


@pytest.mark.parametrize(
    ("is_result_first", "course"),
    [(True, ["waiting", "repaired"]), (False, ["waiting", "needs_human", "repaired"])],
)
def test_a_late_result_is_not_undone_by_a_limit(
    app: Flask, anomaly_id: int, is_result_first: bool, course: list[str]
) -> None:
    """The money moved yesterday: one server hears that all is well while the other hands it to a person."""
    lose_sight(anomaly_id)

    def result(session: WorkSession) -> None:
        command = session.scalars(select(Command)).one()
        agent = session.scalars(select(Agent)).one()
        results.record_result(session, agent, finished(command, "repaired", money_moved=True), NOW)

    def limit(session: WorkSession) -> int:
        return apply_limits(session, NOW)

    in_turn(app, result, limit) if is_result_first else in_turn(app, limit, result)
    assert_history_tells_all(anomaly_id)
    changes = db.session.scalars(
        select(AnomalyEvent.to_state)
        .where(AnomalyEvent.from_state != AnomalyEvent.to_state)
        .order_by(AnomalyEvent.id)
    )
    assert list(changes) == ["repairing", *course]


def lose_sight(anomaly_id: int) -> None:
    """A repair that moved money thirty hours ago has passed its deadline."""
    with unit_of_work() as session:
        attempt_one(session, anomaly_id, ORDER, group_ids=None)
        command = session.scalars(select(Command)).one()
        hand_to(session, command, session.scalars(select(Agent)).one())
        commands.close(session, command, "indeterminate", NOW, "past its deadline")
        anomaly = session.get_one(Anomaly, anomaly_id)
        anomaly.has_moved_money, anomaly.money_moved_at = True, NOW - timedelta(hours=30)


def test_two_ticks_at_one_due_time_are_one(app: Flask, anomaly_id: int) -> None:
    (due,) = ticks.due_plans(db.session, NOW)
    db.session.remove()

    def tick(session: WorkSession) -> bool:
        page = begin_plan_tick(session, due, NOW)
        if page is not None:
            attempt_tick_page(session, page, NOW)
        return page is not None

    assert in_turn(app, tick, tick) == [True, False]
    assert len(db.session.scalars(select(Attempt)).all()) == 1
    assert_history_tells_all(anomaly_id)
