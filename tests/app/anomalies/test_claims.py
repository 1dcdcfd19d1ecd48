"""Healed outside: a person's word closes nothing by itself; fresh facts do, or the trade is with a person."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies import claims, service
from app.anomalies.models import Anomaly, AnomalyEvent, OutsideClaim
from app.audit.models import AuditEntry
from app.errors import ConflictError, InvalidError
from app.executions import verifications
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from app.users.service import FormErrors
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    row_of,
)

pytestmark = pytest.mark.each_engine

LATER = NOW + timedelta(minutes=3)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    group = make_group(session)
    make_plan(session, group)
    return group


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


@pytest.fixture
def anomaly(session: WorkSession, group: SystemGroup) -> Anomaly:
    return make_anomaly(session, group, state="needs_human", outcome="human", reason="mismatch")


def claim(session: WorkSession, anomaly: Anomaly, **columns: str) -> OutsideClaim:
    values = {"reference": "INC-7", "reason": "银行已退款"} | columns
    return claims.claim_healed(session, anomaly.id, **values, actor=PERSON, group_ids=None, now=NOW)


def answer(session: WorkSession, agent: Agent, made: OutsideClaim, outcome: str, reason: str = "") -> None:
    command = commands.find(session, made.command_id)
    assert command is not None
    hand_to(session, command, agent)
    verifications.record_facts(session, agent, facts_read(command, outcome, reason=reason), LATER)
    session.flush()
    session.expire_all()


def last_event(session: WorkSession, anomaly: Anomaly) -> tuple[str, str, str, str]:
    event = session.scalars(
        select(AnomalyEvent).where(AnomalyEvent.anomaly_id == anomaly.id).order_by(AnomalyEvent.id.desc())
    ).first()
    assert event is not None
    return event.code, event.to_state, event.actor_name, event.reason


def test_a_claim_orders_a_verify_and_changes_nothing_yet(session: WorkSession, anomaly: Anomaly) -> None:
    made = claim(session, anomaly)
    command = commands.find(session, made.command_id)
    assert command is not None
    assert (command.type, command.trade_no, anomaly.state) == ("Verify", anomaly.trade_no, "needs_human")
    assert (made.reference, made.reason, made.actor_name, made.ended_at) == (
        "INC-7",
        "银行已退款",
        "li.na",
        None,
    )
    assert last_event(session, anomaly)[0] == "claimed_outside"
    entry = session.scalars(select(AuditEntry)).one()
    assert (entry.action, entry.reason, entry.detail) == (
        "anomaly.claim_outside",
        "银行已退款",
        {"reference": "INC-7"},
    )


def test_facts_that_agree_close_it_as_healed_in_the_persons_name(
    session: WorkSession, agent: Agent, anomaly: Anomaly
) -> None:
    made = claim(session, anomaly)
    answer(session, agent, made, "consistent")
    assert (anomaly.state, made.outcome, made.ended_at) == ("healed", "held", LATER)
    assert last_event(session, anomaly) == ("healed_outside", "healed", "li.na", "INC-7 · 银行已退款")


@pytest.mark.parametrize("state", ["needs_human", "open", "waiting", "exhausted"])
@pytest.mark.parametrize(
    ("outcome", "reason", "kept", "why"),
    [
        ("human", "failed but bank paid", "human", "failed but bank paid"),
        ("missing", "", "human", "missing"),
        ("wait", "bank", "wait", "claim_refuted: bank"),
        ("repair", "", "repair", "claim_refuted"),
        ("resume", "", "repair", "claim_refuted"),
    ],
)
def test_facts_that_disagree_leave_it_with_a_person_and_move_no_money(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    state: str,
    outcome: str,
    reason: str,
    kept: str,
    why: str,
) -> None:
    anomaly = make_anomaly(session, group, state=state)
    made = claim(session, anomaly)
    answer(session, agent, made, outcome, reason)
    assert (anomaly.state, anomaly.outcome, anomaly.reason) == ("needs_human", kept, why)
    assert (made.outcome, anomaly.row_hash) == ("refuted", "hash-2")
    assert last_event(session, anomaly)[0] == "claim_refuted"
    assert list(session.scalars(select(Command.type))) == ["Verify"]


def test_what_could_not_be_read_leaves_it_with_a_person(
    session: WorkSession, agent: Agent, anomaly: Anomaly
) -> None:
    made = claim(session, anomaly)
    answer(session, agent, made, "error", "the ledger does not answer")
    assert (anomaly.state, anomaly.reason, made.outcome) == ("needs_human", "mismatch", "unanswered")


@pytest.mark.parametrize("closed", ["expired", "rejected", "cancelled", "indeterminate"])
def test_a_verify_that_ends_without_an_answer_ends_the_claim(
    session: WorkSession, group: SystemGroup, closed: str
) -> None:
    anomaly = make_anomaly(session, group)
    made = claim(session, anomaly)
    command = commands.find(session, made.command_id)
    assert command is not None
    commands.close(session, command, closed, LATER, "its deadline passed")
    assert (made.outcome, made.ended_at, made.told) == ("unanswered", LATER, "its deadline passed")
    assert (anomaly.state, anomaly.reason) == ("needs_human", "claim_unanswered")
    claim(session, anomaly)


def test_a_late_answer_to_a_claim_that_ended_is_facts_and_no_more(
    session: WorkSession, agent: Agent, anomaly: Anomaly
) -> None:
    made = claim(session, anomaly)
    command = commands.find(session, made.command_id)
    assert command is not None
    hand_to(session, command, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    verifications.record_facts(session, agent, facts_read(command, "consistent"), LATER)
    session.flush()
    assert (anomaly.state, made.outcome) == ("healed", "unanswered")
    assert last_event(session, anomaly)[0] == "consistent"


def test_a_claim_ends_with_its_anomaly(session: WorkSession, anomaly: Anomaly) -> None:
    made = claim(session, anomaly)
    service.ignore(session, anomaly.id, reason="x", actor=PERSON, group_ids=None, now=LATER)
    assert (made.outcome, made.ended_at, made.told) == ("overtaken", LATER, "ignored")


def test_a_second_claim_waits_for_the_first(session: WorkSession, anomaly: Anomaly) -> None:
    claim(session, anomaly)
    with pytest.raises(ConflictError, match="trade_busy"):
        claim(session, anomaly)


@pytest.mark.parametrize(
    ("state", "code"), [("repairing", "repairing"), ("healed", "closed"), ("ignored", "closed")]
)
def test_only_what_is_open_and_idle_can_be_claimed(
    session: WorkSession, group: SystemGroup, state: str, code: str
) -> None:
    with pytest.raises(ConflictError, match=code):
        claim(session, make_anomaly(session, group, state=state))


def test_a_row_without_a_number_cannot_be_claimed(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(
        session, group, trade_no="TRD_ID 7", state="needs_human", row=row_of("", 7) | {"TRD_NUM": None}
    )
    with pytest.raises(ConflictError, match="no_trade_number"):
        claim(session, anomaly)


def test_nothing_is_claimed_in_a_disabled_group(
    session: WorkSession, group: SystemGroup, anomaly: Anomaly
) -> None:
    group.is_enabled = False
    with pytest.raises(ConflictError, match="group_disabled"):
        claim(session, anomaly)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"reason": " "}, "reason_required"),
        ({"reference": " "}, "reference_required"),
        ({"reference": "x" * 121}, "too_long"),
    ],
)
def test_a_claim_says_why_and_where_it_is_written_down(
    session: WorkSession, anomaly: Anomaly, values: dict[str, str], code: str
) -> None:
    with pytest.raises(InvalidError, match=code):
        claim(session, anomaly, **values)


def test_all_that_a_claim_lacks_is_told_at_once(session: WorkSession, anomaly: Anomaly) -> None:
    with pytest.raises(FormErrors) as wrong:
        claim(session, anomaly, reason=" ", reference=" ")
    assert [one.field for one in wrong.value.errors] == ["reference", "reason"]


def test_an_answer_read_before_an_attempt_of_unknown_outcome_bears_no_claim_out(
    session: WorkSession, agent: Agent, anomaly: Anomaly
) -> None:
    made = claim(session, anomaly)
    anomaly.unknown_since = NOW + timedelta(seconds=1)
    answer(session, agent, made, "consistent")
    assert (anomaly.state, made.outcome) == ("needs_human", "unanswered")
