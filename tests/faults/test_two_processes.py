"""Two server processes that share nothing but the database, at the same trades at the same time."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Literal

import pytest
from flask import Flask
from sqlalchemy import select

from app import create_app
from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.anomalies.service import ignore
from app.config import Settings
from app.errors import ConflictError
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan
from tests.faults.test_two_writers import assert_history_tells_all

TRADES = 20
PATIENCE_S = 60.0
Verb = Literal["click", "ignore"]
_starts: list[Barrier] = []


def remember(start: Barrier) -> None:
    """Keep in a new process what the processes meet at."""
    _starts.append(start)


def serve(settings: Settings, verb: Verb, anomaly_ids: list[int]) -> list[int]:
    """Order the same of each trade, beginning together with the other process; return those taken."""
    app = create_app(settings)
    with app.app_context():
        _starts[0].wait(PATIENCE_S)
        return [one for one in anomaly_ids if is_taken(verb, one)]


def is_taken(verb: Verb, anomaly_id: int) -> bool:
    try:
        with unit_of_work() as session:
            order(session, verb, anomaly_id)
    except ConflictError:
        return False
    return True


def order(session: WorkSession, verb: Verb, anomaly_id: int) -> None:
    if verb == "click":
        attempt_one(session, anomaly_id, Order("click", PERSON, "the customer called", NOW), group_ids=None)
    else:
        ignore(session, anomaly_id, reason="not ours", actor=PERSON, group_ids=None, now=NOW)


@pytest.mark.parametrize("server_engine", ["postgresql"], indirect=True)
def test_of_a_click_and_an_ignore_in_two_processes_one_is_taken(app: Flask, settings: Settings) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        ids = [make_anomaly(session, group).id for _ in range(TRADES)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, remember, (context.Barrier(2),)) as pool:
        clicking = pool.submit(serve, settings, "click", ids)
        ignoring = pool.submit(serve, settings, "ignore", ids)
        clicked, ignored = clicking.result(), ignoring.result()
    assert sorted(clicked + ignored) == ids
    anomalies = db.session.scalars(select(Anomaly)).all()
    expected = dict.fromkeys(clicked, "repairing") | dict.fromkeys(ignored, "ignored")
    assert {one.id: one.state for one in anomalies} == expected
    commanded = set(db.session.scalars(select(Command.trade_no)))
    assert commanded == {one.trade_no for one in anomalies if one.id in clicked}
    for one in ids:
        assert_history_tells_all(one)
