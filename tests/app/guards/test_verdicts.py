"""Limits at a tick: what goes by itself, what is left to a person, and how often its history says so."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from agent.facts import Facts
from app.agents.models import Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.queries import AnomalyFilter
from app.anomalies.service import ignore, order_verify
from app.audit.models import AuditEntry
from app.executions import bulk, results, ticking, verifications
from app.executions.holding_back import MAX_AGE
from app.executions.models import Attempt
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.executions.ticking import TickPage
from app.extensions import db
from app.guards import breakers
from app.guards.counting import midnight
from app.guards.models import BegunRepair
from app.plans.models import Plan, Tick
from app.plans.service import delete_plan, update_plan, values_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.test_query_plans import statements
from tests.factories import (
    NOW,
    PERSON,
    facts_of,
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

_ticks = itertools.count()
CLICK = Order("click", PERSON, "已核对", NOW)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    group = make_group(session)
    make_agent(session, group)
    return group


def tick(session: WorkSession, plan: Plan, now: datetime = NOW) -> None:
    """Run one tick of the plan to its end."""
    due_at = now + timedelta(microseconds=next(_ticks))
    made = Tick(subject="plan", subject_id=plan.id, due_at=due_at, at=now)
    session.add(made)
    session.flush()
    page = TickPage(made.id, plan.id, 0)
    while page.last_id is not None:
        page = ticking.attempt_tick_page(session, page, now)
    session.flush()


def attempted(session: WorkSession) -> list[str]:
    statement = select(Command.trade_no).where(Command.type == "Repair").order_by(Command.seq)
    return [str(trade_no) for trade_no in session.scalars(statement)]


def events_of(session: WorkSession, anomaly: Anomaly) -> list[str]:
    session.flush()
    statement = select(AnomalyEvent.code).where(AnomalyEvent.anomaly_id == anomaly.id)
    return list(session.scalars(statement.order_by(AnomalyEvent.id)))


def end(session: WorkSession, anomaly: Anomaly, outcome: str, now: datetime, **fields: Any) -> None:
    """Have the anomaly's running attempt end."""
    session.flush()
    command = session.scalars(
        select(Command).where(Command.trade_no == anomaly.trade_no).order_by(Command.seq.desc()).limit(1)
    ).one()
    agent = make_agent(session, anomaly.group)
    hand_to(session, command, agent)
    results.record_result(session, agent, finished(command, outcome, **fields), now)
    session.flush()


def test_what_would_pass_a_limit_stays_open_for_a_click(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_trade_minor=10_000)
    make_anomaly(session, group, trade_no="T-small", amount_minor=10_000)
    large = make_anomaly(session, group, trade_no="T-large", amount_minor=10_001)
    tick(session, plan)
    session.refresh(large)
    assert attempted(session) == ["T-small"]
    assert (large.state, large.hold_code, large.held_at) == ("open", "limit_trade_minor", NOW)
    assert large.hold_detail == {"limit": 10_000, "used": 0, "amount": 10_001, "currency": "CNY"}


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_plan_made_anew_goes_on_counting(session: WorkSession, group: SystemGroup, how: str) -> None:
    plan = make_plan(session, group, limit_day_count=1)
    first = make_anomaly(session, group, trade_no="T-first")
    tick(session, plan)
    end(session, first, "repaired", NOW)
    if how == "deleted":
        delete_plan(session, plan.id, actor=PERSON, now=NOW, reason="anew")
    else:
        values = replace(values_of(plan), fixer_code="withdrawTimeoutFixServiceImpl")
        update_plan(session, plan.id, values, actor=PERSON, now=NOW, reason="elsewhere")
    second = make_anomaly(session, group, trade_no="T-second")
    tick(session, make_plan(session, group, limit_day_count=1))
    session.refresh(second)
    assert (attempted(session), second.hold_code) == (["T-first"], "limit_day_count")


def test_a_limit_judges_the_amount_that_an_attempt_has_read_last(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=10_000, max_retries=1)
    anomaly = make_anomaly(session, group, trade_no="T-grown", amount_minor=10_000)
    tick(session, plan)
    end(session, anomaly, "failed", NOW, facts_before=grown("T-grown", 10_001))
    tick(session, plan)
    assert (attempted(session), anomaly.hold_code) == (["T-grown"], "limit_trade_minor")


