"""Two agents and two servers on one anomaly: each thing is claimed once, whoever is quicker."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.agents import claims
from app.agents.claims import Claim
from app.agents.hub import AgentSession, Hub
from app.agents.models import Agent, Command
from app.agents.sockets import SocketLoop
from app.anomalies.models import Anomaly
from app.errors import ConflictError
from app.executions.models import Attempt
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.executions.ticking import attempt_tick_page, begin_plan_tick
from app.extensions import db
from app.plans import ticks
from app.unit_of_work import unit_of_work
from tests.contract.racing import race
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock of one process between the threads: like servers, only the database keeps them apart."""
    monkeypatch.setattr("app.unit_of_work._lock", nullcontext())


@pytest.fixture
def anomaly_id(app: Flask) -> Iterator[int]:
    """An open anomaly with an automatic plan and two agents that offer it."""
    with unit_of_work() as session:
        group = make_group(session)
        for _ in range(2):
            make_agent(session, group)
        make_plan(session, group)
        made = make_anomaly(session, group).id
    yield made
    db.session.remove()


def test_two_servers_at_one_tick_make_one_attempt(app: Flask, anomaly_id: int) -> None:
    """Both have seen that the plan is due before either claims it."""
    (due,) = ticks.due_plans(db.session, NOW)
    db.session.remove()

    def server() -> bool:
        with app.app_context(), unit_of_work() as session:
            page = begin_plan_tick(session, due, NOW)
            if page is not None:
                attempt_tick_page(session, page, NOW)
            return page is not None

    assert sorted(race(server, server)) == [False, True]  # type: ignore[type-var]
    assert len(db.session.scalars(select(Attempt)).all()) == 1


def test_a_tick_and_two_clicks_at_once_make_one_attempt(app: Flask, anomaly_id: int) -> None:
    (due,) = ticks.due_plans(db.session, NOW)
    db.session.remove()

    def tick() -> None:
        with app.app_context(), unit_of_work() as session:
            page = begin_plan_tick(session, due, NOW)
            assert page is not None
            attempt_tick_page(session, page, NOW)

    def click() -> None:
        order = Order("click", PERSON, "the customer called", NOW)
        with app.app_context(), unit_of_work() as session:
            attempt_one(session, anomaly_id, order, group_ids=None)

    results = race(tick, click, click)
    refused = [result for result in results if isinstance(result, Exception)]
    assert all(isinstance(error, ConflictError) for error in refused)
    assert {error.code for error in refused} <= {"repairing", "trade_busy", "taken_meanwhile"}  # type: ignore[attr-defined]
    assert len(db.session.scalars(select(Attempt)).all()) == 1
    assert db.session.get_one(Anomaly, anomaly_id).attempts == 1


def test_two_servers_that_hold_an_agent_each_send_a_command_once(app: Flask, anomaly_id: int) -> None:
    """Each reads the command as pending and claims it for its own agent: one wins, under one fence."""
    order = Order("click", PERSON, "the customer called", NOW)
    with unit_of_work() as session:
        attempt_one(session, anomaly_id, order, group_ids=None)
    pending = db.session.scalars(select(Command)).one()
    hub = Hub(SocketLoop(60.0, 1), app.extensions["runtime"].hub._frame_log)
    agents = db.session.scalars(select(Agent)).all()
    sessions = [AgentSession(hub, agent.id, agent.group_id, "PBAP", "") for agent in agents]
    db.session.remove()

    def server(agent: AgentSession) -> int:
        with app.app_context(), unit_of_work() as session:
            return len(claims.claim(session, [Claim(pending, agent)], NOW + timedelta(seconds=1)))

    results = race(lambda: server(sessions[0]), lambda: server(sessions[1]))
    assert sorted(results) == [0, 1]  # type: ignore[type-var]
    stored = db.session.scalars(select(Command)).one()
    assert (stored.state, stored.fence) == ("sent", pending.fence)
