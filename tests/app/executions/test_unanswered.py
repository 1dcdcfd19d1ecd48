"""What a person has looked at goes before the machine's, and the history says where nobody could read."""

from datetime import datetime, timedelta

import pytest
from flask import current_app
from flask_babel import force_locale
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.service import BY_PERSON_FIRST, order_verify, verify
from app.executions import verifications
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.plans.models import LEVELS
from app.plans.predictions import dry_run
from app.told import told_words
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import NOW, PERSON, facts_read, hand_to, make_anomaly, make_plan

pytestmark = pytest.mark.each_engine


@pytest.fixture
def anomaly(session: WorkSession, group: SystemGroup) -> Anomaly:
    return make_anomaly(session, group, state="needs_human")


def ask(session: WorkSession, anomaly: Anomaly, how: str) -> Command:
    order = {"verify": verify, "dry run": dry_run}[how]
    order(session, anomaly.id, reason="look", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    return session.scalars(select(Command)).one()


def told(session: WorkSession) -> list[tuple[str, str]]:
    """Code and reason of what the history holds, the oldest first."""
    session.flush()
    events = select(AnomalyEvent.code, AnomalyEvent.reason).order_by(AnomalyEvent.id)
    return [(code, reason) for code, reason in session.execute(events)]


@pytest.mark.parametrize(("how", "code"), [("verify", "verify_unanswered"), ("dry run", "dry_run_failed")])
def test_a_look_that_expires_says_so(session: WorkSession, anomaly: Anomaly, how: str, code: str) -> None:
    command = ask(session, anomaly, how)
    commands.close(session, command, "expired", NOW, "the deadline passed")
    assert told(session)[1:] == [(code, "the deadline passed")]


@pytest.mark.parametrize(("how", "code"), [("verify", "verify_unanswered"), ("dry run", "dry_run_failed")])
def test_a_look_that_could_read_nothing_says_why(
    session: WorkSession, agent: Agent, anomaly: Anomaly, how: str, code: str
) -> None:
    command = ask(session, anomaly, how)
    hand_to(session, command, agent)
    verifications.record_facts(session, agent, facts_read(command, "error", reason="ledger down"), NOW)
    assert told(session)[1:] == [(code, "ledger down")]
    assert anomaly.state == "needs_human"


@pytest.mark.parametrize(("how", "code"), [("verify", "verify_unanswered"), ("dry run", "dry_run_failed")])
@pytest.mark.parametrize(
    ("unknown_since", "outcome", "chinese"),
    [
        (NOW + timedelta(seconds=1), "repair", "读的时候修复还没有结束，不作数"),
        (None, "error", "没有读到，客户端没有说明原因"),
    ],
    ids=["read too early", "unexplained"],
)
def test_a_look_whose_answer_says_nothing_tells_so_in_words(
    session: WorkSession,
    agent: Agent,
    anomaly: Anomaly,
    how: str,
    code: str,
    unknown_since: datetime | None,
    outcome: str,
    chinese: str,
) -> None:
    command = ask(session, anomaly, how)
    hand_to(session, command, agent)
    anomaly.unknown_since = unknown_since
    verifications.record_facts(session, agent, facts_read(command, outcome), NOW)
    ((noted, reason),) = told(session)[1:]
    with current_app.test_request_context(), force_locale("zh"):
        assert (noted, told_words(reason)) == (code, chinese)


def test_what_the_machine_asks_for_itself_leaves_no_trace(session: WorkSession, anomaly: Anomaly) -> None:
    command = order_verify(session, anomaly, NOW)
    commands.close(session, command, "expired", NOW, "the deadline passed")
    assert told(session) == []


@pytest.mark.parametrize("how", ["verify", "dry run"])
def test_a_look_by_a_person_goes_before_every_plan(session: WorkSession, anomaly: Anomaly, how: str) -> None:
    assert ask(session, anomaly, how).priority == BY_PERSON_FIRST > max(LEVELS)


def test_a_repair_by_a_person_goes_before_every_plan(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, level=0)
    anomaly = make_anomaly(session, group)
    attempt_one(session, anomaly.id, Order("click", PERSON, "the customer called", NOW), group_ids=None)
    assert session.scalars(select(Command.priority)).one() > max(LEVELS)
