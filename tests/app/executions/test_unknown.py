"""Unknown is a state: it is verified by itself, and never repeated by itself."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, CollectionRun, CollectionTask
from app.anomalies.reports import take_rows
from app.anomalies.service import BY_PERSON_FIRST, WAITING_FIRST, order_verify
from app.executions import results, ticking, times_ahead, unknown, verifications
from app.executions.models import Attempt
from app.executions.service import retry_now
from app.executions.starting import Order, start_attempt, start_attempts
from app.plans.models import LEVELS, Plan, Tick
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_plan,
    reported,
)

pytestmark = pytest.mark.each_engine

LATER = NOW + timedelta(minutes=3)
MUCH_LATER = NOW + timedelta(minutes=20)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group, seen_at=MUCH_LATER)


@pytest.fixture
def plan(session: WorkSession, group: SystemGroup) -> Plan:
    return make_plan(session, group, max_retries=9)


def begin(session: WorkSession, anomaly: Anomaly, plan: Plan, agent: Agent) -> Command:
    attempt = start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW))
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    return command


def leave_unknown(session: WorkSession, anomaly: Anomaly, plan: Plan, agent: Agent) -> Command:
    """An attempt whose reply from the bank was lost; return its command."""
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown"), LATER)
    session.flush()
    return command


def tick(session: WorkSession, plan: Plan, now: datetime = MUCH_LATER) -> None:
    ticking.attempt_tick_page(session, ticking.TickPage(a_tick(session, plan, now), plan.id, 0), now)
    session.flush()


def a_tick(session: WorkSession, plan: Plan, now: datetime) -> int:
    tick = Tick(subject="plan", subject_id=plan.id, due_at=now, at=now)
    session.add(tick)
    session.flush()
    return tick.id


def verify_unknown(session: WorkSession, now: datetime) -> int:
    return unknown.verify_waiting(session, unknown.unasked_ids(session, now), now)


def ordered(session: WorkSession) -> list[str]:
    """The types of all commands, in the order they were given."""
    session.flush()
    return list(session.scalars(select(Command.type).order_by(Command.seq)))


def answer(session: WorkSession, agent: Agent, outcome: str) -> None:
    """The newest Verify is answered."""
    verify = session.scalars(
        select(Command).where(Command.type == "Verify").order_by(Command.seq.desc()).limit(1)
    ).one()
    hand_to(session, verify, agent)
    verifications.record_facts(session, agent, facts_read(verify, outcome), MUCH_LATER)
    session.flush()


def test_an_unknown_outcome_is_verified_at_the_tick_and_not_repeated(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    leave_unknown(session, anomaly, plan, agent)
    tick(session, plan)
    assert ordered(session) == ["Repair", "Verify"]
    assert (anomaly.state, anomaly.unknown_since) == ("waiting", LATER)


@pytest.mark.parametrize(
    ("outcome", "types"),
    [
        ("repair", ["Repair", "Verify", "Repair"]),
        ("resume", ["Repair", "Verify", "Repair"]),
        ("wait", ["Repair", "Verify"]),
        ("error", ["Repair", "Verify"]),
        ("human", ["Repair", "Verify"]),
    ],
)
def test_only_facts_that_say_repair_or_resume_repeat_it(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, outcome: str, types: list[str]
) -> None:
    leave_unknown(session, anomaly, plan, agent)
    tick(session, plan)
    answer(session, agent, outcome)
    assert ordered(session) == types
    assert (anomaly.unknown_since is None) == (outcome in ("repair", "resume"))


def test_a_collection_that_read_before_the_attempt_repeats_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    leave_unknown(session, anomaly, plan, agent)
    take_rows(session, a_task(session, group, agent), [reported(anomaly.trade_no)], LATER)
    assert anomaly.state == "waiting"
    tick(session, plan)
    assert ordered(session) == ["Repair", "Verify"]


def test_a_collection_that_asks_a_person_and_takes_it_back_repeats_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    leave_unknown(session, anomaly, plan, agent)
    for outcome in ("human", "repair"):
        row = reported(anomaly.trade_no, outcome=outcome)
        take_rows(session, a_task(session, group, agent), [row], MUCH_LATER)
    assert anomaly.state == "waiting"
    tick(session, plan)
    assert ordered(session) == ["Repair", "Verify"]


def a_task(session: WorkSession, group: SystemGroup, agent: Agent) -> CollectionTask:
    run = CollectionRun(
        group=group,
        state="running",
        trigger="click",
        requested_by=PERSON.name,
        fixer_codes=[FIXER],
        window_start=NOW - timedelta(days=7),
        window_end=NOW,
        created_at=NOW,
    )
    session.add(run)
    session.flush()
    task = CollectionTask(
        run=run, agent_id=agent.id, command_id=f"run-{run.id}", shard=0, shards=1, created_at=NOW
    )
    session.add(task)
    session.flush()
    return task


def test_the_late_answer_of_a_verify_ordered_before_the_attempt_repeats_nothing(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    early = order_verify(session, anomaly, NOW - timedelta(minutes=6))
    hand_to(session, early, agent)
    commands.close(session, early, "indeterminate", NOW, "its deadline passed")
    leave_unknown(session, anomaly, plan, agent)
    verifications.record_facts(session, agent, facts_read(early, "repair"), MUCH_LATER)
    assert (anomaly.state, anomaly.unknown_since) == ("waiting", LATER)
    assert ordered(session) == ["Verify", "Repair"]


@pytest.mark.parametrize("outcome", ["wait", "needs_human"])
def test_nor_does_it_make_the_money_forgotten_that_a_repair_begun_after_it_has_moved(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, outcome: str
) -> None:
    early = order_verify(session, anomaly, NOW - timedelta(minutes=6))
    hand_to(session, early, agent)
    commands.close(session, early, "indeterminate", NOW, "its deadline passed")
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, outcome, money_moved=True), LATER)
    before = anomaly.state
    verifications.record_facts(session, agent, facts_read(early, "repair"), MUCH_LATER)
    assert (anomaly.state, anomaly.has_moved_money) == (before, True)
    assert ordered(session) == ["Verify", "Repair"]


def test_what_ended_by_a_clock_ahead_is_believed_of_a_look_once_that_is_put_back(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown"), NOW + timedelta(days=1))
    times_ahead.bring_back(session, LATER)
    session.expire_all()
    tick(session, plan)
    answer(session, agent, "repair")
    assert ordered(session) == ["Repair", "Verify", "Repair"]


def test_a_look_ordered_by_a_clock_ahead_says_nothing_of_what_ended_once_that_is_put_back(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    tick(session, plan, NOW + timedelta(days=1))
    results.record_result(session, agent, finished(command, "unknown"), LATER)
    answer(session, agent, "repair")
    assert anomaly.state == "waiting"
    assert ordered(session) == ["Repair", "Verify"]


def test_what_an_agent_may_hold_though_its_ack_never_came_is_unknown(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    command.state, command.accepted_at = "pending", None
    commands.close(session, command, "expired", LATER, "its deadline passed")
    assert (anomaly.state, anomaly.unknown_since) == ("waiting", LATER)
    assert session.scalars(select(Attempt.outcome)).one() == "unknown"


def test_no_tick_attempts_what_is_unknown_whatever_state_it_is_in(
    session: WorkSession, agent: Agent, plan: Plan, group: SystemGroup
) -> None:
    lost = make_anomaly(session, group, unknown_since=NOW)
    assert start_attempts(session, [lost], plan, Order("tick", PERSON, "", NOW)) == []
    tick(session, plan)
    assert ordered(session) == ["Verify"]


def test_a_refused_or_cancelled_attempt_leaves_it_unknown(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    for outcome in ("refused", "cancelled"):
        anomaly.state, anomaly.unknown_since = "open", None
        command = begin(session, anomaly, plan, agent)
        anomaly.unknown_since = NOW
        results.record_result(session, agent, finished(command, outcome), LATER)
        assert (anomaly.state, anomaly.unknown_since) == ("waiting", NOW)
        for verify in session.scalars(select(Command).where(Command.type == "Verify")):
            verify.state = "finished"
        session.flush()


def test_a_person_may_repeat_what_is_unknown(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    leave_unknown(session, anomaly, plan, agent)
    retry_now(session, anomaly.id, Order("click", PERSON, "已查清", MUCH_LATER), group_ids=None)
    session.flush()
    assert [one.trigger for one in session.scalars(select(Attempt).order_by(Attempt.number)).unique()] == [
        "tick",
        "click",
    ]


@pytest.mark.parametrize(
    "columns", [{"mode": "manual"}, {"state": "disabled"}, {"fixer_code": "rechargeTimeoutFixServiceImpl"}]
)
def test_what_no_tick_asks_about_is_verified_all_the_same(
    session: WorkSession, group: SystemGroup, agent: Agent, columns: dict[str, str]
) -> None:
    make_plan(session, group, **columns)
    make_anomaly(session, group, state="waiting", unknown_since=NOW)
    assert verify_unknown(session, MUCH_LATER) == 1
    answer(session, agent, "repair")
    assert ordered(session) == ["Verify"]
    assert session.scalars(select(Anomaly.state)).one() == "open"


def test_what_waits_is_verified_however_much_plans_of_any_level_have_begun(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    make_plan(session, group, mode="manual", level=0)
    make_anomaly(session, group, state="waiting", unknown_since=NOW)
    verify_unknown(session, MUCH_LATER)
    assert session.scalars(select(Command.priority)).all() == [WAITING_FIRST]
    assert max(LEVELS) < WAITING_FIRST < BY_PERSON_FIRST


@pytest.mark.parametrize("is_shadow", [False, True])
@pytest.mark.parametrize("columns", [{"state": "waiting"}, {"unknown_since": NOW}])
def test_what_waits_for_an_automatic_plan_goes_first_each_time_it_could_not_be_read(
    session: WorkSession, group: SystemGroup, agent: Agent, columns: dict[str, Any], is_shadow: bool
) -> None:
    plan = make_plan(session, group, level=max(LEVELS), is_shadow=is_shadow)
    make_anomaly(session, group, **columns)
    for minutes in (20, 26, 32):
        now = NOW + timedelta(minutes=minutes)
        tick(session, plan, now)
        verify = session.scalars(select(Command).where(Command.state == "pending")).one()
        assert (verify.type, verify.priority) == ("Verify", WAITING_FIRST)
        commands.close(session, verify, "expired", now + timedelta(minutes=5), "its deadline passed")


def test_a_further_look_at_what_waits_goes_as_its_plan_does_for_ten_minutes(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, level=1)
    make_anomaly(session, group, state="waiting")
    looks = []
    for minutes in (0, 9, 10, 19):
        now = NOW + timedelta(minutes=minutes)
        tick(session, plan, now)
        verify = session.scalars(select(Command).where(Command.state == "pending")).one()
        looks.append(verify.priority)
        if minutes in (0, 10):
            verify.state, verify.finished_at = "finished", now
        else:
            commands.close(session, verify, "expired", now, "its deadline passed")
        session.flush()
    assert looks == [WAITING_FIRST, 1, WAITING_FIRST, 1]


def test_what_an_automatic_plan_asks_about_is_left_to_its_ticks(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    make_anomaly(session, group, state="waiting", waiting_since=MUCH_LATER - timedelta(minutes=9))
    assert verify_unknown(session, MUCH_LATER) == 0


def test_what_no_tick_has_asked_about_for_ten_minutes_is_verified_though_its_plan_is_automatic(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    agent.fixer_codes = []  # a tick finds nobody to repair it, a Verify needs no fixer
    make_plan(session, group, retry_cron="0 0 3 * * ?")
    make_anomaly(session, group, state="waiting", waiting_since=NOW)
    assert [verify_unknown(session, NOW + timedelta(minutes=minutes)) for minutes in (9, 10)] == [0, 1]


def test_what_waits_is_asked_about_every_ten_minutes(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    make_anomaly(session, group, state="waiting")
    made = []
    for minutes in (0, 5, 10):
        made.append(verify_unknown(session, NOW + timedelta(minutes=minutes)))
        for verify in session.scalars(select(Command)):
            verify.state = "finished"
        session.flush()
    assert made == [1, 0, 1]


def test_nobody_is_asked_while_no_agent_of_the_group_is_online(
    session: WorkSession, group: SystemGroup
) -> None:
    make_agent(session, group, is_online=False)
    make_anomaly(session, group, state="waiting")
    assert verify_unknown(session, NOW) == 0
    assert ordered(session) == []


def test_what_was_taken_up_since_it_was_found_is_not_asked_about(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    gone, busy = (make_anomaly(session, group, state="waiting") for _each in range(2))
    found = unknown.unasked_ids(session, NOW)
    gone.state = "healed"
    order_verify(session, busy, NOW)
    session.flush()
    assert (len(found), unknown.verify_waiting(session, found, NOW)) == (2, 0)