def test_a_limit_judges_the_amount_that_a_look_has_read_last(
    session: WorkSession, group: SystemGroup
) -> None:
    make_plan(session, group, limit_trade_minor=10_000)
    anomaly = make_anomaly(session, group, trade_no="T-grown", amount_minor=10_000, state="waiting")
    command = order_verify(session, anomaly, NOW)
    agent = make_agent(session, group)
    hand_to(session, command, agent)
    message = facts_read(command, "repair", facts=grown("T-grown", 10_001))
    verifications.record_facts(session, agent, message, NOW)
    assert (attempted(session), anomaly.hold_code) == ([], "limit_trade_minor")


def test_a_repair_says_the_amount_it_was_judged_by(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group)
    make_anomaly(session, group, trade_no="T-1", amount_minor=7)
    make_anomaly(session, group, trade_no="T-2", amount_minor=None)
    tick(session, plan)
    messages = session.scalars(select(Command.message).order_by(Command.seq))
    assert [message.get("max_amount_minor") for message in messages] == [7, None]


def grown(trade_no: str, amount_minor: int) -> Facts:
    return msgspec.structs.replace(facts_of(trade_no), amount_minor=amount_minor)


def test_the_history_tells_once_that_it_is_held_however_many_ticks_come(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    anomaly = make_anomaly(session, group)
    for minutes in range(5):
        tick(session, plan, NOW + timedelta(minutes=minutes))
    assert events_of(session, anomaly) == ["hold_began"]


@pytest.mark.parametrize("limits", [{"limit_hour_count": 1}, {"breaker_hour_minor": 12_000}])
def test_what_is_for_a_person_uses_up_no_limit_and_trips_nothing(
    session: WorkSession, group: SystemGroup, limits: dict[str, int]
) -> None:
    plan = make_plan(session, group, **limits)
    old = make_anomaly(session, group, row_changed_at=NOW - MAX_AGE - timedelta(days=1))
    young = make_anomaly(session, group, trade_no="T-young")
    tick(session, plan)
    assert (old.state, attempted(session)) == ("needs_human", ["T-young"])
    assert (young.hold_code, breakers.list_tripped(session, None)) == (None, [])


def test_what_waited_and_is_for_a_person_now_trips_nothing(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, breaker_hour_minor=1)
    waiting = make_anomaly(session, group, state="waiting", row_changed_at=NOW - MAX_AGE - timedelta(days=1))
    verify = order_verify(session, waiting, NOW)
    agent = make_agent(session, group)
    hand_to(session, verify, agent)
    verifications.record_facts(session, agent, facts_read(verify, "repair"), NOW)
    assert (waiting.state, breakers.list_tripped(session, None)) == ("needs_human", [])


def test_limits_count_over_ticks_and_forget_after_an_hour(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_hour_minor=15_000)
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plan)
    make_anomaly(session, group, trade_no="T-2")
    tick(session, plan, NOW + timedelta(minutes=59))
    assert attempted(session) == ["T-1"]
    make_anomaly(session, group, trade_no="T-3")
    tick(session, plan, NOW + timedelta(minutes=60))
    assert attempted(session) == ["T-1", "T-3"]


@pytest.mark.parametrize("limits", [{"limit_hour_count": 2}, {"limit_day_minor": 20_000}])
def test_what_began_by_a_clock_ahead_holds_nothing_up_once_its_window_has_passed(
    session: WorkSession, group: SystemGroup, limits: dict[str, int]
) -> None:
    plan = make_plan(session, group, **limits)
    for number in range(2):
        make_anomaly(session, group, trade_no=f"AHEAD-{number}")
    tick(session, plan, NOW + timedelta(days=3))
    make_anomaly(session, group, trade_no="NOW")
    tick(session, plan)
    assert attempted(session) == ["AHEAD-0", "AHEAD-1"]
    make_anomaly(session, group, trade_no="NEXT DAY")
    tick(session, plan, NOW + timedelta(days=1))
    assert attempted(session)[2:] == ["NEXT DAY"]


def test_what_began_after_midnight_counts_in_the_new_day_though_a_slower_clock_counts_before_it(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_day_count=2, zone="UTC")
    new_day = datetime(2026, 3, 3, tzinfo=UTC)
    for name, seconds in (("T-1", 5), ("T-2", 5), ("SLOW", -5), ("T-3", 10)):
        make_anomaly(session, group, trade_no=name)
        tick(session, plan, new_day + timedelta(seconds=seconds))
    assert attempted(session) == ["T-1", "T-2"]


