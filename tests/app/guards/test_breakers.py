"""Breakers: what trips them, what they stop and do not stop, and that only a person resets them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies import collecting, collections
from app.anomalies.models import Anomaly, CollectionTask
from app.audit.models import AuditEntry
from app.audit.service import SYSTEM
from app.errors import ConflictError, InvalidError, NotFoundError
from app.executions import results
from app.executions.service import attempt_one
from app.executions.starting import Order, start_attempt
from app.guards import breakers, tripping
from app.guards.counting import note_begun
from app.guards.models import BegunRepair, Breaker
from app.plans.models import Plan
from app.plans.service import delete_plan, update_plan, values_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.guards.test_verdicts import CLICK, attempted, tick
from tests.factories import (
    NOW,
    PERSON,
    chunk,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    reported,
)

pytestmark = pytest.mark.each_engine

OTHER_FIXER = "withdrawTimeoutFixServiceImpl"


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


def attempt(
    session: WorkSession, plan: Plan, agent: Agent, outcome: str, now: datetime, trigger: str = "tick"
) -> Command:
    """Begin one repair of a new anomaly and have it end so; return its command."""
    order = Order(trigger, SYSTEM if trigger == "tick" else PERSON, "", now)
    anomaly = make_anomaly(session, plan.group, fixer_code=plan.fixer_code)
    command = commands.find(session, start_attempt(session, anomaly, plan, order).command_id)
    assert command is not None
    hand_to(session, command, agent)
    tell(session, agent, command, outcome, now)
    return command


def tell(session: WorkSession, agent: Agent, command: Command, outcome: str, now: datetime) -> None:
    """The agent tells a result, as create_app has it heard."""
    message = finished(command, outcome)
    results.record_result(session, agent, message, now)
    tripping.result_came(session, agent, message, now)
    session.flush()


def attempts(
    session: WorkSession, plan: Plan, agent: Agent, outcomes: Sequence[str], begin: datetime = NOW
) -> None:
    for place, outcome in enumerate(outcomes):
        attempt(session, plan, agent, outcome, begin + timedelta(seconds=place))


def tripped(session: WorkSession) -> list[tuple[str, str]]:
    return [(one.scope, one.code) for one in breakers.list_tripped(session, None)]


@pytest.mark.parametrize("outcome", ["failed", "needs_human", "unknown"])
def test_too_many_that_fail_trip_the_plan(
    session: WorkSession, group: SystemGroup, agent: Agent, outcome: str
) -> None:
    plan = make_plan(session, group, breaker_failures=3)
    attempts(session, plan, agent, [outcome, "repaired", outcome])
    assert tripped(session) == []
    attempt(session, plan, agent, outcome, NOW + timedelta(seconds=3))
    (breaker,) = breakers.list_tripped(session, None)
    assert (breaker.scope, breaker.subject_id, breaker.subject_name) == ("plan", plan.id, plan.fixer_code)
    begun = session.scalars(select(Command.trade_no).order_by(Command.seq.desc())).all()
    assert breaker.figures == {
        "failed": 3,
        "attempts": 4,
        "threshold": 3,
        "outcomes": {outcome: 3},
        "trade_nos": [begun[0], begun[1], begun[3]],
    }


def test_a_trade_that_fails_again_and_again_is_named_once_and_five_at_most(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=8)
    attempts(session, plan, agent, ["failed"] * 7)
    poison = session.scalars(select(Command.trade_no).order_by(Command.seq)).first()
    anomaly = session.scalars(select(Anomaly).where(Anomaly.trade_no == poison)).one()
    order = Order("tick", SYSTEM, "", NOW)
    command = commands.find(session, start_attempt(session, anomaly, plan, order).command_id)
    assert command is not None
    hand_to(session, command, agent)
    tell(session, agent, command, "failed", NOW + timedelta(minutes=1))
    (breaker,) = breakers.list_tripped(session, None)
    named = breaker.figures["trade_nos"]
    assert (named[0], len(named), len(set(named))) == (poison, 5, 5)


def test_the_default_is_ten_of_the_last_twenty(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    # One in three: never ten among twenty, however many there are.
    attempts(session, plan, agent, ["failed", "repaired", "repaired"] * 12)
    assert tripped(session) == []
    attempts(session, plan, agent, ["failed", "repaired"] * 10, NOW + timedelta(minutes=2))
    assert tripped(session) == [("plan", "failures")]


def test_failures_of_more_than_an_hour_ago_do_not_count(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=2)
    attempt(session, plan, agent, "failed", NOW)
    attempt(session, plan, agent, "failed", NOW + timedelta(minutes=60))
    assert tripped(session) == []


@pytest.mark.parametrize("outcome", ["wait", "refused", "already_consistent", "cancelled"])
def test_what_is_no_failure_trips_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, outcome: str
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    attempt(session, plan, agent, outcome, NOW)
    assert tripped(session) == []


def test_a_threshold_of_0_never_trips(session: WorkSession, group: SystemGroup, agent: Agent) -> None:
    group.breaker_failures = 0
    plan = make_plan(session, group, breaker_failures=0)
    attempts(session, plan, agent, ["failed"] * 40)
    assert tripped(session) == []


def test_what_a_person_clicked_is_not_held_against_the_plan(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    attempt(session, plan, agent, "failed", NOW, trigger="click")
    assert tripped(session) == []


def test_a_result_nobody_knows_counts_until_it_comes(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=2)
    anomaly = make_anomaly(session, group)
    command = commands.find(
        session, start_attempt(session, anomaly, plan, Order("tick", SYSTEM, "", NOW)).command_id
    )
    assert command is not None
    hand_to(session, command, agent)
    commands.close(session, command, "indeterminate", NOW, "its deadline passed")
    tell(session, agent, command, "repaired", NOW)
    attempt(session, plan, agent, "failed", NOW)
    assert tripped(session) == []
    kept = session.scalars(select(BegunRepair.outcome).order_by(BegunRepair.id)).all()
    assert kept == ["repaired", "failed"]


def test_a_result_of_an_older_fence_counts_for_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    anomaly = make_anomaly(session, group)
    command = commands.find(
        session, start_attempt(session, anomaly, plan, Order("tick", SYSTEM, "", NOW)).command_id
    )
    assert command is not None
    hand_to(session, command, agent)
    late = finished(command, "failed")
    command.fence += 1
    results.record_result(session, agent, late, NOW)
    tripping.result_came(session, agent, late, NOW)
    assert tripped(session) == []


def test_failures_of_several_plans_trip_their_group(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    group.breaker_failures = 4
    plans = [make_plan(session, group), make_plan(session, group, fixer_code=OTHER_FIXER)]
    for plan in plans:
        attempts(session, plan, agent, ["failed", "failed"])
    assert tripped(session) == [("group", "failures")]
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plans[0])
    assert "T-1" not in attempted(session)


def test_a_tripped_breaker_stops_what_is_new_and_holds_nothing_up_that_moved_money(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan, other = make_plan(session, group), make_plan(session, group, fixer_code=OTHER_FIXER)
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)
    new = make_anomaly(session, group, trade_no="T-new")
    make_anomaly(session, group, trade_no="T-paid", has_moved_money=True)
    make_anomaly(session, group, trade_no="T-other", fixer_code=OTHER_FIXER)
    tick(session, plan)
    tick(session, other)
    assert attempted(session) == ["T-paid", "T-other"]
    assert (new.state, new.hold_code) == ("open", None)


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_plan_whose_breaker_stands_stays_where_it_is(
    session: WorkSession, group: SystemGroup, how: str
) -> None:
    plan = make_plan(session, group)
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)

    def leave() -> None:
        if how == "deleted":
            delete_plan(session, plan.id, actor=PERSON, now=NOW, reason="anew")
        else:
            values = replace(values_of(plan), fixer_code=OTHER_FIXER)
            update_plan(session, plan.id, values, actor=PERSON, now=NOW, reason="anew")

    with pytest.raises(ConflictError, match="plan_tripped"):
        leave()
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    leave()


def test_a_breaker_goes_by_group_and_fixer_whichever_plan_it_is(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=2)
    attempts(session, plan, agent, ["failed"])
    session.query(Anomaly).update({"state": "healed"})
    delete_plan(session, plan.id, actor=PERSON, now=NOW, reason="anew")
    again = make_plan(session, group, breaker_failures=2)
    attempts(session, again, agent, ["failed"])
    (breaker,) = breakers.list_tripped(session, None)
    assert breaker.figures["failed"] == 2
    session.delete(again)
    session.flush()
    assert breakers.list_tripped(session, None) == []
    assert breakers.stops(session, make_plan(session, group)) == [breaker]


def test_a_click_goes_beyond_a_breaker_and_is_recorded_so(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)
    anomaly = make_anomaly(session, group, trade_no="T-clicked")
    attempt_one(session, anomaly.id, CLICK, group_ids=None)
    session.flush()
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    (breaker,) = breakers.list_tripped(session, None)
    assert entry.detail["breakers"] == [breaker.id]


def test_it_trips_once_and_says_so_in_the_audit_trail(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    attempts(session, plan, agent, ["failed"] * 3)
    subject = breakers.subject_of_plan(plan)
    assert not breakers.trip(session, subject, "amount", {}, NOW)
    entry = session.scalars(select(AuditEntry).where(AuditEntry.object_type == "breaker")).one()
    assert (entry.action, entry.actor_name, entry.sys_code) == ("breaker.trip", "piculus", "PBAP")
    assert entry.detail["figures"]["failed"] == 1


def test_a_person_resets_it_for_a_reason_and_counting_begins_anew(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=2)
    attempts(session, plan, agent, ["failed"] * 2)
    (breaker,) = breakers.list_tripped(session, None)
    later = NOW + timedelta(minutes=5)
    with pytest.raises(InvalidError, match="reason_required"):
        breakers.reset(session, breaker.id, reason=" ", actor=PERSON, group_ids=None, now=later)
    breakers.reset(session, breaker.id, reason="银行已恢复", actor=PERSON, group_ids=None, now=later)
    assert (breaker.reset_at, breaker.reset_by, breaker.reset_reason) == (later, PERSON.name, "银行已恢复")
    attempt(session, plan, agent, "failed", later + timedelta(seconds=1))
    assert tripped(session) == []
    attempt(session, plan, agent, "failed", later + timedelta(seconds=2))
    assert tripped(session) == [("plan", "failures")]
    with pytest.raises(ConflictError, match="breaker_is_reset"):
        breakers.reset(session, breaker.id, reason="再次", actor=PERSON, group_ids=None, now=later)
    actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["breaker.trip", "breaker.reset", "breaker.trip"]


def test_who_may_not_see_the_group_resets_nothing(session: WorkSession, group: SystemGroup) -> None:
    breakers.trip(session, breakers.subject_of_group(group), "failures", {}, NOW)
    (breaker,) = breakers.list_tripped(session, None)
    assert breakers.list_tripped(session, []) == []
    with pytest.raises(NotFoundError, match="breaker"):
        breakers.reset(session, breaker.id, reason="恢复", actor=PERSON, group_ids=[99], now=NOW)


def test_the_breaker_of_a_plan_that_is_gone_is_not_shown(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group)
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)
    session.delete(plan)
    session.flush()
    assert tripped(session) == []


def test_whoever_listens_hears_of_a_trip_and_of_a_reset(
    app: Flask, session: WorkSession, group: SystemGroup
) -> None:
    heard: list[datetime | None] = []
    app.extensions["breaker_changed"] = (lambda _session, breaker, _now: heard.append(breaker.reset_at),)
    breakers.trip(session, breakers.subject_of_group(group), "failures", {}, NOW)
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="恢复", actor=PERSON, group_ids=None, now=NOW)
    assert heard == [None, NOW]


# ---- an hour's amount


def test_the_repair_that_would_pass_an_hours_amount_trips_and_is_not_begun(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    for number in range(1, 5):
        make_anomaly(session, group, trade_no=f"T-{number}")
    make_anomaly(session, group, trade_no="T-paid", has_moved_money=True)
    tick(session, plan)
    assert attempted(session) == ["T-1", "T-2", "T-paid"]
    (breaker,) = breakers.list_tripped(session, None)
    assert (breaker.code, breaker.figures) == (
        "amount",
        {"threshold": 25_000, "used": 20_000, "amount": 10_000, "currency": "CNY"},
    )


def test_an_hours_amount_of_a_group_is_over_its_plans_and_of_one_currency(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    group.breaker_hour_minor = 15_000
    plan, other = make_plan(session, group), make_plan(session, group, fixer_code=OTHER_FIXER)
    make_anomaly(session, group, trade_no="T-1")
    make_anomaly(session, group, trade_no="T-dollars", currency="USD")
    tick(session, plan)
    assert tripped(session) == []
    make_anomaly(session, group, trade_no="T-2", fixer_code=OTHER_FIXER)
    tick(session, other)
    assert attempted(session) == ["T-1", "T-dollars"]
    assert tripped(session) == [("group", "amount")]


def test_an_unreadable_amount_never_goes_where_a_breaker_bounds_the_amount(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=10**9)
    anomaly = make_anomaly(session, group, amount_minor=None)
    tick(session, plan)
    assert (attempted(session), anomaly.hold_code) == ([], "amount_unknown")


def test_after_a_reset_the_amount_counts_anew(session: WorkSession, group: SystemGroup, agent: Agent) -> None:
    plan = make_plan(session, group, breaker_hour_minor=10_000)
    for number in (1, 2):
        make_anomaly(session, group, trade_no=f"T-{number}")
    tick(session, plan)
    (breaker,) = breakers.list_tripped(session, None)
    later = NOW + timedelta(minutes=1)
    breakers.reset(session, breaker.id, reason="已核对", actor=PERSON, group_ids=None, now=later)
    tick(session, plan, later)
    assert attempted(session) == ["T-1", "T-2"]


# ---- trades that come back


def report(session: WorkSession, agent: Agent, now: datetime, *trade_nos: str) -> None:
    """A collection reports these trades broken, as create_app has it heard."""
    group = session.get_one(SystemGroup, agent.group_id)
    agent.last_seen_at = now
    run = collections.start_run(
        session,
        group=group,
        codes=(OTHER_FIXER,),
        window=(now - timedelta(hours=1), now),
        trigger="cron",
        actor=SYSTEM,
        reason="",
        now=now,
    )
    session.flush()
    task = session.scalars(select(CollectionTask).where(CollectionTask.run_id == run.id)).unique().first()
    assert task is not None
    message = chunk(task, 0, *(reported(trade_no) for trade_no in trade_nos))
    collecting.record_anomalies(session, agent, message, now)
    tripping.report_came(session, agent, message, now)
    run.state = "finished"
    session.flush()


def closed(session: WorkSession, group: SystemGroup, trade_no: str, state: str = "repaired") -> Anomaly:
    return make_anomaly(
        session,
        group,
        trade_no=trade_no,
        state=state,
        closed_at=NOW - timedelta(hours=2),
        resolution="success",
    )


def test_repaired_trades_that_come_back_trip_the_plan_that_repaired_them(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_returns=2)
    make_plan(session, group, fixer_code=OTHER_FIXER, breaker_returns=1)
    repaired = [closed(session, group, trade_no) for trade_no in ("T-1", "T-2")]
    closed(session, group, "T-3", state="healed")
    report(session, agent, NOW, "T-1", "T-3", "T-new")
    assert tripped(session) == []
    report(session, agent, NOW, "T-2")
    (breaker,) = breakers.list_tripped(session, None)
    assert (breaker.subject_id, breaker.code) == (plan.id, "returns")
    assert breaker.figures == {"count": 2, "threshold": 2, "trade_nos": ["T-2", "T-1"]}
    again = session.scalars(select(Anomaly).where(Anomaly.returned_of == repaired[0].id)).unique().one()
    assert again.trade_no == "T-1"


def test_one_trade_may_come_back_again_and_again(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    make_plan(session, group, breaker_returns=2)
    closed(session, group, "T-1")
    report(session, agent, NOW, "T-1")
    again = session.scalars(select(Anomaly).where(Anomaly.state == "open")).unique().one()
    again.state, again.closed_at = "healed", NOW
    report(session, agent, NOW + timedelta(minutes=5), "T-1")
    assert tripped(session) == [("plan", "returns")]


def test_returns_before_a_reset_or_of_yesterday_do_not_count(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_returns=2)
    for number in range(1, 5):
        closed(session, group, f"T-{number}")
    report(session, agent, NOW, "T-1")
    report(session, agent, NOW + timedelta(hours=24), "T-2")
    assert tripped(session) == []
    report(session, agent, NOW + timedelta(hours=25), "T-3")
    (breaker,) = breakers.list_tripped(session, None)
    assert breaker.subject_id == plan.id
    later = NOW + timedelta(hours=26)
    breakers.reset(session, breaker.id, reason="已核对", actor=PERSON, group_ids=None, now=later)
    report(session, agent, later + timedelta(minutes=1), "T-4")
    assert tripped(session) == []


def test_returns_of_several_plans_trip_their_group(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    group.breaker_returns = 2
    make_plan(session, group, breaker_returns=0)
    closed(session, group, "T-1")
    closed(session, group, "T-2").fixer_code = OTHER_FIXER
    report(session, agent, NOW, "T-1", "T-2")
    assert tripped(session) == [("group", "returns")]


def trip_by_amount(session: WorkSession, plan: Plan) -> int:
    """An hour's amount has stopped the plan; returns the breaker's id."""
    breakers.trip(session, breakers.subject_of_plan(plan), "amount", {"threshold": 1}, NOW)
    (breaker,) = breakers.list_tripped(session, None)
    return breaker.id


def test_what_comes_back_behind_an_hours_amount_is_what_the_breaker_stands_for_then(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_returns=1)
    identity = trip_by_amount(session, plan)
    closed(session, group, "T-1")
    later = NOW + timedelta(minutes=5)
    report(session, agent, later, "T-1")
    (breaker,) = breakers.list_tripped(session, None)
    assert (breaker.id, breaker.code, breaker.tripped_at) == (identity, "returns", later)
    assert breaker.figures == {"count": 1, "threshold": 1, "trade_nos": ["T-1"]}
    entries = session.scalars(select(AuditEntry).where(AuditEntry.object_type == "breaker"))
    assert [(one.action, one.detail["code"]) for one in entries.all()] == [
        ("breaker.trip", "amount"),
        ("breaker.trip", "returns"),
    ]


def test_an_hours_amount_turns_no_breaker_that_stands_into_its_own(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    attempt(session, plan, agent, "failed", NOW)
    assert not breakers.trip(session, breakers.subject_of_plan(plan), "amount", {}, NOW)
    assert tripped(session) == [("plan", "failures")]


def test_nobody_resets_what_has_tripped_for_another_cause_since_they_looked(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=1)
    identity = trip_by_amount(session, plan)
    attempt(session, plan, agent, "failed", NOW)
    with pytest.raises(ConflictError, match="breaker_is_other"):
        breakers.reset(
            session, identity, reason="已核对", actor=PERSON, group_ids=None, now=NOW, code="amount"
        )
    assert tripped(session) == [("plan", "failures")]


def test_nothing_is_counted_of_nothing(session: WorkSession, group: SystemGroup) -> None:
    note_begun(session, make_plan(session, group), [], NOW)
    assert session.scalars(select(BegunRepair)).all() == []


# ---- a clock that ran ahead


def reset_ahead(session: WorkSession, plan: Plan) -> None:
    """Trip and reset the plan's breaker while the clock is a day ahead."""
    ahead = NOW + timedelta(days=1)
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, ahead)
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=ahead)


