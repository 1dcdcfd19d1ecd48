"""What becomes of an anomaly when an attempt ends."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from agent.answers import StepRecorded
from agent.facts import Status
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent, QuarterCount
from app.anomalies.service import WAITING_FIRST, ignore, order_verify, verify
from app.executions import attempt_record, limits, results, ticking, verifications
from app.executions.models import Attempt, Execution, Step
from app.executions.order_guard import HALF_DONE
from app.executions.service import retry_now
from app.executions.starting import Order, start_attempt
from app.plans.models import Plan
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    NOW,
    PERSON,
    facts_of,
    facts_read,
    finished,
    hand_to,
    make_anomaly,
    row_of,
    step,
)

pytestmark = pytest.mark.each_engine

TICK = Order("tick", PERSON, "", NOW)
LATER = NOW + timedelta(minutes=3)


def begin(session: WorkSession, anomaly: Anomaly, plan: Plan, agent: Agent) -> Command:
    """Start an attempt and have the agent run it; return its command."""
    attempt = start_attempt(session, anomaly, plan, TICK)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    return command


def attempt_of(session: WorkSession, command: Command) -> Attempt:
    session.flush()
    session.expire_all()
    return session.scalars(select(Attempt).where(Attempt.command_id == command.id)).unique().one()


def events_of(session: WorkSession, anomaly: Anomaly) -> list[tuple[str | None, str, str]]:
    rows = session.scalars(
        select(AnomalyEvent).where(AnomalyEvent.anomaly_id == anomaly.id).order_by(AnomalyEvent.id)
    )
    return [(event.from_state, event.to_state, event.code) for event in rows]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("repaired", "repaired"),
        ("already_consistent", "healed"),
        ("failed", "exhausted"),
        ("unknown", "waiting"),
        ("wait", "waiting"),
        ("refused", "open"),
        ("needs_human", "needs_human"),
        ("cancelled", "open"),
    ],
)
def test_each_outcome_moves_the_anomaly(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, outcome: str, state: str
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, outcome), LATER)
    attempt = attempt_of(session, command)
    assert (attempt.outcome, anomaly.state) == (outcome, state)
    assert anomaly.failed_attempts == (outcome == "failed")
    assert command.state == "finished"
    assert events_of(session, anomaly)[1:] == [("repairing", state, events_of(session, anomaly)[1][2])]


@pytest.mark.parametrize(
    ("outcome", "state"), [("failed", "open"), ("unknown", "waiting"), ("cancelled", "waiting")]
)
def test_a_repair_that_has_moved_money_is_never_exhausted(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, outcome: str, state: str
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, outcome, money_moved=True), LATER)
    session.flush()
    assert (anomaly.state, anomaly.has_moved_money, anomaly.money_moved_at) == (state, True, LATER)


def test_max_retries_n_means_n_plus_one_attempts(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    plan.max_retries = 2
    states = []
    for _try in range(3):
        command = begin(session, anomaly, plan, agent)
        results.record_result(session, agent, finished(command, "failed"), LATER)
        states.append(anomaly.state)
    assert states == ["open", "open", "exhausted"]
    attempts = session.scalars(select(Attempt).order_by(Attempt.id)).unique()
    assert [attempt.number for attempt in attempts] == [1, 2, 3]


def test_payouts_that_fail_for_good_spend_the_retries(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    plan.max_retries = 1
    states = []
    for _try in range(2):
        for outcome, money_moved in (("wait", True), ("failed", False)):
            command = begin(session, anomaly, plan, agent)
            results.record_result(session, agent, finished(command, outcome, money_moved=money_moved), LATER)
            states.append((anomaly.state, anomaly.has_moved_money))
    assert states == [("waiting", True), ("open", False), ("waiting", True), ("exhausted", False)]
    assert anomaly.money_moved_at is None


def test_a_repair_that_failed_without_effect_is_no_longer_called_half_done(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "wait", money_moved=True), LATER)
    anomaly.reason = HALF_DONE
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "failed", money_moved=True), LATER)
    assert anomaly.reason == HALF_DONE
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "failed"), LATER)
    assert anomaly.reason == ""


def test_a_click_is_one_further_attempt_after_exhaustion(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "failed"), LATER)
    order = Order("click", PERSON, "the ledger is back", LATER)
    attempt = retry_now(session, anomaly.id, order, group_ids=None)
    assert (attempt.number, anomaly.state, attempt.actor_name) == (2, "repairing", "li.na")
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    results.record_result(session, agent, finished(command, "failed"), LATER)
    assert (anomaly.state, anomaly.failed_attempts) == ("exhausted", 2)


def test_a_repaired_trade_keeps_its_rows_steps_and_resolution(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    after = row_of(anomaly.trade_no, 1) | {"ACC_TRD_NUM": "GA160724154946100112", "ACC_TRD_STATUS": 1}
    message = finished(
        command, "repaired", after=after, money_moved=True, steps=(step(1, moves_money=True), step(2))
    )
    results.record_result(session, agent, message, LATER)
    attempt = attempt_of(session, command)
    execution = session.scalars(select(Execution)).unique().one()
    assert attempt.after == after
    assert execution.after == after
    assert execution.before == row_of(anomaly.trade_no, 1)
    assert [(one.seq, one.moves_money) for one in attempt.steps] == [(1, True), (2, False)]
    assert (anomaly.resolution, anomaly.closed_at, execution.finished_at) == ("success", LATER, LATER)


def test_a_result_that_read_no_row_leaves_the_newest_row_as_it_is(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    """A repair left as it stands tells the row before it, which it may have written since."""
    command = begin(session, anomaly, plan, agent)
    newest = row_of(anomaly.trade_no, 1) | {"ACC_TRD_NUM": "GA160724154946100112", "ACC_TRD_STATUS": 1}
    anomaly.row = newest
    message = finished(command, "unknown", after=None, money_moved=True, row_hash="")
    results.record_result(session, agent, message, LATER)
    assert anomaly.row == newest
    assert attempt_of(session, command).before == row_of(anomaly.trade_no, 1)


def test_a_confirmed_failure_is_counted_apart(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "repaired", is_confirmed_failed=True), LATER)
    counts = {row.name: row.count for row in session.scalars(select(QuarterCount))}
    assert anomaly.resolution == "confirmed_failed"
    assert counts == {"confirmed_failed": 1, "attempt_repaired": 1}


def test_a_refusal_forces_a_verify(session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "refused"), LATER)
    verify = commands.find_live(session, anomaly.group_id, anomaly.trade_no)
    assert verify is not None
    assert (verify.type, verify.priority) == ("Verify", WAITING_FIRST)


def test_a_result_of_an_older_fence_is_only_evidence(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    command.fence += 1
    results.record_result(session, agent, finished(command, "failed", fence=command.fence - 1), LATER)
    attempt = attempt_of(session, command)
    assert (attempt.outcome, anomaly.state, command.state) == (None, "repairing", "running")
    assert events_of(session, anomaly)[-1] == ("repairing", "repairing", "late_result")


def test_a_failure_of_an_agent_that_lost_the_command_spends_a_retry(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    """Two agents tried and failed, one after the other: that no third one tries, both count."""
    plan.max_retries = 1
    command = begin(session, anomaly, plan, agent)
    command.fence += 1
    for _again in range(2):
        results.record_result(session, agent, finished(command, "failed", fence=command.fence - 1), LATER)
    assert (anomaly.state, anomaly.failed_attempts) == ("repairing", 1)
    results.record_result(session, agent, finished(command, "failed"), LATER)
    assert (anomaly.state, anomaly.failed_attempts) == ("exhausted", 2)


@pytest.mark.parametrize("is_taken_over", [True, False])
def test_a_repair_refused_after_an_earlier_holder_is_verified_before_the_next(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, is_taken_over: bool
) -> None:
    command = begin(session, anomaly, plan, agent)
    command.fence += is_taken_over
    commands.close(session, command, "rejected", LATER, "stopped: maintenance")
    unknown = ("unknown", "waiting", LATER)
    plain = ("rejected", "open", None)
    found = (attempt_of(session, command).outcome, anomaly.state, anomaly.unknown_since)
    assert found == (unknown if is_taken_over else plain)


def test_a_late_result_of_an_indeterminate_command_counts(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    assert (attempt_of(session, command).outcome, anomaly.state) == ("unknown", "waiting")
    results.record_result(session, agent, finished(command, "repaired"), LATER)
    assert (attempt_of(session, command).outcome, anomaly.state) == ("repaired", "repaired")


def test_a_late_result_of_an_anomaly_that_is_over_is_told_and_moves_nothing(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    anomaly.state, anomaly.closed_at = "ignored", LATER
    results.record_result(session, agent, finished(command, "repaired", reason="done"), LATER)
    attempt = attempt_of(session, command)
    assert (attempt.outcome, anomaly.state, attempt.execution.finished_at) == ("repaired", "ignored", None)
    assert events_of(session, anomaly)[-1] == ("ignored", "ignored", "late_result")


@pytest.mark.parametrize(
    ("outcome", "state"), [("failed", "needs_human"), ("unknown", "needs_human"), ("repaired", "repaired")]
)
def test_only_news_that_a_trade_is_whole_takes_it_from_a_person(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly, outcome: str, state: str
) -> None:
    command = begin(session, anomaly, plan, agent)
    commands.close(session, command, "indeterminate", LATER, "its deadline passed")
    anomaly.state = "needs_human"
    results.record_result(session, agent, finished(command, outcome), LATER)
    assert (attempt_of(session, command).outcome, anomaly.state) == (outcome, state)


@pytest.mark.parametrize(
    ("closed", "outcome", "state"),
    [
        ("rejected", "rejected", "open"),
        ("expired", "expired", "open"),
        ("cancelled", "cancelled", "open"),
        ("superseded", "superseded", "waiting"),
        ("indeterminate", "unknown", "waiting"),
    ],
)
def test_a_command_closed_without_a_result_spends_no_retry(
    session: WorkSession,
    agent: Agent,
    plan: Plan,
    anomaly: Anomaly,
    closed: str,
    outcome: str,
    state: str,
) -> None:
    command = begin(session, anomaly, plan, agent)
    if closed == "expired":
        command.agent_id = command.sent_at = command.accepted_at = None
    commands.close(session, command, closed, LATER, "why")
    assert (attempt_of(session, command).outcome, anomaly.state) == (outcome, state)
    assert (anomaly.failed_attempts, anomaly.attempts) == (0, 1)


def test_a_money_step_told_while_running_is_kept_at_once(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    for state in ("intended", "done"):
        message = StepRecorded(
            id=state,
            command_id=command.id,
            trade_no=anomaly.trade_no,
            fence=command.fence,
            step=step(1, state=state, moves_money=True),
        )
        attempt_record.record_step(session, agent, message, LATER)
    session.flush()
    steps = list(session.scalars(select(Step)))
    assert [(one.seq, one.state) for one in steps] == [(1, "done")]
    assert (anomaly.has_moved_money, anomaly.money_moved_at) == (True, LATER)


def order_facts(session: WorkSession, anomaly: Anomaly, agent: Agent) -> Command:
    command = order_verify(session, anomaly, LATER)
    hand_to(session, command, agent)
    return command


@pytest.mark.parametrize(
    ("before", "answer", "state"),
    [
        ("open", "consistent", "healed"),
        ("open", "repair", "open"),
        ("open", "wait", "waiting"),
        ("open", "human", "needs_human"),
        ("open", "missing", "needs_human"),
        ("open", "error", "open"),
        ("waiting", "wait", "waiting"),
        ("exhausted", "repair", "exhausted"),
        ("exhausted", "consistent", "healed"),
        ("needs_human", "consistent", "healed"),
        ("needs_human", "repair", "needs_human"),
    ],
)
def test_fresh_facts_move_the_anomaly(
    session: WorkSession, group: SystemGroup, agent: Agent, before: str, answer: str, state: str
) -> None:
    anomaly = make_anomaly(session, group, state=before)
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, answer), LATER)
    session.flush()
    session.expire_all()
    assert (anomaly.state, command.state) == (state, "finished")


def test_what_a_decision_gave_to_a_person_a_decision_takes_back(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    anomaly = make_anomaly(session, group, state="needs_human", outcome="human")
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, "repair"), LATER)
    assert anomaly.state == "open"


@pytest.mark.parametrize(("mode", "state"), [("auto", "repairing"), ("manual", "open")])
def test_what_waited_goes_on_at_once_by_an_auto_plan(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, mode: str, state: str
) -> None:
    plan.mode = mode
    anomaly = make_anomaly(session, group, state="waiting", waiting_since=NOW)
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, "repair"), LATER)
    assert anomaly.state == state


def test_what_waited_without_attempts_left_is_exhausted(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    anomaly = make_anomaly(session, group, state="waiting", failed_attempts=plan.max_retries + 1)
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, "repair"), LATER)
    assert (anomaly.state, events_of(session, anomaly)[-1][2]) == ("exhausted", "no_attempts_left")


@pytest.mark.parametrize("mode", ["auto", "manual"])
def test_a_repair_half_done_is_resumed_whatever_the_count_and_the_mode(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, mode: str
) -> None:
    plan.mode = mode
    anomaly = make_anomaly(session, group, state="waiting", failed_attempts=plan.max_retries + 1)
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, "resume"), LATER)
    assert (anomaly.state, anomaly.has_moved_money, anomaly.money_moved_at) == ("repairing", True, LATER)


def test_a_repair_resumed_to_the_end_is_repaired_not_healed(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    anomaly = make_anomaly(session, group, state="waiting", has_moved_money=True, money_moved_at=NOW)
    command = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(command, "consistent"), LATER)
    assert (anomaly.state, anomaly.resolution) == ("repaired", "success")


def test_a_repair_that_a_verify_finds_whole_ends_with_the_row_it_left(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), NOW)
    command = order_facts(session, anomaly, agent)
    after = row_of(anomaly.trade_no, 1) | {"ACC_TRD_STATUS": 1}
    verifications.record_facts(session, agent, facts_read(command, "consistent", row=after), LATER)
    execution = session.scalars(select(Execution)).unique().one()
    assert (anomaly.state, execution.after, execution.finished_at) == ("repaired", after, LATER)


def test_a_repair_whose_anomaly_is_ignored_ends_with_it(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "needs_human"), NOW)
    ignore(session, anomaly.id, reason="a test trade", actor=PERSON, group_ids=None, now=LATER)
    execution = session.scalars(select(Execution)).unique().one()
    assert (anomaly.state, execution.after, execution.finished_at) == ("ignored", anomaly.row, LATER)


@pytest.mark.parametrize("answer", ["wait", "resume"])
def test_what_a_person_had_verified_waits_anew(
    session: WorkSession, group: SystemGroup, agent: Agent, answer: str
) -> None:
    anomaly = overdue(session, group)
    command = verify(session, anomaly.id, reason="asked the bank", actor=PERSON, group_ids=None, now=LATER)
    hand_to(session, command, agent)
    verifications.record_facts(session, agent, facts_read(command, answer), LATER)
    session.flush()
    limits.apply_limits(session, LATER)
    assert anomaly.state == ("waiting" if answer == "wait" else "open")


def test_what_a_person_had_tried_again_waits_anew(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    anomaly = overdue(session, group)
    attempt = retry_now(session, anomaly.id, Order("click", PERSON, "asked", LATER), group_ids=None)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, agent)
    results.record_result(session, agent, finished(command, "wait", money_moved=True), LATER)
    session.flush()
    limits.apply_limits(session, LATER)
    assert (anomaly.state, anomaly.waiting_since) == ("waiting", LATER)


def overdue(session: WorkSession, group: SystemGroup) -> Anomaly:
    """An anomaly that waited, with money on its way, until a person was asked."""
    long_ago = NOW - timedelta(days=11)
    anomaly = make_anomaly(
        session,
        group,
        state="waiting",
        waiting_since=long_ago,
        has_moved_money=True,
        money_moved_at=long_ago,
    )
    limits.apply_limits(session, NOW)
    assert anomaly.state == "needs_human"
    return anomaly


@pytest.mark.parametrize(
    ("status", "resolution"), [(Status.FAILED, "confirmed_failed"), (Status.SUCCESS, "success")]
)
def test_what_was_repaired_is_told_by_the_facts_not_by_productions_code(
    session: WorkSession, group: SystemGroup, agent: Agent, status: Status, resolution: str
) -> None:
    anomaly = make_anomaly(session, group, state="waiting", has_moved_money=True, money_moved_at=NOW)
    command = order_facts(session, anomaly, agent)
    code = 3 if status is Status.FAILED else 9
    facts = msgspec.structs.replace(facts_of(anomaly.trade_no), status=status)
    message = facts_read(command, "consistent", row=row_of(anomaly.trade_no, 1, code), facts=facts)
    verifications.record_facts(session, agent, message, LATER)
    assert anomaly.resolution == resolution


def test_a_repair_that_ended_without_effect_is_not_begun_anew_without_a_click(
    session: WorkSession, agent: Agent, plan: Plan, anomaly: Anomaly
) -> None:
    plan.mode = "manual"
    command = begin(session, anomaly, plan, agent)
    results.record_result(session, agent, finished(command, "unknown", money_moved=True), LATER)
    assert (anomaly.state, anomaly.has_moved_money) == ("waiting", True)
    verify = order_facts(session, anomaly, agent)
    verifications.record_facts(session, agent, facts_read(verify, "resume"), LATER)
    resumed = session.scalars(
        select(Command).where(Command.type == "Repair").order_by(Command.seq.desc())
    ).first()
    assert resumed is not None
    assert resumed.id != command.id
    hand_to(session, resumed, agent)
    results.record_result(session, agent, finished(resumed, "refused"), LATER)
    again = commands.find_live(session, anomaly.group_id, anomaly.trade_no)
    assert again is not None
    hand_to(session, again, agent)
    verifications.record_facts(session, agent, facts_read(again, "repair"), LATER)
    session.flush()
    assert (anomaly.state, anomaly.has_moved_money, anomaly.money_moved_at) == ("open", False, None)
    agent.last_seen_at = soon = LATER + timedelta(hours=1)
    assert ticking.resume_clicked(session, soon) == 0
    anomaly.has_moved_money = True
    assert ticking.resume_clicked(session, soon) == 1
