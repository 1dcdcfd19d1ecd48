"""Bulk repairs: one, verified; ten, verified; then the rest; a pause at whatever does not end well."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from app.agents import commands, stops
from app.agents.models import Agent, Command
from app.agents.stops import Target
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.audit.models import AuditEntry
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, InvalidError, NotFoundError
from app.executions import bulk, bulk_course, bulk_endings, bulk_queries, results, verifications
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.models import Attempt
from app.executions.selection import Chosen
from app.executions.starting import Order
from app.guards import breakers
from app.plans.models import LEVELS, Plan
from app.plans.service import update_plan, values_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup, User
from tests.factories import (
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    make_user,
)

pytestmark = pytest.mark.each_engine

CLICK = Order("click", PERSON, "日终处理", NOW)
OTHER = "rechargeTimeoutFixServiceImpl"


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    make_user(session)
    return make_group(session)


def begin(session: WorkSession, group: SystemGroup, count: int) -> BulkRepair:
    """A bulk repair of so many new anomalies; the order is that of their numbers."""
    for number in range(count):
        make_anomaly(session, group, trade_no=f"T{number:04d}")
    (begun,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id]), CLICK).bulks
    return begun


def live(session: WorkSession, kind: str) -> list[Command]:
    session.flush()
    found = select(Command).where(Command.type == kind, Command.state.in_(("pending", "running")))
    return list(session.scalars(found.order_by(Command.trade_no)))


def end_repairs(
    session: WorkSession, agent: Agent, outcome: str = "repaired", count: int = 1_000, **fields: object
) -> list[str]:
    """End so many of the repairs under way; return their trades."""
    ended = live(session, "Repair")[:count]
    for command in ended:
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, outcome, **fields), NOW)
    return [str(command.trade_no) for command in ended]


def answer_verifies(
    session: WorkSession, agent: Agent, outcome: str = "consistent", reason: str = "", now: datetime = NOW
) -> int:
    asked = live(session, "Verify")
    for command in asked:
        hand_to(session, command, agent)
        message = facts_read(command, outcome, reason=reason)
        verifications.record_facts(session, agent, message, now)
        bulk_endings.record_verified(session, agent, message, now)
    return len(asked)


def tend(session: WorkSession, one: BulkRepair, now: datetime = NOW) -> None:
    bulk_course.tend(session, one.id, now)
    session.flush()


def go_through_a_stage(session: WorkSession, agent: Agent, one: BulkRepair) -> None:
    """What is under way ends well and is verified."""
    end_repairs(session, agent)
    tend(session, one)
    answer_verifies(session, agent)
    tend(session, one)


def counts(one: BulkRepair) -> tuple[int, int, int, int, int]:
    return one.pending, one.under_way, one.done, one.failed, one.skipped


# ---- the stages


def test_one_then_ten_then_the_rest_each_after_the_one_before_was_verified(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 30)
    assert len(live(session, "Repair")) == 1
    assert end_repairs(session, agent) == ["T0000"]
    tend(session, one)
    assert (live(session, "Repair"), len(live(session, "Verify"))) == ([], 1)
    assert answer_verifies(session, agent) == 1
    tend(session, one)
    assert (one.stage, len(live(session, "Repair"))) == (2, 10)
    end_repairs(session, agent, count=9)
    tend(session, one)
    assert answer_verifies(session, agent) == 9
    tend(session, one)
    assert (one.stage, len(live(session, "Repair"))) == (2, 1)
    go_through_a_stage(session, agent, one)
    assert (one.stage, len(live(session, "Repair"))) == (3, 19)
    end_repairs(session, agent)
    tend(session, one)
    assert live(session, "Verify") == []
    assert (one.state, one.finished_at, counts(one)) == ("finished", NOW, (0, 0, 30, 0, 0))


def test_the_last_stage_keeps_no_more_than_a_window_under_way(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_course, "WINDOW", 4)
    one = begin(session, group, 20)
    for _stage in (1, 2):
        go_through_a_stage(session, agent, one)
    assert len(live(session, "Repair")) == 4
    end_repairs(session, agent, count=3)
    tend(session, one)
    assert (one.under_way, len(live(session, "Repair"))) == (4, 4)


def test_a_failure_in_the_last_stage_pauses_it_while_most_of_it_has_not_begun(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 100)
    for _stage in (1, 2):
        go_through_a_stage(session, agent, one)
    assert (one.stage, one.under_way, one.pending) == (3, 20, 69)
    end_repairs(session, agent, "failed", count=1)
    tend(session, one)
    end_repairs(session, agent)
    tend(session, one)
    assert (one.state, one.pause_code, counts(one)) == ("paused", "failed", (69, 0, 30, 1, 0))


def test_many_that_cannot_be_attempted_do_not_hold_up_the_others(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 100)
    for _stage in (1, 2):
        go_through_a_stage(session, agent, one)
    waiting = select(Anomaly).where(Anomaly.state == "open").order_by(Anomaly.id).limit(50)
    for anomaly in session.scalars(waiting).unique():
        anomaly.state = "healed"
    end_repairs(session, agent)
    tend(session, one)
    assert counts(one) == (0, 19, 31, 0, 50)


def test_a_few_trades_end_in_an_earlier_stage(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 4)
    go_through_a_stage(session, agent, one)
    assert len(live(session, "Repair")) == 3
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, counts(one)) == ("finished", 2, (0, 0, 4, 0, 0))


def test_a_trade_consistent_already_is_no_trial_and_another_takes_its_place(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 30)
    for trade in ("T0000", "T0001"):
        assert end_repairs(session, agent, "already_consistent") == [trade]
        tend(session, one)
    assert (one.state, one.stage, len(live(session, "Repair"))) == ("running", 1, 1)
    go_through_a_stage(session, agent, one)
    assert (one.stage, len(live(session, "Repair"))) == (2, 10)
    end_repairs(session, agent, "already_consistent", count=9)
    tend(session, one)
    assert (one.stage, len(live(session, "Repair"))) == (2, 10)
    go_through_a_stage(session, agent, one)
    assert (one.stage, len(live(session, "Repair")), counts(one)) == (3, 8, (0, 8, 11, 0, 11))


def test_one_of_trades_consistent_already_ends(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    for _trade in range(3):
        end_repairs(session, agent, "already_consistent")
        tend(session, one)
    assert (one.state, one.stage, counts(one)) == ("finished", 1, (0, 0, 0, 0, 3))


def test_the_first_ones_try_every_fixer_with_the_smallest_amounts() -> None:
    amounts = {"a": (30, 10, 20), "b": (7,), "c": (50, 40)}
    chosen = [
        Chosen(number, f"{fixer}{amount}", 1, fixer, amount)
        for number, (fixer, amount) in enumerate((f, a) for f, some in amounts.items() for a in some)
    ]
    order = [one.trade_no for one in bulk.in_order(chosen)]
    assert order == ["b7", "a10", "c40", "a20", "c50", "a30"]


def test_what_waits_for_the_bank_comes_last(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    waiting = make_anomaly(session, group, state="waiting", amount_minor=100)
    large, small = (make_anomaly(session, group, amount_minor=amount) for amount in (900, 500))
    (one,) = bulk.begin(session, AnomalyFilter(), CLICK).bulks
    items = session.scalars(select(BulkItem).where(BulkItem.bulk_id == one.id).order_by(BulkItem.id)).all()
    assert [item.anomaly_id for item in items] == [small.id, large.id, waiting.id]
    assert [item.state for item in items] == ["repairing", "pending", "pending"]


def test_each_group_has_its_own_bulk_repair(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    other = make_group(session, "PBMS")
    make_plan(session, other)
    make_anomaly(session, other)
    make_anomaly(session, group)
    begun = bulk.begin(session, AnomalyFilter(), CLICK)
    assert sorted(one.group_id for one in begun.bulks) == [group.id, other.id]


def test_a_single_trade_needs_no_canary(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    make_anomaly(session, group)
    make_anomaly(session, group, state="needs_human")
    begun = bulk.begin(session, AnomalyFilter(), CLICK)
    assert (begun.bulks, begun.sent, begun.skipped) == ((), 1, 1)
    assert begun.attempt is not None
    assert begun.attempt.trigger == "click"


def test_nothing_begins_without_a_reason(session: WorkSession, group: SystemGroup, plan: Plan) -> None:
    make_anomaly(session, group)
    with pytest.raises(InvalidError):
        bulk.begin(session, AnomalyFilter(), Order("click", PERSON, " ", NOW))
    assert live(session, "Repair") == []


# ---- pauses


@pytest.mark.parametrize("outcome", ["failed", "unknown", "wait", "refused", "needs_human", "cancelled"])
def test_any_other_outcome_pauses_with_its_reason_and_nothing_further_begins(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, outcome: str
) -> None:
    one = begin(session, group, 5)
    end_repairs(session, agent, outcome, reason="the ledger said no")
    before = len(live(session, "Repair"))
    for _second in range(3):
        tend(session, one)
    assert (one.state, one.pause_code, one.pause_detail) == ("paused", outcome, "the ledger said no")
    assert (one.pause_trade_no, counts(one)) == ("T0000", (4, 0, 0, 1, 0))
    assert len(live(session, "Repair")) == before
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "bulk.pause")).one()
    assert (entry.actor_name, entry.reason, entry.detail["code"]) == (
        "piculus",
        "the ledger said no",
        outcome,
    )


def test_a_command_nobody_took_pauses(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    (command,) = live(session, "Repair")
    results.command_closed(session, command, "expired")
    command.state = "expired"
    tend(session, one)
    assert (one.state, one.pause_code) == ("paused", "expired")


@pytest.mark.parametrize("outcome", ["repair", "human", "missing", "resume"])
def test_a_repair_that_is_not_consistent_when_verified_pauses(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, outcome: str
) -> None:
    one = begin(session, group, 3)
    end_repairs(session, agent)
    tend(session, one)
    answer_verifies(session, agent, outcome, "row behind ledger")
    tend(session, one)
    assert (one.state, one.pause_code, one.pause_detail) == ("paused", "not_consistent", "row behind ledger")
    assert live(session, "Repair") == []


def test_a_verification_that_says_nothing_yet_is_asked_again_and_given_up_after_half_an_hour(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    end_repairs(session, agent)
    tend(session, one)
    asked = []
    for minutes in range(0, 40, 5):
        now = NOW + timedelta(minutes=minutes)
        tend(session, one, now)
        asked.append(answer_verifies(session, agent, "wait", "in flight", now))
        tend(session, one, now + timedelta(seconds=29))
        assert live(session, "Verify") == []
    assert asked == [1, 1, 1, 1, 1, 1, 1, 0]
    assert (one.state, one.pause_code, one.pause_detail) == ("paused", "not_verified", "in flight")


def test_its_verifications_go_before_what_plans_began(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    end_repairs(session, agent)
    tend(session, one)
    assert [command.priority > max(LEVELS) for command in live(session, "Verify")] == [True]


def test_a_verification_that_was_lost_is_ordered_anew(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    end_repairs(session, agent)
    tend(session, one)
    (lost,) = live(session, "Verify")
    lost.state = "expired"
    tend(session, one, NOW + timedelta(minutes=6))
    (anew,) = live(session, "Verify")
    assert anew.id != lost.id
    answer_verifies(session, agent)
    tend(session, one)
    assert one.stage == 2


def test_a_verification_answered_by_a_clock_ahead_is_asked_again_once_the_clock_is_put_back(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    ahead = NOW + timedelta(days=1)
    one = begin(session, group, 12)
    end_repairs(session, agent)
    tend(session, one, ahead)
    answer_verifies(session, agent, "wait", "in flight", ahead)
    tend(session, one, ahead)
    assert live(session, "Verify") == []
    tend(session, one)
    assert answer_verifies(session, agent) == 1
    tend(session, one)
    assert (one.state, one.stage) == ("running", 2)


def test_a_trade_repaired_by_a_clock_ahead_is_given_up_half_an_hour_after_that_is_put_back(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 12)
    end_repairs(session, agent)
    tend(session, one, NOW + timedelta(days=1))
    for minutes in (0, 30):
        tend(session, one, NOW + timedelta(minutes=minutes))
        assert (one.state, one.under_way) == ("running", 1)
    tend(session, one, NOW + timedelta(minutes=31))
    assert (one.state, one.pause_code) == ("paused", "not_verified")


def test_clocks_of_servers_that_differ_by_seconds_leave_the_next_question_as_it_is(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 12)
    end_repairs(session, agent)
    tend(session, one, NOW + timedelta(seconds=50))
    answer_verifies(session, agent, "wait", "in flight", NOW + timedelta(seconds=50))
    tend(session, one)
    assert live(session, "Verify") == []


def test_a_resumed_stage_takes_another_trade_for_the_one_that_did_not_end_well(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 20)
    end_repairs(session, agent, "failed")
    tend(session, one)
    bulk.resume(session, one.id, reason="核查完毕", actor=PERSON, group_ids=None, now=NOW)
    assert [command.trade_no for command in live(session, "Repair")] == ["T0001"]
    go_through_a_stage(session, agent, one)
    assert (one.stage, one.under_way, one.failed) == (2, 10, 1)
    end_repairs(session, agent, "needs_human", count=1)
    tend(session, one)
    assert (one.state, one.under_way) == ("paused", 9)
    bulk.resume(session, one.id, reason="核查完毕", actor=PERSON, group_ids=None, now=NOW)
    assert one.under_way == 10
    go_through_a_stage(session, agent, one)
    assert (one.stage, one.state, one.pause_code) == (3, "running", "")


def test_what_fails_last_has_nothing_left_to_pause(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 2)
    go_through_a_stage(session, agent, one)
    end_repairs(session, agent, "failed")
    tend(session, one)
    assert (one.state, counts(one)) == ("finished", (0, 0, 1, 1, 0))


# ---- what cannot be attempted


def test_a_trade_that_closed_meanwhile_is_skipped_and_another_tried(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 13)
    for trade_no, state in (("T0001", "healed"), ("T0002", "needs_human")):
        session.scalars(select(Anomaly).where(Anomaly.trade_no == trade_no)).unique().one().state = state
    commands.issue(
        session,
        type="Repair",
        group_id=group.id,
        message={"trade_no": "T0003"},
        deadline=timedelta(minutes=5),
        now=NOW,
        trade_no="T0003",
    ).state = "accepted"
    end_repairs(session, agent)
    tend(session, one)
    (verify,) = [command for command in live(session, "Verify") if command.trade_no == "T0000"]
    hand_to(session, verify, agent)
    message = facts_read(verify, "consistent")
    verifications.record_facts(session, agent, message, NOW)
    bulk_endings.record_verified(session, agent, message, NOW)
    tend(session, one)
    skipped = select(BulkItem.trade_no, BulkItem.outcome).where(BulkItem.state == "skipped")
    assert sorted(tuple(row) for row in session.execute(skipped)) == [
        ("T0001", "closed"),
        ("T0002", "needs_human"),
        ("T0003", "trade_busy"),
    ]
    assert (one.state, one.under_way) == ("running", 9)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_trade_that_a_verify_keeps_busy_is_tried_again_and_skipped_at_last(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, is_answered: bool
) -> None:
    one = begin(session, group, 2)
    verify = commands.issue(
        session,
        type="Verify",
        group_id=group.id,
        message={"trade_no": "T0001"},
        deadline=timedelta(minutes=5),
        now=NOW,
        trade_no="T0001",
    )
    end_repairs(session, agent, "already_consistent")
    bulk_course.tend(session, one.id, NOW)
    assert (one.state, one.pending, one.skipped) == ("running", 1, 1)
    if is_answered:
        verify.state = "finished"
        bulk_course.tend(session, one.id, NOW + timedelta(seconds=5))
        assert one.pending == 1
        bulk_course.tend(session, one.id, NOW + timedelta(seconds=10))
        assert [command.trade_no for command in live(session, "Repair")] == ["T0001"]
    else:
        bulk_course.tend(session, one.id, NOW + timedelta(minutes=6))
        assert one.pending == 1
        bulk_course.tend(session, one.id, NOW + timedelta(minutes=7))
        assert (one.state, one.skipped) == ("finished", 2)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [("state", "disabled", "plan_disabled"), ("is_shadow", True, "plan_shadow")],
)
def test_what_holds_for_the_whole_plan_pauses_and_skips_nothing(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    column: str,
    value: object,
    code: str,
) -> None:
    one = begin(session, group, 5)
    setattr(plan, column, value)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.pause_code, counts(one)) == ("paused", code, (4, 0, 1, 0, 0))


def test_a_disabled_group_pauses(session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan) -> None:
    one = begin(session, group, 5)
    end_repairs(session, agent)
    tend(session, one)
    answer_verifies(session, agent)
    group.is_enabled = False
    tend(session, one)
    assert (one.state, one.pause_code, one.under_way) == ("paused", "group_disabled", 0)


@pytest.fixture
def other_plan(session: WorkSession, group: SystemGroup) -> Plan:
    return make_plan(session, group, fixer_code=OTHER)


def test_what_pauses_the_repairs_of_one_fixer_lets_those_of_another_begin_no_more(
    session: WorkSession, group: SystemGroup, plan: Plan, other_plan: Plan
) -> None:
    agent = make_agent(session, group, codes=(plan.fixer_code,))
    make_agent(session, group, codes=(OTHER,))
    for number in range(6):
        code = OTHER if number % 2 else plan.fixer_code
        make_anomaly(session, group, trade_no=f"T{number:04d}", fixer_code=code)
    (one,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id]), CLICK).bulks
    end_repairs(session, agent)
    tend(session, one)
    answer_verifies(session, agent)
    # Of the next ones the first is OTHER's.
    holder = session.scalars(select(Agent).where(Agent.id != agent.id)).one()
    stops.set_stop(
        session, Target(agent_id=holder.id), reason="看一看", actor=PERSON, group_ids=None, now=NOW
    )
    tend(session, one)
    assert (one.state, one.pause_code, one.under_way) == ("paused", "stopped_bulk", 0)


# ---- what is no longer what was chosen


def report_anew(session: WorkSession, trade_no: str, **columns: object) -> Anomaly:
    """What production says of a trade now."""
    anomaly = session.scalars(select(Anomaly).where(Anomaly.trade_no == trade_no)).unique().one()
    for column, value in columns.items():
        setattr(anomaly, column, value)
    session.flush()
    return anomaly


def test_a_trade_whose_outcome_became_unknown_is_begun_once_a_look_has_told_it(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    doubtful = session.scalars(select(Anomaly).where(Anomaly.trade_no == "T0001")).unique().one()
    doubtful.state, doubtful.unknown_since = "waiting", NOW
    go_through_a_stage(session, agent, one)
    assert [command.trade_no for command in live(session, "Repair")] == ["T0002"]
    doubtful.state, doubtful.unknown_since = "open", None
    tend(session, one, NOW + timedelta(seconds=10))
    assert [command.trade_no for command in live(session, "Repair")] == ["T0001", "T0002"]


def test_one_that_no_look_tells_of_is_skipped_and_the_rest_goes_on(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    doubtful = session.scalars(select(Anomaly).where(Anomaly.trade_no == "T0001")).unique().one()
    doubtful.state, doubtful.unknown_since = "waiting", NOW
    for _stage in (1, 2):
        go_through_a_stage(session, agent, one)
    assert (one.state, skipped(session)) == ("running", [])
    tend(session, one, NOW + timedelta(minutes=6, seconds=1))
    assert (one.state, skipped(session)) == ("finished", [("T0001", "trade_unknown")])


def test_a_trade_that_a_newer_bulk_repair_has_taken_is_left_to_that_one(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 4)
    taken = select(Anomaly.id).where(Anomaly.trade_no.in_(("T0001", "T0002")))
    ids = tuple(session.scalars(taken))
    (newer,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id], ids=ids), CLICK).bulks
    assert end_repairs(session, agent, count=1) == ["T0000"]
    assert end_repairs(session, agent, "failed") == ["T0001"]
    plan.max_retries = 9
    session.execute(update(Anomaly).where(Anomaly.trade_no == "T0001").values(state="open"))
    session.expire_all()
    tend(session, newer)
    tend(session, one)
    answer_verifies(session, agent)
    tend(session, one)
    assert [command.trade_no for command in live(session, "Repair")] == ["T0003"]
    assert skipped(session) == [("T0001", "in_newer_bulk"), ("T0002", "in_newer_bulk")]
    assert (newer.state, counts(newer)) == ("paused", (1, 0, 0, 1, 0))


def test_what_a_newer_bulk_repair_left_when_it_was_stopped_is_repaired(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    ids = tuple(session.scalars(select(Anomaly.id).where(Anomaly.trade_no != "T0000")))
    (newer,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id], ids=ids), CLICK).bulks
    bulk.stop(session, newer.id, reason="看错了", actor=PERSON, group_ids=None, now=NOW)
    go_through_a_stage(session, agent, one)
    assert [command.trade_no for command in live(session, "Repair")] == ["T0002"]
    assert skipped(session) == [("T0001", "closed")]


def skipped(session: WorkSession) -> list[tuple[str, str]]:
    found = select(BulkItem.trade_no, BulkItem.outcome).where(BulkItem.state == "skipped")
    return [(trade_no, outcome) for trade_no, outcome in session.execute(found.order_by(BulkItem.id))]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"amount_minor": 10_001}, "amount_changed"),
        ({"currency": "USD"}, "amount_changed"),
        ({"amount_minor": None}, "amount_unreadable"),
        ({"amount_minor": -1}, "amount_unreadable"),
        ({"currency": ""}, "amount_unreadable"),
        ({"fixer_code": OTHER}, "fixer_changed"),
        ({"fixer_code": OTHER, "amount_minor": 1_000_000_000}, "fixer_changed"),
    ],
)
def test_a_trade_reported_anew_as_another_than_was_chosen_is_left_where_it_is(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    other_plan: Plan,
    columns: dict[str, object],
    code: str,
) -> None:
    one = begin(session, group, 12)
    bulk.pause(session, one.id, reason="x", actor=PERSON, group_ids=None, now=NOW)
    anomaly = report_anew(session, "T0001", row_hash="hash-2", **columns)
    later = NOW + timedelta(days=3)
    bulk.resume(session, one.id, reason="x", actor=PERSON, group_ids=None, now=later)
    go_through_a_stage(session, agent, one)
    assert [command.trade_no for command in live(session, "Repair")] == [f"T{n:04d}" for n in range(2, 12)]
    assert (skipped(session), one.state) == ([("T0001", code)], "running")
    assert (anomaly.state, anomaly.attempts) == ("open", 0)


@pytest.mark.parametrize(("column", "value"), [("state", "disabled"), ("is_shadow", True)])
def test_the_plan_of_another_fixer_than_was_chosen_pauses_nothing(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    other_plan: Plan,
    column: str,
    value: object,
) -> None:
    one = begin(session, group, 3)
    setattr(other_plan, column, value)
    report_anew(session, "T0001", fixer_code=OTHER)
    go_through_a_stage(session, agent, one)
    assert (one.state, skipped(session)) == ("running", [("T0001", "fixer_changed")])


def test_a_smaller_amount_than_was_chosen_is_repaired(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 2)
    report_anew(session, "T0001", amount_minor=9_999)
    go_through_a_stage(session, agent, one)
    (command,) = live(session, "Repair")
    assert (command.trade_no, command.message["max_amount_minor"]) == ("T0001", 9_999)


def test_an_amount_that_nobody_could_read_when_it_was_chosen_is_repaired_only_as_long_as_nobody_can(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    for number in range(3):
        make_anomaly(session, group, trade_no=f"T{number:04d}", amount_minor=None)
    (one,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id]), CLICK).bulks
    report_anew(session, "T0001", amount_minor=1)
    go_through_a_stage(session, agent, one)
    assert [command.trade_no for command in live(session, "Repair")] == ["T0002"]
    assert skipped(session) == [("T0001", "amount_changed")]


def test_a_trade_of_which_nothing_was_kept_when_it_was_chosen_is_skipped(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    for item in session.scalars(select(BulkItem).where(BulkItem.trade_no == "T0001")):
        item.fixer_code, item.amount_minor, item.currency = "", None, ""
    go_through_a_stage(session, agent, one)
    assert (one.state, skipped(session)) == ("running", [("T0001", "choice_unknown")])


# ---- a person


def test_a_paused_one_begins_nothing_and_takes_up_what_ends(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 5)
    bulk.pause(session, one.id, reason="先看一看", actor=PERSON, group_ids=None, now=NOW)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.pause_code, one.pause_detail) == ("paused", "by_person", "先看一看")
    assert (live(session, "Repair"), counts(one)) == ([], (4, 0, 1, 0, 0))
    bulk.resume(session, one.id, reason="继续", actor=PERSON, group_ids=None, now=NOW)
    assert len(live(session, "Repair")) == 4


def test_where_all_have_begun_nothing_is_left_to_pause_or_stop(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 4)
    go_through_a_stage(session, agent, one)
    assert counts(one) == (0, 3, 1, 0, 0)
    for act in (bulk.pause, bulk.stop):
        with pytest.raises(ConflictError) as refused:
            act(session, one.id, reason="x", actor=PERSON, group_ids=None, now=NOW)
        assert refused.value.code == "bulk_all_begun"
    go_through_a_stage(session, agent, one)
    assert one.state == "finished"


def test_a_stopped_one_never_begins_anything_again(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 5)
    bulk.stop(session, one.id, reason="范围选错了", actor=PERSON, group_ids=None, now=NOW)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.finished_at, counts(one)) == ("stopped", NOW, (4, 0, 1, 0, 0))
    assert live(session, "Repair") == []
    for act in (bulk.pause, bulk.resume, bulk.stop):
        with pytest.raises(ConflictError) as refused:
            act(session, one.id, reason="x", actor=PERSON, group_ids=None, now=NOW)
        assert refused.value.code == "bulk_state"


def test_what_a_person_does_wants_a_reason_and_the_group_and_is_audited(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 5)
    with pytest.raises(InvalidError):
        bulk.pause(session, one.id, reason="", actor=PERSON, group_ids=None, now=NOW)
    with pytest.raises(NotFoundError):
        bulk.pause(session, one.id, reason="x", actor=PERSON, group_ids=[group.id + 1], now=NOW)
    assert one.state == "running"
    bulk.pause(session, one.id, reason="a", actor=PERSON, group_ids=[group.id], now=NOW)
    bulk.resume(session, one.id, reason="b", actor=PERSON, group_ids=[group.id], now=NOW)
    bulk.stop(session, one.id, reason="c", actor=PERSON, group_ids=[group.id], now=NOW)
    entries = session.scalars(
        select(AuditEntry).where(AuditEntry.object_type == "bulk").order_by(AuditEntry.id)
    ).all()
    assert [(entry.action, entry.reason) for entry in entries] == [
        ("bulk.start", "日终处理"),
        ("bulk.pause", "a"),
        ("bulk.resume", "b"),
        ("bulk.stop", "c"),
    ]
    assert {entry.sys_code for entry in entries} == {"PBAP"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [("disabled", "disabled"), ("viewer", "role"), ("of no group", "group"), ("gone", "gone")],
)
def test_whose_person_may_repair_no_longer_it_pauses_and_another_goes_on_in_their_own_name(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, change: str, cause: str
) -> None:
    one = begin(session, group, 5)
    person = session.get_one(User, PERSON.id)
    if change == "disabled":
        person.is_enabled = False
    elif change == "viewer":
        person.role = "viewer"
    elif change == "of no group":
        person.sees_all_groups = False
    else:
        session.delete(person)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.pause_code, counts(one)) == ("paused", "person_may_not", (4, 0, 1, 0, 0))
    paused = session.scalars(select(AuditEntry).where(AuditEntry.action == "bulk.pause")).one()
    assert (paused.detail["in_name_of"], paused.detail["cause"]) == ("li.na", cause)
    bulk.resume(session, one.id, reason="on with it", actor=PERSON, group_ids=None, now=NOW)
    assert (one.state, one.pause_code, live(session, "Repair")) == ("paused", "person_may_not", [])
    wang = Actor(8, "wang.qiang")
    make_user(session, wang)
    bulk.resume(session, one.id, reason="I go on", actor=wang, group_ids=None, now=NOW)
    assert (one.state, one.actor_id, one.actor_name, len(live(session, "Repair"))) == (
        "running",
        8,
        "wang.qiang",
        4,
    )
    attempts = session.scalars(select(Attempt.actor_name).order_by(Attempt.id)).all()
    assert attempts == ["li.na", *["wang.qiang"] * 4]
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert (entry.action, entry.actor_name, entry.detail["in_name_of"]) == (
        "bulk.resume",
        "wang.qiang",
        "li.na",
    )


def test_one_begun_from_the_command_line_goes_on(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    for number in range(3):
        make_anomaly(session, group, trade_no=f"T{number:04d}")
    order = Order("command_line", SYSTEM, "日终处理", NOW)
    (one,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id]), order).bulks
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage) == ("running", 2)


def test_its_trades_are_counted_as_they_are_shown(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 5)
    go_through_a_stage(session, agent, one)
    for outcome in ("wait", "unknown", "failed"):
        end_repairs(session, agent, outcome, count=1)
    assert bulk_course.ended_ids(session) == [one.id]
    tend(session, one)
    shown = {1: {"done": 1}, 2: {"waiting": 2, "failed": 1, "repairing": 1}}
    assert bulk_queries.stage_counts(session, one.id) == shown
    assert bulk_queries.waiting_counts(session, [one]) == {one.id: 2}
    waiting = bulk_queries.list_items(session, one.id, "waiting", None, None).rows
    assert [(item.trade_no, item.shown_state) for item in waiting] == [
        ("T0001", "waiting"),
        ("T0002", "waiting"),
    ]


def test_only_what_runs_or_is_under_way_is_tended(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 5)
    bulk.stop(session, one.id, reason="x", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    assert bulk_course.live_ids(session) == [one.id]
    go_through_a_stage(session, agent, one)
    assert bulk_course.live_ids(session) == []


def test_the_answer_of_another_agent_or_of_a_closed_verify_counts_for_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    end_repairs(session, agent)
    tend(session, one)
    (verify,) = live(session, "Verify")
    hand_to(session, verify, agent)
    stranger = make_agent(session, group)
    message = facts_read(verify, "consistent")
    verifications.record_facts(session, stranger, message, NOW)
    bulk_endings.record_verified(session, stranger, message, NOW)
    tend(session, one)
    assert (one.stage, one.under_way) == (1, 1)


# ---- limits and breakers that come once it has begun


def trip_breaker(session: WorkSession, plan: Plan) -> None:
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)


def limit(session: WorkSession, plan: Plan, **limits: int | None) -> None:
    """A person changes limits of the plan."""
    values = replace(values_of(plan), **limits)
    update_plan(session, plan.id, values, actor=PERSON, now=NOW, reason="look first")


def lower_limit(session: WorkSession, plan: Plan) -> None:
    limit(session, plan, limit_trade_minor=5_000)


@pytest.mark.parametrize("narrow", [trip_breaker, lower_limit])
def test_it_pauses_before_it_goes_beyond_what_came_since_a_person_gave_their_word(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    narrow: Callable[[WorkSession, Plan], None],
) -> None:
    one = begin(session, group, 14)
    narrow(session, plan)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.pause_code, counts(one)) == ("paused", "guards_came_since", (13, 0, 1, 0, 0))
    assert live(session, "Repair") == []
    bulk.resume(session, one.id, reason="seen", actor=PERSON, group_ids=None, now=NOW)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 3, 3)


@pytest.mark.parametrize("narrow", [trip_breaker, lower_limit])
def test_it_goes_on_beyond_what_stood_when_a_person_gave_their_word(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    plan: Plan,
    narrow: Callable[[WorkSession, Plan], None],
) -> None:
    narrow(session, plan)
    one = begin(session, group, 3)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 2, 2)


def test_a_limit_that_its_trades_keep_to_pauses_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    one = begin(session, group, 3)
    limit(session, plan, limit_trade_minor=50_000)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 2, 2)


Limits = dict[str, int | None]


@pytest.mark.parametrize(
    ("before", "since"),
    [
        ({"limit_trade_minor": 5_000}, [{"limit_hour_count": 3}]),
        ({"limit_trade_minor": 5_000}, [{"limit_trade_minor": 9_000}, {"limit_trade_minor": 7_000}]),
        ({"limit_hour_minor": 9_000}, [{"limit_trade_minor": 50_000}, {"limit_day_minor": 50_000}]),
    ],
)
def test_what_is_lowered_beside_the_limit_that_its_trades_pass_pauses_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, before: Limits, since: list[Limits]
) -> None:
    limit(session, plan, **before)
    one = begin(session, group, 3)
    for limits in since:
        limit(session, plan, **limits)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 2, 2)


def begin_unreadable(session: WorkSession, group: SystemGroup) -> BulkRepair:
    """A bulk repair of three trades of which only the amount of the first can be read."""
    for number, amount in enumerate((10_000, None, None)):
        make_anomaly(session, group, trade_no=f"T{number:04d}", amount_minor=amount)
    (begun,) = bulk.begin(session, AnomalyFilter(group_ids=[group.id]), CLICK).bulks
    return begun


@pytest.mark.parametrize("since", ["limit_day_minor", "breaker_hour_minor"])
def test_an_amount_that_nobody_can_read_goes_beyond_the_first_bound_of_amounts(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, since: str
) -> None:
    one = begin_unreadable(session, group)
    limit(session, plan, **{since: 50_000})
    go_through_a_stage(session, agent, one)
    assert (one.state, one.pause_code) == ("paused", "guards_came_since")


@pytest.mark.parametrize("of_group", [True, False])
def test_an_amount_that_nobody_can_read_goes_beyond_no_further_bound(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan, of_group: bool
) -> None:
    if of_group:
        group.breaker_hour_minor = 50_000
    else:
        limit(session, plan, limit_trade_minor=50_000)
    one = begin_unreadable(session, group)
    limit(session, plan, limit_trade_minor=40_000, limit_day_minor=50_000, limit_day_count=9)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 2, 2)


def test_an_amount_that_nobody_can_read_beyond_the_bound_of_its_group_pauses_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan
) -> None:
    group.breaker_hour_minor = 50_000
    one = begin_unreadable(session, group)
    go_through_a_stage(session, agent, one)
    assert (one.state, one.stage, one.under_way) == ("running", 2, 2)
