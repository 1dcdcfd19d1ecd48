"""What most tests of repairs begin with; a module that needs another has its own."""

import pytest

from app.agents.models import Agent
from app.anomalies.models import Anomaly
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import make_agent, make_anomaly, make_group, make_plan


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


@pytest.fixture
def plan(session: WorkSession, group: SystemGroup) -> Plan:
    return make_plan(session, group)


@pytest.fixture
def anomaly(session: WorkSession, group: SystemGroup) -> Anomaly:
    return make_anomaly(session, group)
