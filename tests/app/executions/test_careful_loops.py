"""Over a real server: a bulk repair goes on by its stages; a plan in shadow foretells, repairs nothing."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from agent.answers import FactsRead, RepairFinished
from agent.message import Message
from agent.protocol import Repair, Verify
from app.agents import service as agents
from app.agents.models import Command
from app.anomalies.queries import AnomalyFilter
from app.audit.service import SYSTEM
from app.executions import bulk
from app.executions.bulk_models import BulkRepair
from app.executions.starting import Order
from app.extensions import db
from app.plans.models import Tick
from app.plans.prediction_models import Prediction
from app.plans.product_plans import PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import AgentClient, new_id
from tests.app.live_server import LiveServer
from tests.factories import FIXER, PERSON, make_anomaly, make_group, make_user, row_of

pytestmark = pytest.mark.each_engine


def seed(server: LiveServer, **values: object) -> str:
    """Write a group, its plan, an agent and three anomalies; return the token."""
    now = datetime.now(UTC)
    with server.app.app_context(), unit_of_work() as session:
        group = make_group(session, created_at=now)
        _agent, token = agents.register(session, name="pbap-1", group_id=group.id, actor=SYSTEM, now=now)
        plan = PlanValues(sys_code="PBAP", fixer_code=FIXER, **values)  # type: ignore[arg-type]
        create_plan(session, plan, actor=SYSTEM, now=now)
        for _each in range(3):
            make_anomaly(session, group, first_seen_at=now, last_seen_at=now, changed_at=now)
    return token


def mended(repair: Repair) -> Message:
    after = row_of(repair.trade_no, 1) | {"ACC_TRD_NUM": "GA160724154946100112", "ACC_TRD_STATUS": 1}
    return RepairFinished(
        id=new_id(),
        command_id=repair.command_id,
        trade_no=repair.trade_no,
        fence=repair.fence,
        outcome="repaired",
        reason="",
        is_confirmed_failed=False,
        money_moved=True,
        before=row_of(repair.trade_no, 1),
        after=after,
        facts_before=None,
        facts_after=None,
        steps=(),
        row_hash="hash-9",
        started_at="2026-03-02T12:00:00Z",
        duration_ms=3,
    )


def seen(verify: Verify, outcome: str, **fields: object) -> Message:
    values = {"fixer_code": None, "reason": "", "row_hash": "hash-1", "facts": None} | fields
    return FactsRead(
        id=new_id(),
        command_id=verify.command_id,
        trade_no=verify.trade_no,
        outcome=outcome,  # type: ignore[arg-type]
        row=row_of(verify.trade_no, 1),
        **values,  # type: ignore[arg-type]
    )


def test_a_bulk_repair_goes_on_by_itself_once_its_first_trade_was_verified(live_server: LiveServer) -> None:
    client = AgentClient(live_server, seed(live_server, mode="manual"))
    client.greet(fixer_codes=(FIXER,))
    with live_server.app.app_context(), unit_of_work() as session:
        make_user(session)
        order = Order("click", PERSON, "all three", datetime.now(UTC))
        bulk.begin(session, AnomalyFilter(), order)
    first = client.take(Repair)
    client.send(mended(first))
    verify = client.take(Verify)
    assert verify.trade_no == first.trade_no
    with live_server.app.app_context():
        assert len(db.session.scalars(select(Command).where(Command.type == "Repair")).all()) == 1
    client.send(seen(verify, "consistent"))
    others = [client.take(Repair), client.take(Repair)]
    for repair in others:
        client.send(mended(repair))
    for _each in others:
        client.send(seen(client.take(Verify), "consistent"))
    one = live_server.until(
        lambda: db.session.scalars(select(BulkRepair).where(BulkRepair.state == "finished")).unique().first()
    )
    assert (one.stage, one.done, one.failed, one.skipped) == (2, 3, 0, 0)
    client.close()


def test_a_plan_in_shadow_foretells_each_trade_once_and_repairs_none(live_server: LiveServer) -> None:
    client = AgentClient(live_server, seed(live_server, retry_cron="* * * * * ?", is_shadow=True))
    client.greet(fixer_codes=(FIXER,))
    for _each in range(3):
        verify = client.take(Verify)
        after = row_of(verify.trade_no, 1) | {"ACC_TRD_STATUS": 1}
        client.send(seen(verify, "repair", fixer_code=FIXER, after=after, steps=("post_first", "write_row")))
    kept = live_server.until(lambda: _predictions() if len(_predictions()) == 3 else None)
    assert {one.outcome for one in kept} == {"repair"}
    assert len({one.anomaly_id for one in kept}) == 3
    ticked = live_server.until(lambda: _ticks() if len(_ticks()) >= 3 else None)
    assert sum(ticked) == 3
    with live_server.app.app_context():
        assert {command.type for command in db.session.scalars(select(Command))} == {"Verify"}
    client.close()


def _predictions() -> list[Prediction]:
    db.session.expire_all()
    return list(db.session.scalars(select(Prediction)).unique())


def _ticks() -> list[int]:
    """How many commands each tick so far has made."""
    db.session.expire_all()
    return list(db.session.scalars(select(Tick.commands)))