@pytest.mark.parametrize(
    ("zone", "day"), [("America/Havana", "2026-11-01T04:00Z"), ("Asia/Shanghai", "2026-10-31T16:00Z")]
)
def test_a_day_whose_midnight_comes_twice_begins_with_the_first(zone: str, day: str) -> None:
    second = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert midnight(second, zone).astimezone(UTC) == datetime.fromisoformat(day)


def test_what_was_held_by_a_window_stays_for_a_click_when_the_window_has_passed(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_hour_count=1)
    make_anomaly(session, group, trade_no="T-1")
    held = make_anomaly(session, group, trade_no="T-2")
    tick(session, plan)
    tick(session, plan, NOW + timedelta(hours=30))
    assert attempted(session) == ["T-1"]
    assert held.hold_code == "limit_hour_count"


def test_a_day_begins_at_midnight_of_the_plans_zone(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_day_count=1, zone="Asia/Shanghai")
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plan, datetime(2026, 3, 2, 15, 59, tzinfo=UTC))
    make_anomaly(session, group, trade_no="T-2")
    tick(session, plan, datetime(2026, 3, 2, 15, 59, 59, tzinfo=UTC))
    assert attempted(session) == ["T-1"]
    make_anomaly(session, group, trade_no="T-3")
    tick(session, plan, datetime(2026, 3, 2, 16, 0, tzinfo=UTC))
    assert attempted(session) == ["T-1", "T-3"]


def test_other_plans_and_clicks_use_up_nothing(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_hour_count=1)
    other = make_plan(session, group, fixer_code="withdrawTimeoutFixServiceImpl")
    make_anomaly(session, group, trade_no="T-other", fixer_code=other.fixer_code)
    tick(session, other)
    clicked = make_anomaly(session, group, trade_no="T-clicked")
    attempt_one(session, clicked.id, CLICK, group_ids=None)
    make_anomaly(session, group, trade_no="T-1")
    tick(session, plan)
    assert attempted(session) == ["T-other", "T-clicked", "T-1"]


def test_a_retry_counts_again_and_going_on_after_money_moved_does_not(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_hour_count=2, max_retries=9)
    failing = make_anomaly(session, group, trade_no="T-failing")
    tick(session, plan)
    end(session, failing, "failed", NOW)
    tick(session, plan)
    end(session, failing, "failed", NOW, money_moved=True)
    tick(session, plan)
    begun = session.execute(select(BegunRepair.is_new).order_by(BegunRepair.id)).scalars().all()
    assert begun == [True, True, False]
    assert failing.state == "repairing"


