"""A result tells of money after its anomaly was closed: the closed one stays, and a person learns of it."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent, Command
from app.alerts.models import AlertEvent
from app.anomalies import service
from app.anomalies.models import Anomaly
from app.anomalies.queries import list_events
from app.executions import results, verifications
from app.executions.exceptions import count_tabs
from app.executions.service import retry_now
from app.executions.starting import Order, start_attempt
from app.monitor.home import list_urgent
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_anomaly,
)

pytestmark = pytest.mark.each_engine

TICK = Order("tick", PERSON, "", NOW)
LATER = NOW + timedelta(minutes=3)
REASON = service.MONEY_AFTER_CLOSE


@pytest.fixture
def command(session: WorkSession, anomaly: Anomaly, plan: Plan, agent: Agent) -> Command:
    """An attempt whose result has not come; the agent that has it went silent."""
    attempt = start_attempt(session, anomaly, plan, TICK)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    return command


def close(session: WorkSession, anomaly: Anomaly, state: str) -> None:
    anomaly.state, anomaly.closed_at = state, LATER
    session.flush()


def open_one(session: WorkSession, closed: Anomaly) -> Anomaly | None:
    session.flush()
    return service.find_open(session, closed.group_id, closed.trade_no)


def alerts(session: WorkSession) -> list[tuple[str, str, str]]:
    session.flush()
    return [(one.kind, one.key, one.params["reason"]) for one in session.scalars(select(AlertEvent))]


@pytest.mark.parametrize("state", ["ignored", "healed", "repaired"])
@pytest.mark.parametrize("outcome", ["repaired", "unknown", "failed"])
def test_a_late_word_of_money_brings_a_closed_trade_to_a_person(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command, state: str, outcome: str
) -> None:
    close(session, anomaly, state)
    results.record_result(session, agent, finished(command, outcome, money_moved=True), LATER)
    told = open_one(session, anomaly)
    assert told is not None
    assert (anomaly.state, told.state, told.reason) == (state, "needs_human", REASON)
    assert (told.has_moved_money, told.money_moved_at) == (True, LATER)
    assert alerts(session) == [("needs_human", anomaly.trade_no, REASON)]
    assert count_tabs(session, None).human == 1
    assert [one.id for one in list_urgent(session, None)] == [told.id]
    history = [(one.from_state, one.to_state) for one in list_events(session, told.id, count=9)]
    assert history == [(None, "open"), ("open", "needs_human")]


def test_a_zombies_word_of_money_counts_as_evidence_and_is_told_too(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command
) -> None:
    close(session, anomaly, "ignored")
    command.fence += 1
    message = finished(command, "refused", fence=command.fence - 1, money_moved=True)
    results.record_result(session, agent, message, LATER)
    assert open_one(session, anomaly) is not None
    assert [one.code for one in list_events(session, anomaly.id, count=9)][-1] == "late_result"


def test_a_late_word_without_money_opens_nothing(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command
) -> None:
    close(session, anomaly, "ignored")
    results.record_result(session, agent, finished(command, "failed", money_moved=False), LATER)
    assert open_one(session, anomaly) is None
    assert alerts(session) == []


def test_money_that_our_own_repair_has_moved_is_no_news(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command
) -> None:
    anomaly.has_moved_money = True
    close(session, anomaly, "repaired")
    results.record_result(session, agent, finished(command, "refused", money_moved=True), LATER)
    assert open_one(session, anomaly) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("open", "needs_human"),
        ("exhausted", "needs_human"),
        ("needs_human", "needs_human"),
        ("repairing", "repairing"),
    ],
)
def test_a_trade_reported_anew_is_the_one_that_tells(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    anomaly: Anomaly,
    command: Command,
    before: str,
    after: str,
) -> None:
    close(session, anomaly, "ignored")
    again = make_anomaly(session, group, trade_no=anomaly.trade_no, state=before)
    results.record_result(session, agent, finished(command, "repaired", money_moved=True), LATER)
    assert open_one(session, anomaly) is again
    assert (again.state, again.has_moved_money) == (after, True)
    assert REASON in [one.code for one in list_events(session, again.id, count=9)]


def begin_newer(session: WorkSession, anomaly: Anomaly, plan: Plan, agent: Agent) -> Command:
    """The next attempt, which a Verify has allowed because it found no repair half done."""
    anomaly.unknown_since = None
    attempt = start_attempt(session, anomaly, plan, Order("tick", PERSON, "", LATER))
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    return command


@pytest.mark.parametrize("outcome", ["repaired", "already_consistent", "failed", "refused", "wait"])
def test_a_late_word_of_money_during_a_newer_repair_ends_with_a_person(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, command: Command, outcome: str
) -> None:
    newer = begin_newer(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    assert (anomaly.state, alerts(session)) == ("repairing", [])
    results.record_result(session, agent, finished(newer, outcome), LATER)
    assert (anomaly.state, anomaly.has_moved_money) == ("needs_human", True)
    assert alerts(session) == [("needs_human", anomaly.trade_no, service.MONEY_DURING_REPAIR)]


def test_so_it_does_where_the_newer_one_never_tells_how_it_ended(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, command: Command
) -> None:
    newer = begin_newer(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    commands.close(session, newer, "indeterminate", LATER, "its deadline passed")
    assert (anomaly.state, anomaly.reason) == ("needs_human", service.MONEY_DURING_REPAIR)


def test_money_that_the_newer_repair_accounts_for_is_no_news(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, command: Command
) -> None:
    newer = begin_newer(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    results.record_result(session, agent, finished(newer, "repaired", money_moved=True), LATER)
    assert (anomaly.state, alerts(session)) == ("repaired", [])


@pytest.mark.parametrize("back", [timedelta(seconds=2), timedelta(days=1)])
def test_a_clock_set_back_hides_no_word_of_money(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, command: Command, back: timedelta
) -> None:
    newer = begin_newer(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "wait", money_moved=True), LATER - back)
    results.record_result(session, agent, finished(newer, "failed"), LATER - back)
    assert (anomaly.state, anomaly.reason) == ("needs_human", service.MONEY_DURING_REPAIR)


@pytest.mark.parametrize("money_moved", [True, False])
def test_a_trade_reported_anew_and_under_repair_ends_with_a_person(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    anomaly: Anomaly,
    command: Command,
    money_moved: bool,
) -> None:
    """Someone closed it, and may have settled it by hand: that the newer repair is whole does not tell."""
    close(session, anomaly, "ignored")
    again = make_anomaly(session, group, trade_no=anomaly.trade_no)
    newer = begin_newer(session, again, plan, agent)
    results.record_result(session, agent, finished(command, "repaired", money_moved=True), LATER)
    assert again.state == "repairing"
    results.record_result(session, agent, finished(newer, "repaired", money_moved=money_moved), LATER)
    assert again.state == "needs_human"
    assert alerts(session) == [("needs_human", anomaly.trade_no, REASON)]


def test_an_attempt_begun_after_the_word_ends_as_any_other(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, command: Command
) -> None:
    newer = begin_newer(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    results.record_result(session, agent, finished(newer, "failed"), LATER)
    after = LATER + timedelta(minutes=1)
    attempt = retry_now(session, anomaly.id, Order("click", PERSON, "looked", after), group_ids=None)
    last = commands.find(session, attempt.command_id)
    assert last is not None
    hand_to(session, last, agent)
    results.record_result(session, agent, finished(last, "repaired"), after)
    assert anomaly.state == "repaired"


@pytest.mark.parametrize("is_ordered", [False, True])
def test_only_a_look_that_a_person_ordered_closes_it(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command, is_ordered: bool
) -> None:
    close(session, anomaly, "ignored")
    results.record_result(session, agent, finished(command, "repaired", money_moved=True), LATER)
    told = open_one(session, anomaly)
    assert told is not None
    if is_ordered:
        verify = service.verify(session, told.id, reason="told", actor=PERSON, group_ids=None, now=LATER)
    else:
        verify = service.order_verify(session, told, LATER)
    hand_to(session, verify, agent)
    verifications.record_facts(session, agent, facts_read(verify, "consistent"), LATER)
    assert told.state == ("repaired" if is_ordered else "needs_human")


def test_a_look_ordered_before_the_word_came_does_not_make_it_forgotten(
    session: WorkSession, agent: Agent, anomaly: Anomaly, command: Command
) -> None:
    look = service.order_verify(session, anomaly, LATER + timedelta(seconds=5))
    hand_to(session, look, agent)
    commands.close(session, look, "indeterminate", LATER + timedelta(minutes=5), "its deadline passed")
    told_at = LATER + timedelta(minutes=6)
    results.record_result(session, agent, finished(command, "wait", money_moved=True), told_at)
    verifications.record_facts(session, agent, facts_read(look, "repair"), told_at + timedelta(minutes=1))
    session.flush()
    assert (anomaly.state, anomaly.has_moved_money) == ("waiting", True)


@pytest.mark.parametrize("outcome", ["repair", "wait", "consistent"])
def test_nor_does_one_ordered_before_the_repair_of_what_is_closed(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, outcome: str
) -> None:
    anomaly = make_anomaly(session, group)
    look = service.order_verify(session, anomaly, NOW - timedelta(minutes=6))
    hand_to(session, look, agent)
    commands.close(session, look, "indeterminate", NOW, "its deadline passed")
    attempt = start_attempt(session, anomaly, plan, TICK)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    close(session, anomaly, "ignored")
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    verifications.record_facts(session, agent, facts_read(look, outcome), LATER + timedelta(minutes=5))
    told = open_one(session, anomaly)
    assert told is not None
    assert (told.state, told.has_moved_money, told.reason) == ("needs_human", True, REASON)
