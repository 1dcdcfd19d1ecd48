"""What a plan has commanded by itself and nobody has been sent: withdrawn once it may begin nothing so."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, current_app
from sqlalchemy import func, select

from app.agents import dispatcher, recovery
from app.agents.claims import Claim, claim
from app.agents.hub import AgentSession
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.service import order_verifies
from app.clock import Clock
from app.executions import scheduler, unsent
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempt
from app.extensions import db
from app.guards import breakers
from app.guards.models import BegunRepair
from app.plans.models import Plan
from app.plans.service import update_plan, values_of
from app.told import told_words
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.agents.conftest import Member
from tests.app.agents.test_dispatcher import listen, look
from tests.app.guards.test_breakers import tell, tripped
from tests.app.guards.test_verdicts import tick
from tests.factories import FIXER, NOW, PERSON, hand_to, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

OTHER_FIXER = "withdrawTimeoutFixServiceImpl"
LATER = NOW + timedelta(seconds=5)


def commanded(session: WorkSession, plan: Plan, count: int, **columns: Any) -> list[Command]:
    """So many trades, commanded by one tick of the plan; return their commands, oldest first."""
    for number in range(count):
        make_anomaly(session, plan.group, trade_no=f"T-{number}", fixer_code=plan.fixer_code, **columns)
    tick(session, plan)
    repairs = select(Command).where(Command.type == "Repair", Command.fixer_code == plan.fixer_code)
    return list(session.scalars(repairs.order_by(Command.seq)))


def trip(session: WorkSession, plan: Plan, code: str = "failures") -> None:
    breakers.trip(session, breakers.subject_of_plan(plan), code, {}, NOW)


def states(commands_of: Sequence[Command]) -> list[str]:
    return [command.state for command in commands_of]


def change(session: WorkSession, plan: Plan, **values: Any) -> None:
    changed = replace(values_of(plan), **values)
    update_plan(session, plan.id, changed, actor=PERSON, now=NOW, reason="look first")


def sent(session: WorkSession, agent: Agent) -> list[Command]:
    """Claim all that is pending for the agent, as the dispatcher does; return what it was given."""
    session.flush()
    one = AgentSession(current_app.extensions["runtime"].hub, agent.id, agent.group_id, "PBAP", "")
    pending = session.scalars(select(Command).where(Command.state == "pending").order_by(Command.seq))
    return [won.command for won in claim(session, [Claim(command, one) for command in pending], LATER)]


def test_a_breaker_that_trips_withdraws_what_its_plan_had_queued(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, breaker_failures=3, max_retries=2)
    repairs = commanded(session, plan, 10)
    for repair in repairs[:3]:
        hand_to(session, repair, agent)
    for repair in repairs[:3]:
        tell(session, agent, repair, "failed", NOW)
    assert tripped(session) == [("plan", "failures")]
    assert states(repairs[3:]) == ["cancelled"] * 7
    assert sent(session, agent) == []
    withdrawn = session.scalars(select(Anomaly).where(Anomaly.trade_no.in_(f"T-{n}" for n in range(3, 10))))
    assert {(one.state, one.failed_attempts) for one in withdrawn} == {("open", 0)}


def test_once_reset_the_plan_begins_anew_what_was_withdrawn(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    (repair,) = commanded(session, plan, 1)
    trip(session, plan)
    tick(session, plan)
    assert sent(session, agent) == []
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    tick(session, plan)
    assert [one.trade_no for one in sent(session, agent)] == [repair.trade_no]


def test_the_breaker_of_a_group_withdraws_what_any_of_its_plans_had_queued(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    (repair,) = commanded(session, make_plan(session, group, fixer_code=OTHER_FIXER), 1)
    breakers.trip(session, breakers.subject_of_group(group), "failures", {}, NOW)
    assert (repair.state, repair.error) == ("cancelled", "breaker_tripped")


def test_the_breaker_of_a_plan_leaves_other_plans_what_they_had_queued(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    (repair,) = commanded(session, make_plan(session, group, fixer_code=OTHER_FIXER), 1)
    trip(session, make_plan(session, group))
    assert repair.state == "pending"


@pytest.mark.parametrize("trigger", ["click", "command_line"])
def test_what_people_ordered_is_sent_behind_a_breaker(
    session: WorkSession, group: SystemGroup, agent: Agent, trigger: str
) -> None:
    plan = make_plan(session, group)
    anomaly = make_anomaly(session, group)
    start_attempt(session, anomaly, plan, Order(trigger, PERSON, "asked", NOW))
    trip(session, plan)
    assert [one.trade_no for one in sent(session, agent)] == [anomaly.trade_no]


def test_what_has_moved_money_is_sent_behind_a_breaker(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    (repair,) = commanded(session, plan, 1, has_moved_money=True)
    trip(session, plan)
    assert sent(session, agent) == [repair]


def test_what_an_hours_amount_still_let_go_is_sent(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    """Withdrawn it would count no more, and the same page of trades would trip the breaker for ever."""
    plan = make_plan(session, group, breaker_hour_minor=25_000)
    repairs = commanded(session, plan, 4)
    assert tripped(session) == [("plan", "amount")]
    assert sent(session, agent) == repairs
    assert len(repairs) == 2


@pytest.mark.parametrize("scope", ["plan", "group"])
def test_what_fails_of_what_an_hours_amount_let_go_withdraws_the_rest(
    session: WorkSession, group: SystemGroup, agent: Agent, scope: str
) -> None:
    plan = make_plan(session, group, max_retries=2, breaker_failures=0)
    subject = plan if scope == "plan" else group
    subject.breaker_hour_minor, subject.breaker_failures = 65_000, 3
    repairs = commanded(session, plan, 8)
    assert tripped(session) == [(scope, "amount")]
    for repair in repairs[:3]:
        hand_to(session, repair, agent)
        tell(session, agent, repair, "failed", NOW)
    assert tripped(session) == [(scope, "failures")]
    assert states(repairs[3:]) == ["cancelled"] * 3
    assert sent(session, agent) == []


def test_one_that_an_agent_may_hold_is_verified_and_counts_for_no_failure(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    group.breaker_failures = 1
    plan = make_plan(session, group)
    (repair,) = commanded(session, plan, 1)
    assert sent(session, agent) == [repair]
    recovery.release_sent(session, agent.id)
    session.refresh(repair)
    trip(session, plan)
    anomaly = session.scalars(select(Anomaly)).one()
    assert (repair.state, anomaly.state, anomaly.failed_attempts) == ("indeterminate", "waiting", 0)
    assert tripped(session) == [("plan", "failures")]
    begun = session.scalars(select(BegunRepair)).one()
    assert (begun.outcome, begun.is_new) == ("withdrawn", True)


def test_the_history_says_of_none_that_an_agent_was_sent_that_it_never_went_out(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    given_back, unsent_one = commanded(session, plan, 2)
    hand_to(session, given_back, agent)
    given_back.state = "pending"  # its lease has ended
    trip(session, plan)
    withdrawn = select(AnomalyEvent).where(AnomalyEvent.code.startswith("command_"))
    told = {one.command_id: told_words(one.reason) for one in session.scalars(withdrawn)}
    assert told == {
        given_back.id: "已熔断；这条命令曾发给客户端，可能已在执行，先核实",
        unsent_one.id: "已熔断，尚未发出的自动修复已撤回",
    }


def test_what_was_withdrawn_unsent_counts_towards_no_limit(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, limit_day_count=2, limit_day_minor=20_000)
    commanded(session, plan, 2)
    trip(session, plan)
    (breaker,) = breakers.list_tripped(session, None)
    breakers.reset(session, breaker.id, reason="looked at", actor=PERSON, group_ids=None, now=NOW)
    tick(session, plan)
    assert len(sent(session, agent)) == 2


@pytest.mark.parametrize("values", [{"mode": "manual"}, {"limit_day_count": 1}, {"limit_trade_minor": 5_000}])
def test_a_plan_that_is_to_do_less_by_itself_withdraws_what_it_had_queued(
    session: WorkSession, group: SystemGroup, agent: Agent, values: dict[str, Any]
) -> None:
    plan = make_plan(session, group)
    repairs = commanded(session, plan, 3)
    change(session, plan, **values)
    assert states(repairs) == ["cancelled"] * 3
    assert sent(session, agent) == []


def test_under_a_lower_limit_the_next_tick_begins_as_many_as_it_allows(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, limit_day_count=3)
    commanded(session, plan, 3)
    change(session, plan, limit_day_count=1)
    tick(session, plan)
    assert [one.trade_no for one in sent(session, agent)] == ["T-0"]


@pytest.mark.parametrize("values", [{"limit_day_count": 9}, {"limit_day_count": None}, {"level": 1}])
def test_a_plan_that_may_do_no_less_withdraws_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent, values: dict[str, Any]
) -> None:
    plan = make_plan(session, group, limit_day_count=5)
    repairs = commanded(session, plan, 3)
    change(session, plan, **values)
    assert states(repairs) == ["pending"] * 3


@pytest.mark.parametrize(
    "values",
    [{"mode": "manual"}, {"state": "disabled"}, {"is_shadow": True}],
    ids=lambda one: next(iter(one)),
)
def test_nothing_slips_out_between_two_looks(
    session: WorkSession, group: SystemGroup, agent: Agent, values: dict[str, Any]
) -> None:
    plan = make_plan(session, group)
    (repair,) = commanded(session, plan, 1)
    for name, value in values.items():
        setattr(plan, name, value)
    assert sent(session, agent) == []
    assert unsent.has_work(session)
    assert (unsent.withdraw(session, NOW), repair.state) == (1, "cancelled")
    assert not unsent.has_work(session)


def test_what_is_held_back_hides_no_other_work_of_its_group(
    app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "PAGE", 2)
    with unit_of_work() as session:
        group = make_group(session)
        agent, plan = make_agent(session, group), make_plan(session, group, level=3)
        commanded(session, plan, 3)
        order_verifies(session, [make_anomaly(session, group, trade_no="ASKED", state="waiting")], NOW)
        plan.mode = "manual"
    ear = listen(app, Member(agent.id, group.id, ""), FIXER)
    look(app)
    assert [(type(one).__name__, one.trade_no) for one in ear.heard] == [("Verify", "ASKED")]


def test_more_than_one_batch_is_withdrawn_in_the_next_seconds_and_none_is_sent(
    session: WorkSession, group: SystemGroup, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsent, "BATCH", 2)
    plan = make_plan(session, group)
    repairs = commanded(session, plan, 5)
    trip(session, plan)
    assert sorted(states(repairs)) == ["cancelled"] * 2 + ["pending"] * 3
    assert sent(session, agent) == []
    assert [unsent.withdraw(session, NOW) for _ in range(3)] == [2, 1, 0]


@pytest.mark.parametrize(
    "values", [{"limit_day_count": 9}, {"mode": "manual"}], ids=lambda one: next(iter(one))
)
def test_what_a_narrowed_plan_had_queued_is_withdrawn_batch_by_batch_and_none_is_sent(
    session: WorkSession,
    group: SystemGroup,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
) -> None:
    monkeypatch.setattr(unsent, "BATCH", 2)
    plan = make_plan(session, group)
    repairs = commanded(session, plan, 5)
    change(session, plan, **values)
    assert sorted(states(repairs)) == ["cancelled"] * 2 + ["pending"] * 3
    assert sent(session, agent) == []
    assert unsent.has_work(session)
    assert [unsent.withdraw(session, NOW) for _ in range(3)] == [2, 1, 0]
    assert not unsent.has_work(session)


def test_what_a_narrowed_plan_begins_anew_is_sent_while_the_rest_is_withdrawn(
    session: WorkSession, group: SystemGroup, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsent, "BATCH", 2)
    plan = make_plan(session, group)
    repairs = commanded(session, plan, 5)
    change(session, plan, limit_day_count=9)
    withdrawn = {one.trade_no for one in repairs if one.state == "cancelled"}
    tick(session, plan)
    assert {one.trade_no for one in sent(session, agent)} == withdrawn
    assert unsent.withdraw(session, NOW) == 2


def test_what_was_sent_before_a_plan_was_narrowed_and_comes_back_is_not_sent_again(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    (repair,) = commanded(session, plan, 1)
    assert sent(session, agent) == [repair]
    change(session, plan, limit_day_count=9)
    assert (unsent.withdraw(session, NOW), repair.state) == (0, "sent")
    recovery.release_sent(session, agent.id)
    session.refresh(repair)
    assert sent(session, agent) == []
    assert (unsent.withdraw(session, NOW), repair.state) == (1, "indeterminate")
    assert plan.narrowed_seq is None


def test_a_long_queue_is_withdrawn_a_batch_a_second_so_that_others_have_their_turn(
    app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsent, "BATCH", 2)
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        plan = make_plan(session, group)
        commanded(session, plan, 5)
        trip(session, plan)
    scheduler.withdraw_unsent(NOW)
    pending = select(func.count()).where(Command.state == "pending")
    assert db.session.scalar(pending) == 1
    db.session.remove()
    scheduler.withdraw_unsent(NOW)
    assert db.session.scalar(pending) == 0


def test_each_second_withdraws_what_a_lost_socket_gave_back_behind_a_breaker(
    app: Flask, clock: Clock
) -> None:
    with unit_of_work() as session:
        group = make_group(session)
        agent, plan = make_agent(session, group), make_plan(session, group)
        commanded(session, plan, 1)
        assert len(sent(session, agent)) == 1
        trip(session, plan)
        recovery.release_sent(session, agent.id)
    scheduler.withdraw_unsent(NOW)
    assert (
        db.session.scalars(select(Command.state).where(Command.fixer_code == FIXER)).first()
        == "indeterminate"
    )
    assert db.session.scalars(select(Attempt.outcome)).one() == "unknown"
