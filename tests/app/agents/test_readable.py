"""NUL in what agents say: no database refuses a result for it, and what was read stays as it was."""

import pytest
from sqlalchemy import select

from app.agents.models import Agent, Command
from app.agents.readable import without_nul
from app.anomalies.models import Anomaly
from app.anomalies.service import order_verify
from app.executions import results, verifications
from app.executions.models import Attempt, Step
from app.executions.service import attempt_one
from app.unit_of_work import WorkSession
from tests.app.agents.agent_client import hello
from tests.app.guards.test_verdicts import CLICK
from tests.factories import (
    NOW,
    facts_of,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    reported,
    row_of,
    step,
)

pytestmark = pytest.mark.each_engine


@pytest.fixture
def anomaly(session: WorkSession) -> Anomaly:
    group = make_group(session)
    make_plan(session, group)
    return make_anomaly(session, group)


@pytest.fixture
def agent(session: WorkSession, anomaly: Anomaly) -> Agent:
    return make_agent(session, anomaly.group)


def test_a_result_is_taken_whose_words_hold_nul(session: WorkSession, anomaly: Anomaly, agent: Agent) -> None:
    attempt_one(session, anomaly.id, CLICK, group_ids=None)
    command = session.scalars(select(Command)).one()
    hand_to(session, command, agent)
    row = row_of(anomaly.trade_no, 1) | {"MESSAGE": "a\0b"}
    steps = (step(1, detail="the bank says: a\0b"),)
    said = finished(command, "needs_human", reason="the bank says: a\0b", after=row, steps=steps)
    results.record_result(session, agent, without_nul(said), NOW)
    session.expire_all()
    reasons = session.execute(select(Attempt.outcome_reason, Step.detail).join(Step)).one()
    assert tuple(reasons) == ("the bank says: ab", "the bank says: ab")
    assert (anomaly.state, anomaly.row) == ("needs_human", row)


def test_an_answer_is_taken_whose_words_hold_nul(
    session: WorkSession, anomaly: Anomaly, agent: Agent
) -> None:
    command = order_verify(session, anomaly, NOW)
    hand_to(session, command, agent)
    said = facts_read(command, "human", reason="meaningless: a\0b")
    verifications.record_facts(session, agent, without_nul(said), NOW)
    session.expire_all()
    assert (anomaly.state, anomaly.reason) == ("needs_human", "meaningless: ab")


def test_a_trade_number_and_what_was_read_stay_as_they_are() -> None:
    trade = reported("T\0001", reason="a\0b", row={"MESSAGE": "a\0b"}, facts=facts_of("T\0001"))
    kept = without_nul(trade)
    assert (kept.reason, kept.trade_no, kept.row, kept.facts) == (
        "ab",
        trade.trade_no,
        trade.row,
        trade.facts,
    )


def test_what_holds_none_is_the_same() -> None:
    said = hello()
    assert without_nul(said) is said
    assert without_nul(hello(host="a\0b", fixer_codes=("a\0b",))).fixer_codes == ("ab",)
