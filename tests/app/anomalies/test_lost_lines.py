"""What an agent has found of a lost line, a collection that asks no bank of it does not take back."""

from typing import Any

import msgspec
import pytest

from agent.facts import BankFact, BankState, Facts, LegFact, LegState, RequestFact
from app.anomalies import reports
from app.anomalies.lost_lines import LINE_LOST
from app.anomalies.models import Anomaly
from app.executions.order_guard import facts_of
from app.executions.proposals import Doubt, propose
from app.unit_of_work import WorkSession
from tests.app.executions.unpaid import make_unpaid, unpaid_facts
from tests.factories import NOW, make_agent, make_group, reported

UNPAID = "processing, debited, bank failed"
SIGHTING = reports.Sighting(1, 1, NOW, NOW)


@pytest.fixture
def anomaly(session: WorkSession) -> Anomaly:
    group = make_group(session)
    make_agent(session, group)
    return make_unpaid(session, group, trade_no="T", reason=LINE_LOST, has_moved_money=False)


def see(session: WorkSession, anomaly: Anomaly, facts: Facts, **fields: Any) -> None:
    values: dict[str, Any] = {"outcome": "human", "reason": UNPAID, "facts": facts} | fields
    reports.see_again(session, anomaly, reported("T", **values), SIGHTING)


def proposal(anomaly: Anomaly) -> str:
    return propose(Doubt(anomaly.reason, anomaly.outcome, facts_of(anomaly), "normal")).action


def test_a_collection_that_calls_it_unpaid_keeps_the_lost_line(
    session: WorkSession, anomaly: Anomaly
) -> None:
    for row_hash in ("hash-1", "hash-2"):
        see(session, anomaly, unpaid_facts("T", row_hash=row_hash))
        assert (anomaly.state, anomaly.reason) == ("needs_human", LINE_LOST)
        assert proposal(anomaly) == "ask_bank"


def test_it_is_unpaid_again_once_a_line_has_come(session: WorkSession, anomaly: Anomaly) -> None:
    request = RequestFact("T-0", 0, "failed", BankState.FAIL, code="E1001")
    restored = msgspec.structs.replace(request, request_no="T-P1", seq=1)
    see(session, anomaly, unpaid_facts("T", bank=BankFact(BankState.FAIL, (request, restored))))
    assert anomaly.reason == UNPAID
    assert proposal(anomaly) == "pay_or_reverse"


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        ({"first": LegFact(LegState.MISMATCH)}, {"reason": "mismatch"}),
        ({"status_of_bank": "accepted"}, {"outcome": "wait", "reason": "bank"}),
        ({}, {"outcome": "repair", "reason": ""}),
    ],
)
def test_what_is_more_than_unpaid_is_told(
    session: WorkSession, anomaly: Anomaly, facts: dict[str, Any], fields: dict[str, str]
) -> None:
    status = facts.pop("status_of_bank", "failed")
    see(session, anomaly, unpaid_facts("T", status=status, **facts), **fields)
    assert anomaly.reason == fields["reason"]


def test_a_trade_that_never_lost_a_line_is_told_as_reported(session: WorkSession, anomaly: Anomaly) -> None:
    anomaly.reason = "debited, payout failed"
    see(session, anomaly, unpaid_facts("T"))
    assert anomaly.reason == UNPAID
