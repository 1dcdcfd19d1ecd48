"""An execution with thousands of attempts is read by the attempts a page shows."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import event, insert

from app.executions.attempts import find_running, last_attempts, list_attempts, money_steps
from app.executions.case_file import read_case
from app.executions.models import Attempt, Execution, Step
from app.executions.queries import execution_detail
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from tests.app.monitor.rows import make_attempt
from tests.app.visitor import visitor_of
from tests.factories import NOW, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine
MANY = 60


def make_attempts(session: WorkSession, count: int, **last: object) -> Attempt:
    """An anomaly that was attempted ``count`` times; returns the last attempt, which ``last`` is about."""
    group = make_group(session)
    make_plan(session, group)
    attempt = make_attempt(session, make_anomaly(session, group, attempts=count), outcome="failed")
    columns = {
        name: getattr(attempt, name) for name in ("execution_id", "anomaly_id", "group_id", "created_at")
    }
    columns |= {"trigger": "tick", "actor_name": "piculus", "outcome": "failed"}
    for number in range(2, count + 1):
        values = {**columns, "number": number, "command_id": f"command-{number}"}
        session.execute(insert(Attempt).values(**(values | (last if number == count else {}))))
    statement = db.select(Attempt).where(Attempt.number == count)
    return session.scalars(statement).one()


def make_step(session: WorkSession, attempt: Attempt, seq: int, key: str, state: str) -> None:
    session.add(
        Step(
            attempt_id=attempt.id,
            seq=seq,
            name="pay",
            key=key,
            state=state,
            moves_money=True,
            started_at=NOW,
        )
    )
    session.flush()


@contextmanager
def loaded() -> Iterator[list[int]]:
    """The numbers of the attempts the block reads from the database."""
    heard: list[int] = []

    def hear(attempt: Attempt, _context: object) -> None:
        heard.append(attempt.number)

    event.listen(Attempt, "load", hear)
    try:
        yield heard
    finally:
        event.remove(Attempt, "load", hear)


def test_pages_show_every_attempt_once_and_read_no_others(app: Flask) -> None:
    with unit_of_work() as session:
        execution_id = make_attempts(session, MANY, outcome=None).execution_id
    shown: list[int] = []
    below = None
    while len(shown) < MANY:
        with loaded() as heard:
            detail = execution_detail(db.session, execution_id, None, attempts_below=below)
        assert len(heard) <= 23
        assert (detail.last, detail.running) == (detail.running, detail.last)
        shown += [attempt.number for attempt in detail.attempts]
        below = detail.older_attempts
        db.session.remove()
    assert shown == [*range(MANY, 0, -1)]
    assert below is None


def test_the_page_leads_to_earlier_attempts(app: Flask) -> None:
    with unit_of_work() as session:
        execution_id = make_attempts(session, MANY).execution_id
    visitor = visitor_of(app, "boss", "admin")
    page = visitor.get(f"/executions/{execution_id}").text
    assert f"/executions/{execution_id}?below=41" in page
    assert page.count('class="attempt"') == 20
    last = visitor.get(f"/executions/{execution_id}?below=21").text
    assert "更早的执行" not in last
    assert visitor.get(f"/executions/{execution_id}?below=x").status_code == 400


def test_an_anomaly_and_its_cancel_read_the_running_attempt_alone(app: Flask) -> None:
    with unit_of_work() as session:
        last = make_attempts(session, MANY, outcome=None)
        anomaly_id = last.anomaly_id
    with loaded() as heard:
        case = read_case(db.session, anomaly_id, None)
    assert case.attempt is not None
    assert heard == [MANY]


def test_an_execution_beside_others_has_its_own_last_attempt(app: Flask) -> None:
    with unit_of_work() as session:
        last = make_attempts(session, 3)
        other = make_attempt(session, make_anomaly(session, last.execution.anomaly.group))
        executions = session.scalars(db.select(Execution)).all()
        found = last_attempts(session, [*executions])
        assert found == {last.execution_id: last, other.execution_id: other}
        assert find_running(session, last.anomaly_id) is None
        assert list_attempts(session, other.execution_id, count=5) == [other]


def test_a_step_of_money_is_told_once_as_it_was_told_last(app: Flask) -> None:
    with unit_of_work() as session:
        last = make_attempts(session, 2)
        (first,) = list_attempts(session, last.execution_id, count=1, below=2)
        make_step(session, last, 1, "key-1", "done")
        make_step(session, first, 1, "key-0", "done")
        make_step(session, first, 2, "key-1", "intended")
        make_step(session, last, 2, "key-2", "intended")
        told = money_steps(session, last.execution_id)
        assert [(step.key, step.state) for step in told] == [
            ("key-0", "done"),
            ("key-1", "done"),
            ("key-2", "intended"),
        ]
