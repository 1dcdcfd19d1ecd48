"""Where the bank has paid and the balance did not cover the debit, nothing says that nothing was paid."""

import msgspec
import pytest
from flask import Flask
from flask_babel import force_locale
from sqlalchemy import select

from agent.facts import BankFact, BankState, Facts, LegFact, LegState, RequestFact
from app.agents import commands
from app.alerts.models import AlertEvent
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.undebited import INSUFFICIENT, PAID_UNDEBITED, told_by
from app.executions import results
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempt
from app.executions.verifications import record_facts
from app.extensions import db
from app.plans.service import find_plan
from app.reasons import reason_words
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import WITHDRAW_FIXER, make_world, plant, read_anomaly, unpaid_facts
from tests.app.visitor import visitor_of
from tests.factories import NOW, PERSON, facts_read, finished, hand_to, make_agent

NUMBER = "TX20260301000055"
NOT_PAID = ("不会出款", "没有扣款就不能出款")
"""What would be false where the bank has paid."""


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


def undebited(state: str = "SUCCESS") -> Facts:
    """What was read of a withdrawal that the bank has paid and the ledger does not know of."""
    none, verdict = LegFact(LegState.NONE), BankState(state)
    status = "success" if state == "SUCCESS" else "failed"
    request = RequestFact(f"{NUMBER}-0", 0, status, verdict)
    return unpaid_facts(NUMBER, first=none, second=none, bank=BankFact(verdict, (request,)))


def attempted(group: SystemGroup, facts: Facts) -> int:
    """An anomaly of which a repair has just ended: the balance did not cover its debit."""
    columns = {"state": "open", "reason": "", "outcome": "repair", "has_moved_money": False}
    identity = plant(group, trade_no=NUMBER, facts=msgspec.to_builtins(facts), **columns)
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, identity)
        plan = find_plan(session, anomaly.group_id, WITHDRAW_FIXER)
        assert plan is not None
        command_id = start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW)).command_id
        command = commands.find(session, command_id)
        assert command is not None
        agent = make_agent(session, anomaly.group, name="pbap-9")
        hand_to(session, command, agent)
        told = finished(command, "needs_human", reason=INSUFFICIENT, facts_before=facts)
        results.record_result(session, agent, told, NOW)
    return identity


@pytest.mark.parametrize(("state", "reason"), [("SUCCESS", PAID_UNDEBITED), ("FAIL", INSUFFICIENT)])
def test_trade_attempt_history_and_alert_say_whether_the_bank_has_paid(
    group: SystemGroup, state: str, reason: str
) -> None:
    identity = attempted(group, undebited(state))
    attempt = db.session.scalars(select(Attempt)).unique().one()
    event = db.session.scalars(select(AnomalyEvent).order_by(AnomalyEvent.id.desc())).first()
    alert = db.session.scalars(select(AlertEvent)).one()
    assert event is not None
    assert [read_anomaly(identity).reason, attempt.outcome_reason, event.reason, alert.params["reason"]] == [
        reason
    ] * 4


def test_queue_and_page_say_that_the_bank_has_paid_and_what_to_do(app: Flask, group: SystemGroup) -> None:
    li_na = visitor_of(app, "li.na", "operator", groups=["PBAP"])
    identity = attempted(group, undebited())
    queue, page = (li_na.get(url).text for url in ("/exceptions?tab=human", f"/anomalies/{identity}"))
    for told in ("已付未扣，余额不足", "补扣或追回", "账务没有扣款"):
        assert told in queue
        assert told in page
    for told in ("银行已付出，客户没有扣款", "不要再付"):
        assert told in page
    assert not [words for words in NOT_PAID if words in queue + page]
    found = li_na.get(f"/exceptions?tab=human&cause={PAID_UNDEBITED}").text
    assert NUMBER in found
    assert NUMBER not in li_na.get(f"/exceptions?tab=human&cause={INSUFFICIENT}").text


def test_what_is_read_afterwards_changes_the_word(group: SystemGroup) -> None:
    identity = attempted(group, undebited("FAIL"))
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, identity)
        command = commands.issue(
            session,
            type="Verify",
            group_id=anomaly.group_id,
            message={"trade_no": NUMBER},
            deadline=NOW - NOW,
            now=NOW,
            trade_no=NUMBER,
        )
        agent = make_agent(session, anomaly.group, name="pbap-10")
        hand_to(session, command, agent)
        record_facts(session, agent, facts_read(command, "repair", facts=undebited()), NOW)
    assert (read_anomaly(identity).state, read_anomaly(identity).reason) == ("needs_human", PAID_UNDEBITED)


def test_other_reasons_stay_as_the_agent_says_them() -> None:
    assert told_by("mismatch", undebited()) == "mismatch"
    assert told_by(INSUFFICIENT, None) == INSUFFICIENT
    assert told_by(PAID_UNDEBITED, undebited("FAIL")) == INSUFFICIENT


def test_the_words_of_both_languages_say_paid_and_not_debited(app: Flask) -> None:
    with app.app_context(), force_locale("zh"):
        assert reason_words(PAID_UNDEBITED).startswith("已付未扣，余额不足")
    with app.app_context(), force_locale("en"):
        assert reason_words(PAID_UNDEBITED).startswith("Paid, not debited")
