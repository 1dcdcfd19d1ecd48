"""Rows that only the monitor's tests need."""

import itertools
import uuid
from datetime import datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from app.agents.models import Agent, Command, Frame
from app.anomalies.models import Anomaly, QuarterCount
from app.executions.models import Attempt, Execution
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup, User
from app.users.sessions import begin_login
from tests.factories import FIXER, NOW

_numbers = itertools.count(1)


def make_frame(session: WorkSession, agent: Agent, **columns: Any) -> Frame:
    values = {
        "at": NOW,
        "direction": "in",
        "type": "Heartbeat",
        "size": 40,
        "message_id": uuid.uuid4().hex,
        "body": '{"type": "Heartbeat", "running": []}',
        "error": "",
    }
    frame = Frame(agent_id=agent.id, group_id=agent.group_id, **(values | columns))
    session.add(frame)
    session.flush()
    return frame


def make_command(session: WorkSession, group: SystemGroup, **columns: Any) -> Command:
    values = {
        "id": uuid.uuid4().hex,
        "type": "Repair",
        "trade_no": f"CO{next(_numbers):018d}",
        "fixer_code": FIXER,
        "message": {},
        "state": "finished",
        "created_at": NOW,
        "deadline_at": NOW + timedelta(minutes=5),
    }
    command = Command(group_id=group.id, **(values | columns))
    session.add(command)
    session.flush()
    return command


def make_attempt(session: WorkSession, anomaly: Anomaly, **columns: Any) -> Attempt:
    execution = Execution(
        group_id=anomaly.group_id,
        anomaly_id=anomaly.id,
        fixer_code=anomaly.fixer_code or FIXER,
        trade_no=anomaly.trade_no,
        created_at=NOW,
    )
    session.add(execution)
    session.flush()
    values = {"trigger": "tick", "actor_name": "piculus", "created_at": NOW, "number": 1}
    attempt = Attempt(
        execution_id=execution.id,
        anomaly_id=anomaly.id,
        group_id=anomaly.group_id,
        command_id=uuid.uuid4().hex,
        **(values | columns),
    )
    session.add(attempt)
    session.flush()
    return attempt


def keep_count(
    session: WorkSession,
    group: SystemGroup,
    name: str,
    count: int,
    at: datetime = NOW,
    amount_minor: int = 0,
) -> None:
    values = {"name": name, "count": count, "amount_minor": amount_minor}
    session.add(QuarterCount(group_id=group.id, quarter=at, **values))
    session.flush()


def make_viewer(session: WorkSession, *groups: SystemGroup, **columns: Any) -> User:
    values = {"password_hash": "never checked here", "role": "viewer", "created_at": NOW}
    user = User(username=f"person-{next(_numbers)}", groups=list(groups), **(values | columns))
    session.add(user)
    session.flush()
    return user


def sign_in(client: FlaskClient, user: User) -> None:
    """Begin a session as the login page does."""
    with client.session_transaction() as kept:
        kept["_user_id"] = user.get_id()
        kept["_fresh"] = True
        begin_login(kept, NOW)
