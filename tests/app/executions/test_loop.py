"""The whole loop over a real server: first collection, a plan's tick, a repair, and its rows."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from agent.answers import AnomaliesReported, CollectFinished, RepairFinished, Started, StepRecorded
from agent.protocol import Collect, Repair
from app.agents import service as agents
from app.anomalies.models import Anomaly, CollectionRun
from app.audit.service import SYSTEM
from app.executions.models import Attempt
from app.extensions import db
from app.plans.product_plans import PlanValues
from app.plans.schedules import ScheduleValues, set_schedule
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import AgentClient, new_id
from tests.app.live_server import LiveServer
from tests.factories import FIXER, make_group, reported, row_of, step

pytestmark = pytest.mark.each_engine

TRADE = "CO160724154936100036"


def seed(server: LiveServer) -> str:
    """Write a group, an agent, a plan of every second and a first collection; return the token."""
    now = datetime.now(UTC)
    with server.app.app_context(), unit_of_work() as session:
        group = make_group(session, created_at=now)
        _agent, token = agents.register(session, name="pbap-1", group_id=group.id, actor=SYSTEM, now=now)
        plan = PlanValues(sys_code="PBAP", fixer_code=FIXER, retry_cron="* * * * * ?")
        create_plan(session, plan, actor=SYSTEM, now=now)
        schedule = ScheduleValues(sys_code="PBAP", cron="0 0 0 1 1 ?", runs_on_first_connect=True)
        set_schedule(session, schedule, actor=SYSTEM, now=now)
    return token


def report(client: AgentClient, collect: Collect) -> None:
    """Report one broken trade, and the trailer."""
    command = {"command_id": collect.command_id, "run_id": collect.run_id, "shard": collect.shard}
    client.send(Started(id=new_id(), command_id=collect.command_id))
    client.send(AnomaliesReported(id=new_id(), chunk=0, rows=(reported(TRADE),), **command))
    client.send(
        CollectFinished(
            id=new_id(),
            chunks=1,
            rows=1,
            amount_minor=10_000,
            scanned=9,
            unverified=0,
            duration_ms=5,
            **command,
        )
    )


def mend(client: AgentClient, repair: Repair) -> None:
    """Tell of a step and of the end."""
    told = {"command_id": repair.command_id, "trade_no": repair.trade_no, "fence": repair.fence}
    posting = step(1, moves_money=True)
    client.send(Started(id=new_id(), command_id=repair.command_id))
    client.send(StepRecorded(id=new_id(), step=posting, **told))
    after = row_of(TRADE, 1) | {"ACC_TRD_NUM": "GA160724154946100112", "ACC_TRD_STATUS": 1}
    client.send(
        RepairFinished(
            id=new_id(),
            outcome="repaired",
            reason="",
            is_confirmed_failed=False,
            money_moved=True,
            before=row_of(TRADE, 1),
            after=after,
            facts_before=None,
            facts_after=None,
            steps=(posting,),
            row_hash="hash-9",
            started_at="2026-03-02T12:00:00Z",
            duration_ms=3,
            **told,
        )
    )


def test_a_broken_trade_is_found_and_mended(live_server: LiveServer) -> None:
    client = AgentClient(live_server, seed(live_server))
    client.greet(fixer_codes=(FIXER,))
    report(client, client.take(Collect))
    live_server.until(lambda: db.session.scalars(select(Anomaly)).unique().first())
    repair = client.take(Repair)
    assert (repair.trade_no, repair.fixer_code, repair.row_hash) == (TRADE, FIXER, "hash-1")
    mend(client, repair)
    anomaly = live_server.until(
        lambda: db.session.scalars(select(Anomaly).where(Anomaly.state == "repaired")).unique().first()
    )
    assert (anomaly.resolution, anomaly.attempts, anomaly.has_moved_money) == ("success", 1, True)
    with live_server.app.app_context():
        run = db.session.scalars(select(CollectionRun)).unique().one()
        attempt = db.session.scalars(select(Attempt)).unique().one()
        assert (run.state, run.trigger, run.reported) == ("finished", "first_start", 1)
        assert (attempt.outcome, attempt.trigger, len(attempt.steps)) == ("repaired", "tick", 1)
    client.close()