def test_a_breaker_reset_by_a_clock_ahead_counts_what_fails_from_now_on(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=3)
    attempts(session, plan, agent, ["failed"] * 2)
    reset_ahead(session, plan)
    attempts(session, plan, agent, ["failed"] * 2, NOW + timedelta(minutes=5))
    assert tripped(session) == []
    attempt(session, plan, agent, "failed", NOW + timedelta(minutes=6))
    assert tripped(session) == [("plan", "failures")]


def test_a_breaker_reset_by_a_clock_ahead_bounds_the_hours_amount(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    reset_ahead(session, plan)
    for number in range(1, 5):
        make_anomaly(session, group, trade_no=f"T-{number}")
        tick(session, plan, NOW + timedelta(minutes=number))
    assert attempted(session) == ["T-1", "T-2"]
    assert tripped(session) == [("plan", "amount")]


def test_a_breaker_reset_by_a_clock_ahead_counts_what_comes_back_from_now_on(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_returns=1)
    reset_ahead(session, plan)
    closed(session, group, "T-1")
    report(session, agent, NOW + timedelta(minutes=5), "T-1")
    assert tripped(session) == [("plan", "returns")]


def test_what_ended_by_a_clock_ahead_does_not_stay_the_newest(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=2, breaker_attempts=2)
    attempts(session, plan, agent, ["repaired"] * 2, NOW + timedelta(days=1))
    attempts(session, plan, agent, ["failed"] * 2)
    assert tripped(session) == [("plan", "failures")]


def begin_ahead(
    session: WorkSession, plan: Plan, agent: Agent, count: int, begin: datetime = NOW + timedelta(days=1)
) -> None:
    """So many repairs begin by a clock a day ahead, and end once it has been put back."""
    for number in range(count):
        make_anomaly(session, plan.group, trade_no=f"AHEAD-{number}")
    tick(session, plan, begin)
    for command in session.scalars(select(Command).where(Command.trade_no.startswith("AHEAD-"))).all():
        hand_to(session, command, agent)
        tell(session, agent, command, "repaired", NOW)


def test_what_began_by_a_clock_ahead_counts_in_this_hour_and_in_no_later_one(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    begin_ahead(session, plan, agent, 2)
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plan, NOW + timedelta(minutes=1))
    assert tripped(session) == [("plan", "amount")]
    breakers.reset(
        session,
        breakers.list_tripped(session, None)[0].id,
        reason="looked at",
        actor=PERSON,
        group_ids=None,
        now=NOW + timedelta(minutes=2),
    )
    tick(session, plan, NOW + timedelta(minutes=3))
    assert (tripped(session), attempted(session)[2:]) == ([], ["T-1"])


def test_a_breaker_tripped_by_a_clock_ahead_and_reset_by_the_right_one_stays_reset(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    group.breaker_hour_minor = 25_000
    plan = make_plan(session, group)
    begin_ahead(session, plan, agent, 3)
    (breaker,) = breakers.list_tripped(session, None)
    assert breaker.code == "amount"
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    tick(session, plan, NOW + timedelta(minutes=1))
    assert (tripped(session), attempted(session)[2:]) == ([], ["AHEAD-2"])


def test_what_began_by_a_clock_ahead_after_a_reset_counts_after_it(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    reset_ahead(session, plan)
    begin_ahead(session, plan, agent, 2, NOW + timedelta(days=1, seconds=1))
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plan, NOW + timedelta(minutes=1))
    assert tripped(session) == [("plan", "amount")]


# ---- clocks of two servers, or of one whose tick takes long, that lie seconds apart

FASTER = NOW + timedelta(seconds=30)
LATER = NOW + timedelta(seconds=40)


def trip_and_reset(session: WorkSession, plan: Plan, now: datetime) -> None:
    breakers.trip(session, breakers.subject_of_plan(plan), "failures", {}, NOW)
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=now)


@pytest.mark.parametrize(("first", "second"), [(LATER, NOW), (NOW, LATER), (NOW, NOW)])
def test_what_begins_after_a_reset_counts_by_whichever_clock(
    session: WorkSession, group: SystemGroup, agent: Agent, first: datetime, second: datetime
) -> None:
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    trip_and_reset(session, plan, FASTER)
    for number in (1, 2):
        make_anomaly(session, group, trade_no=f"T-{number}")
    tick(session, plan, first)
    make_anomaly(session, group, trade_no="T-3")
    tick(session, plan, second)
    assert (attempted(session), tripped(session)) == (["T-1", "T-2"], [("plan", "amount")])


@pytest.mark.parametrize(("first", "second"), [(LATER, NOW), (NOW, LATER), (NOW, NOW)])
def test_what_fails_after_a_reset_counts_by_whichever_clock(
    session: WorkSession, group: SystemGroup, agent: Agent, first: datetime, second: datetime
) -> None:
    plan = make_plan(session, group, breaker_failures=3)
    trip_and_reset(session, plan, FASTER)
    attempts(session, plan, agent, ["failed"] * 2, first)
    assert tripped(session) == []
    attempt(session, plan, agent, "failed", second)
    assert tripped(session) == [("plan", "failures")]


def test_a_slower_clock_leaves_a_reset_as_it_was_told(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=3)
    attempts(session, plan, agent, ["failed"] * 2)
    trip_and_reset(session, plan, FASTER)
    attempt(session, plan, agent, "failed", NOW)
    assert tripped(session) == []
    assert session.scalars(select(Breaker.reset_at)).all() == [FASTER]
