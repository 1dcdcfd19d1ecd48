"""Rows and messages for tests: each maker takes what the test is about and fills in the rest.

``NOW`` is the moment the ``clock`` fixture stands at. Rows are added to the given session and flushed.
"""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.answers import (
    AnomaliesReported,
    CollectFinished,
    FactsRead,
    RepairFinished,
    ReportedTrade,
    StepRecord,
)
from agent.facts import BankFact, BankState, Facts, Kind, LegFact, LegState, Row, Status
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, CollectionTask
from app.audit.service import Actor
from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup, User

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FIXER = "interRechargeFixServiceImpl"
PERSON = Actor(id=7, name="li.na", address="127.0.0.1")

_numbers = itertools.count(1)


def make_group(session: WorkSession, sys_code: str = "PBAP", **columns: Any) -> SystemGroup:
    group = SystemGroup(sys_code=sys_code, **({"name": "收单平台", "created_at": NOW} | columns))
    session.add(group)
    session.flush()
    return group


def make_user(session: WorkSession, actor: Actor = PERSON, **columns: Any) -> User:
    """The account of an actor: an operator who sees all groups."""
    username = f"{actor.name}.{actor.id}"
    wanted: dict[str, Any] = {"role": "operator", "sees_all_groups": True, "password_hash": ""} | columns
    user = User(id=actor.id, username=username, created_at=NOW, **wanted)
    session.add(user)
    session.flush()
    return user


def make_agent(
    session: WorkSession,
    group: SystemGroup,
    *,
    codes: tuple[str, ...] = tuple(KNOWN_FIXERS),
    is_online: bool = True,
    seen_at: datetime = NOW,
    **columns: Any,
) -> Agent:
    number = next(_numbers)
    agent = Agent(
        group_id=group.id,
        name=columns.pop("name", f"agent-{number}"),
        token_hash=f"hash-{number}",
        created_at=NOW,
        connected_at=columns.pop("connected_at", seen_at if is_online else None),
        disconnected_at=None if is_online else seen_at,
        last_seen_at=seen_at,
        fixer_codes=list(codes),
        journal_id="journal",
        **columns,
    )
    session.add(agent)
    session.flush()
    return agent


def make_plan(session: WorkSession, group: SystemGroup, **columns: Any) -> Plan:
    values = {
        "fixer_code": FIXER,
        "created_at": NOW,
        "updated_at": NOW,
        "updated_by": PERSON.name,
        "next_due_at": NOW,
        "max_retries": 0,
        "level": 3,
        "version": 1,
    }
    plan = Plan(group_id=group.id, **(values | columns))
    session.add(plan)
    session.flush()
    return plan


def make_anomaly(session: WorkSession, group: SystemGroup, **columns: Any) -> Anomaly:
    number = next(_numbers)
    trade_no = columns.pop("trade_no", f"CO{number:018d}")
    values = {
        "trade_no": trade_no,
        "trade_id": number,
        "kind": "recharge",
        "amount_minor": 10_000,
        "fixer_code": FIXER,
        "outcome": "repair",
        "state": "open",
        "row": row_of(trade_no, number),
        "row_hash": "hash-1",
        "row_changed_at": NOW - timedelta(hours=1),
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "changed_at": NOW,
    }
    anomaly = Anomaly(group_id=group.id, **(values | columns))
    session.add(anomaly)
    session.flush()
    return anomaly


def row_of(trade_no: str, trade_id: int, status: int = 8) -> Row:
    """A recharge row whose account leg is not booked."""
    return {
        "TRD_ID": trade_id,
        "TRD_NUM": trade_no,
        "TRD_STATUS": status,
        "ACC_TRD_NUM": None,
        "ACC_TRD_STATUS": 0,
        "E_ACC_TRD_NUM": None,
        "E_ACC_TRD_STATUS": None,
        "FAILED_MSG": None,
    }


def facts_of(trade_no: str) -> Facts:
    return Facts(
        trade_no=trade_no,
        kind=Kind.RECHARGE,
        bookkeeping=None,
        status=Status.SUCCESS,
        is_acc=False,
        is_e_acc=None,
        first=LegFact(LegState.NONE),
        second=None,
        bank=BankFact(BankState.SUCCESS),
        amount_minor=10_000,
    )


def reported(trade_no: str, **fields: Any) -> ReportedTrade:
    number = next(_numbers)
    values = {
        "trade_id": number,
        "kind": "recharge",
        "bookkeeping": None,
        "amount_minor": 10_000,
        "currency": "CNY",
        "channel": "ABC",
        "row": row_of(trade_no, number),
        "row_hash": "hash-1",
        "row_changed_at": (NOW - timedelta(hours=1)).isoformat(),
        "fixer_code": FIXER,
        "outcome": "repair",
        "reason": "",
        "facts": facts_of(trade_no),
    }
    return ReportedTrade(trade_no=trade_no, **(values | fields))


def chunk(task: CollectionTask, number: int, *trades: ReportedTrade) -> AnomaliesReported:
    return AnomaliesReported(
        id=uuid.uuid4().hex,
        command_id=task.command_id,
        run_id=task.run_id,
        shard=task.shard,
        chunk=number,
        rows=trades,
    )


def trailer(task: CollectionTask, **fields: Any) -> CollectFinished:
    """The trailer of what the server has received of the task; ``fields`` say otherwise."""
    values = {
        "chunks": task.chunks,
        "rows": task.rows,
        "amount_minor": task.amount_minor,
        "scanned": 20_000,
        "unverified": 0,
        "duration_ms": 1_000,
    }
    return CollectFinished(
        id=uuid.uuid4().hex,
        command_id=task.command_id,
        run_id=task.run_id,
        shard=task.shard,
        **(values | fields),
    )


def hand_to(session: WorkSession, command: Command, agent: Agent) -> None:
    """What dispatcher and agent do: the command is claimed, sent, accepted and running."""
    command.agent_id, command.state = agent.id, "running"
    command.sent_at = command.accepted_at = command.started_at = command.created_at
    session.flush()


def finished(command: Command, outcome: str, **fields: Any) -> RepairFinished:
    trade_no = command.trade_no or ""
    values = {
        "reason": "",
        "is_confirmed_failed": False,
        "money_moved": False,
        "before": row_of(trade_no, 1),
        "after": None,
        "facts_before": facts_of(trade_no),
        "facts_after": None,
        "steps": (),
        "row_hash": "hash-2",
        "started_at": NOW.isoformat(),
        "duration_ms": 12,
        "fence": command.fence,
    }
    return RepairFinished(
        id=uuid.uuid4().hex, command_id=command.id, trade_no=trade_no, outcome=outcome, **(values | fields)
    )


def facts_read(command: Command, outcome: str, **fields: Any) -> FactsRead:
    trade_no = command.trade_no or ""
    values = {
        "fixer_code": FIXER,
        "reason": "",
        "row": row_of(trade_no, 1),
        "row_hash": "hash-2",
        "facts": facts_of(trade_no),
    }
    return FactsRead(
        id=uuid.uuid4().hex, command_id=command.id, trade_no=trade_no, outcome=outcome, **(values | fields)
    )


def step(seq: int, name: str = "post_leg_1", **fields: Any) -> StepRecord:
    values = {"key": f"PCL:PBAP:T:{seq}", "state": "done", "started_at": NOW.isoformat()}
    return StepRecord(seq=seq, name=name, **(values | fields))
