"""What disabling a system group ends, and what it lets finish."""

import pytest
from sqlalchemy import select

from app.agents import commands
from app.anomalies.collections import start_run
from app.anomalies.models import CollectionRun, CollectionTask
from app.anomalies.service import verify
from app.audit.models import AuditEntry
from app.errors import ConflictError
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempt
from app.unit_of_work import WorkSession
from app.users.groups import update_group
from app.users.models import SystemGroup
from tests.factories import FIXER, NOW, PERSON, hand_to, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

WHY = "the system is moved"
WINDOW = (NOW.replace(day=1), NOW)


def disable(session: WorkSession, group: SystemGroup) -> None:
    values = {"name": group.name, "zone": group.zone, "trade_table": group.trade_table}
    update_group(session, group, actor=PERSON, is_enabled=False, reason=WHY, now=NOW, **values)
    session.flush()
    session.expire_all()


def start(session: WorkSession, group: SystemGroup) -> CollectionRun:
    arguments = {"codes": [FIXER], "window": WINDOW, "trigger": "click", "reason": ""}
    return start_run(session, group=group, actor=PERSON, now=NOW, **arguments)  # type: ignore[arg-type]


def test_pending_repairs_are_cancelled_and_running_ones_finish(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group)
    pending, running = (make_anomaly(session, group) for _each in range(2))
    for anomaly in (pending, running):
        start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW))
    command = commands.find_live(session, group.id, running.trade_no)
    assert command is not None
    hand_to(session, command, make_agent(session, group))
    disable(session, group)
    attempts = session.scalars(select(Attempt).order_by(Attempt.id)).unique()
    assert [attempt.outcome for attempt in attempts] == ["cancelled", None]
    assert (pending.state, running.state) == ("open", "repairing")
    assert (command.state, command.cancel_requested_at) == ("running", None)


def test_waiting_and_running_collections_are_cancelled(session: WorkSession, group: SystemGroup) -> None:
    waiting = start(session, group)
    make_agent(session, group)
    running = start(session, group)
    disable(session, group)
    assert (waiting.state, running.state) == ("cancelled", "cancelled")
    (task,) = session.scalars(select(CollectionTask)).unique()
    command = commands.find(session, task.command_id)
    assert command is not None
    assert (task.state, command.state) == ("cancelled", "cancelled")
    told = session.scalars(select(AuditEntry.reason).where(AuditEntry.action == "run.cancel"))
    assert list(told) == [WHY, WHY]


def test_collections_of_another_group_go_on(session: WorkSession, group: SystemGroup) -> None:
    run = start(session, make_group(session, "PBMS"))
    disable(session, group)
    assert run.state == "waiting"


def test_nothing_is_verified_in_a_disabled_group(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    disable(session, group)
    with pytest.raises(ConflictError) as refused:
        verify(session, anomaly.id, reason=WHY, actor=PERSON, group_ids=None, now=NOW)
    assert refused.value.code == "group_disabled"