def test_money_on_its_way_is_gone_on_with_whatever_the_limit(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    make_anomaly(session, group, trade_no="T-paid", has_moved_money=True)
    tick(session, plan)
    assert attempted(session) == ["T-paid"]


def test_a_held_trade_whose_late_result_moved_money_is_gone_on_with(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    anomaly = make_anomaly(session, group, trade_no="T-late")
    tick(session, plan)
    anomaly.has_moved_money = True
    tick(session, plan)
    assert attempted(session) == ["T-late"]
    assert events_of(session, anomaly) == ["hold_began", "hold_ended", "attempt_tick"]


def test_an_amount_nobody_can_read_never_goes_by_itself_until_it_can(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_day_minor=10**9)
    anomaly = make_anomaly(session, group, trade_no="T-odd", amount_minor=None)
    tick(session, plan)
    assert (attempted(session), anomaly.hold_code) == ([], "amount_unknown")
    anomaly.amount_minor = 500
    tick(session, plan)
    assert (attempted(session), anomaly.hold_code) == (["T-odd"], None)


def test_other_limits_judge_anew_and_other_changes_do_not(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_hour_count=1)
    make_anomaly(session, group, trade_no="T-1")
    held = make_anomaly(session, group, trade_no="T-2")
    tick(session, plan)
    plan.description, plan.version = "another", 2
    tick(session, plan, NOW + timedelta(hours=2))
    assert attempted(session) == ["T-1"]
    plan.limit_hour_count = 2
    tick(session, plan, NOW + timedelta(hours=2))
    assert attempted(session) == ["T-1", "T-2"]
    assert events_of(session, held) == ["hold_began", "hold_ended", "attempt_tick"]


def test_limits_narrowed_further_change_the_reason_without_a_second_note(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=5_000)
    anomaly = make_anomaly(session, group)
    tick(session, plan)
    plan.limit_trade_minor = 4_000
    tick(session, plan)
    assert (anomaly.hold_detail or {})["limit"] == 4_000
    assert events_of(session, anomaly) == ["hold_began"]


def test_a_click_goes_beyond_a_limit_ends_the_hold_and_is_recorded_so(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    anomaly = make_anomaly(session, group, trade_no="T-held")
    tick(session, plan)
    attempt_one(session, anomaly.id, CLICK, group_ids=None)
    session.flush()
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    assert (entry.detail["over_limit"], entry.detail["limits"]) == (1, ["limit_trade_minor"])
    assert (anomaly.hold_code, anomaly.state) == (None, "repairing")
    assert events_of(session, anomaly) == ["hold_began", "hold_ended", "attempt_click"]


def test_a_click_within_the_limits_is_recorded_without_them(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, limit_trade_minor=10_000)
    attempt_one(session, make_anomaly(session, group).id, CLICK, group_ids=None)
    session.flush()
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    assert entry.detail.keys() == {"number", "anomaly_id", "trigger"}


def test_a_click_on_many_tells_what_it_goes_beyond(session: WorkSession, group: SystemGroup) -> None:
    make_user(session)
    make_plan(session, group, limit_trade_minor=10_000)
    ids = [make_anomaly(session, group, amount_minor=amount).id for amount in (20_000, 30_000)]
    begun = bulk.begin(session, AnomalyFilter(ids=tuple(ids)), CLICK)
    session.flush()
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "bulk.beyond")).one()
    assert (begun.sent, entry.detail["over_limit"], entry.detail["limits"]) == (2, 1, ["limit_trade_minor"])
    assert session.scalars(select(func.count()).select_from(BegunRepair)).one() == 0


def test_a_wait_that_is_over_asks_the_limits_too(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    anomaly = make_anomaly(session, group, trade_no="T-waiting", state="waiting")
    tick(session, plan)
    verify = session.scalars(select(Command)).one()
    agent = make_agent(session, group)
    hand_to(session, verify, agent)
    verifications.record_facts(session, agent, facts_read(verify, "repair"), NOW)
    assert (anomaly.state, anomaly.hold_code) == ("open", "limit_trade_minor")
    assert attempted(session) == []


def test_whatever_closes_a_held_anomaly_ends_the_hold(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_trade_minor=1)
    anomaly = make_anomaly(session, group)
    tick(session, plan)
    ignore(session, anomaly.id, reason="测试数据", actor=PERSON, group_ids=None, now=NOW)
    assert (anomaly.state, anomaly.hold_code, anomaly.held_at) == ("ignored", None, None)
    assert events_of(session, anomaly) == ["hold_began", "hold_ended", "ignored"]


def test_limits_count_over_the_pages_of_a_tick(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(session, group, limit_hour_count=3, limit_day_minor=90_000)
    for _each in range(12):
        make_anomaly(session, group)
    monkeypatch.setattr(ticking, "PAGE", 5)
    tick(session, plan)
    held = select(func.count()).where(Anomaly.hold_code == "limit_hour_count")
    attempts = select(func.count()).select_from(Attempt)
    assert (session.scalars(attempts).one(), session.scalars(held).one()) == (3, 9)


def test_a_page_reads_once_what_was_begun(session: WorkSession, group: SystemGroup) -> None:
    plan = make_plan(session, group, limit_hour_count=3, limit_day_minor=90_000)
    for _each in range(12):
        make_anomaly(session, group)
    with statements() as heard:
        tick(session, plan)
    assert len([one for one, _values in heard if "sum(begun_repair" in one or "sum(CASE" in one]) == 1


def test_no_other_server_counts_for_the_plan_meanwhile(
    session: WorkSession, group: SystemGroup, server_engine: str
) -> None:
    if server_engine == "sqlite":
        pytest.skip("BEGIN IMMEDIATE leaves one writer")
    plan = make_plan(session, group, limit_hour_count=1)
    make_anomaly(session, group)
    # The other server sees the plan only where it was committed.
    session.commit()
    session.begin()
    session.add(plan)
    tick(session, plan)
    with db.engine.connect() as other, pytest.raises(OperationalError):
        other.execute(text("SELECT id FROM plan WHERE id = :id FOR UPDATE NOWAIT"), {"id": plan.id})
