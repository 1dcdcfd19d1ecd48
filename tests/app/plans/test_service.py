"""Repair plans: their defaults, what is refused and why, versions, and what disabling does."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.agents import commands
from app.agents.models import Command
from app.agents.queries import offer_counts
from app.anomalies.models import Anomaly
from app.audit.models import AuditEntry
from app.errors import ConflictError, InvalidError, NotFoundError
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempt
from app.plans import queries
from app.plans.fixer_codes import KNOWN_FIXERS, agents_offering, fixer_choices
from app.plans.models import Plan, PlanVersion
from app.plans.product_plans import PRODUCT_PLANS, PlanValues
from app.plans.quartz import QuartzError
from app.plans.schedules import ScheduleValues, delete_schedule, find_schedule, set_schedule
from app.plans.service import (
    create_plan,
    delete_plan,
    disable_plan,
    enable_plan,
    update_plan,
)
from app.plans.usage import PlanUsage, usage_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from app.users.service import FormErrors
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
)

VALUES = PlanValues(sys_code="PBAP", fixer_code=FIXER)
WHY = "as agreed"
TICK = Order("tick", PERSON, "", NOW)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def create(session: WorkSession, values: PlanValues = VALUES) -> Plan:
    plan = create_plan(session, values, actor=PERSON, now=NOW)
    session.flush()
    session.expire_all()
    return plan


def test_a_new_plan_has_the_defaults_of_the_product_document(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = create(session)
    stored = (plan.max_retries, plan.retry_cron, plan.mode, plan.state, plan.level, plan.description)
    assert stored == (0, "0 0/2 * * * ?", "auto", "normal", 3, "")
    assert plan.next_due_at == NOW + timedelta(minutes=2)


def test_the_eight_plans_of_the_product_document_are_accepted(
    session: WorkSession, group: SystemGroup
) -> None:
    for values in PRODUCT_PLANS:
        create(session, values)
    plans = queries.list_plans(session, [group.id])
    assert [plan.fixer_code for plan in plans] == list(KNOWN_FIXERS)
    assert {(plan.max_retries, plan.retry_cron) for plan in plans} == {(5, "0 0/10 * * * ?")}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"sys_code": "NONE"}, "unknown_group", "sys_code"),
        ({"fixer_code": ""}, "required", "fixer_code"),
        ({"fixer_code": "InterRecharge"}, "fixer_code_format", "fixer_code"),
        ({"fixer_code": "a-b"}, "fixer_code_format", "fixer_code"),
        ({"fixer_code": "修复"}, "fixer_code_format", "fixer_code"),
        ({"max_retries": -1}, "retries", "max_retries"),
        ({"max_retries": 100}, "retries", "max_retries"),
        ({"retry_cron": ""}, "cron", "retry_cron"),
        ({"retry_cron": "0 0/2 * * *"}, "cron", "retry_cron"),
        ({"retry_cron": "0 0 0 30 2 ?"}, "cron_never", "retry_cron"),
        ({"retry_cron": "0 " * 80}, "too_long", "retry_cron"),
        ({"mode": "sometimes"}, "choice", "mode"),
        ({"state": "gone"}, "choice", "state"),
        ({"level": 4}, "choice", "level"),
        ({"description": "x" * 501}, "too_long", "description"),
        ({"zone": "Mars/Olympus"}, "unknown_zone", "zone"),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(
    session: WorkSession, group: SystemGroup, changes: dict[str, object], code: str, field: str
) -> None:
    with pytest.raises(FormErrors) as refused:
        create(session, replace(VALUES, **changes))
    assert [(error.code, error.field) for error in refused.value.errors] == [(code, field)]
    assert session.scalars(select(Plan)).unique().all() == []


def test_every_wrong_field_is_told_at_once(session: WorkSession, group: SystemGroup) -> None:
    with pytest.raises(FormErrors) as refused:
        create(session, replace(VALUES, max_retries=100, retry_cron="x", mode=""))
    fields = [error.field for error in refused.value.errors]
    assert fields == ["max_retries", "retry_cron", "mode"]


def test_a_bad_cron_says_which_field_and_why(session: WorkSession, group: SystemGroup) -> None:
    with pytest.raises(FormErrors) as refused:
        create(session, replace(VALUES, retry_cron="0 0 25 * * ?"))
    quartz = refused.value.params["quartz"]
    assert isinstance(quartz, QuartzError)
    assert (quartz.field, quartz.reason) == ("hours", "value_range")


def test_a_second_plan_of_the_same_fixer_is_refused(session: WorkSession, group: SystemGroup) -> None:
    create(session)
    with pytest.raises(FormErrors) as refused:
        create(session)
    assert (refused.value.code, refused.value.field) == ("plan_exists", "fixer_code")


def test_each_change_keeps_a_version_and_an_audit_entry(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    for _each in range(2):
        update_plan(
            session, plan.id, replace(VALUES, max_retries=5), actor=PERSON, now=NOW, reason="more tries"
        )
    session.flush()
    versions = session.scalars(select(PlanVersion).order_by(PlanVersion.version)).all()
    entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(one.version, one.values["max_retries"]) for one in versions] == [(1, 0), (2, 5)]
    assert [entry.action for entry in entries] == ["plan.create", "plan.update"]
    assert entries[1].detail == {"version": 2, "changed": {"max_retries": [0, 5]}}


def test_a_manual_or_disabled_plan_has_no_due_time(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    update_plan(session, plan.id, replace(VALUES, mode="manual"), actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at is None
    update_plan(session, plan.id, VALUES, actor=PERSON, now=NOW, reason=WHY)
    disable_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at is None
    enable_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at == NOW + timedelta(minutes=2)


def test_a_plan_in_shadow_has_due_times_whatever_its_mode(session: WorkSession, group: SystemGroup) -> None:
    manual = replace(VALUES, mode="manual")
    shadow = replace(manual, is_shadow=True)
    plan = create_plan(session, shadow, actor=PERSON, now=NOW)
    assert plan.next_due_at == NOW + timedelta(minutes=2)
    update_plan(session, plan.id, manual, actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at is None
    update_plan(session, plan.id, shadow, actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at == NOW + timedelta(minutes=2)
    disable_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert plan.next_due_at is None


def test_disabling_cancels_what_is_pending_and_lets_the_rest_finish(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = create(session)
    pending, running = (make_anomaly(session, group) for _each in range(2))
    for anomaly in (pending, running):
        start_attempt(session, anomaly, plan, TICK)
    command = commands.find_live(session, group.id, running.trade_no)
    assert command is not None
    hand_to(session, command, make_agent(session, group))
    disable_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    session.flush()
    session.expire_all()
    attempts = session.scalars(select(Attempt).order_by(Attempt.id)).unique()
    assert [attempt.outcome for attempt in attempts] == ["cancelled", None]
    assert [session.get_one(Anomaly, one.id).state for one in (pending, running)] == ["open", "repairing"]
    assert (command.state, command.cancel_requested_at) == ("running", None)


def test_a_plan_in_use_is_neither_deleted_nor_given_another_fixer(
    session: WorkSession, group: SystemGroup
) -> None:
    plan = create(session)
    start_attempt(session, make_anomaly(session, group), plan, TICK)
    with pytest.raises(ConflictError) as refused:
        delete_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert refused.value.code == "plan_in_use"
    other = replace(VALUES, fixer_code="rechargeTimeoutFixServiceImpl")
    with pytest.raises(ConflictError):
        update_plan(session, plan.id, other, actor=PERSON, now=NOW, reason=WHY)


@pytest.mark.parametrize("state", ["open", "repairing", "waiting", "exhausted", "needs_human"])
def test_a_plan_is_in_use_until_each_repair_it_began_has_ended(
    session: WorkSession, group: SystemGroup, state: str
) -> None:
    plan = create(session)
    anomaly = make_anomaly(session, group, state=state, attempts=1)
    make_anomaly(session, group)
    assert usage_of(session, plan) == PlanUsage(unended=1, reported=1)
    with pytest.raises(ConflictError) as refused:
        delete_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert (refused.value.code, refused.value.params["n"]) == ("plan_in_use", 1)
    anomaly.state = "repaired"
    delete_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert session.scalars(select(Plan)).unique().all() == []


def test_what_is_of_another_fixer_or_group_keeps_no_plan(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    make_anomaly(session, group, state="waiting", attempts=1, fixer_code="rechargeTimeoutFixServiceImpl")
    make_anomaly(session, make_group(session, "PBMS"), state="waiting", attempts=1)
    assert usage_of(session, plan) == PlanUsage(unended=0, reported=0)


def test_whatever_changes_or_ends_a_plan_takes_a_reason(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    for act in (enable_plan, disable_plan, delete_plan):
        with pytest.raises(InvalidError, match="reason_required"):
            act(session, plan.id, actor=PERSON, now=NOW, reason=" ")
    wrong = replace(VALUES, max_retries=100)
    with pytest.raises(FormErrors) as refused:
        update_plan(session, plan.id, wrong, actor=PERSON, now=NOW, reason="")
    assert [error.field for error in refused.value.errors] == ["max_retries", "reason"]
    assert update_plan(session, plan.id, VALUES, actor=PERSON, now=NOW, reason="").version == 1


def test_an_idle_plan_is_deleted_with_its_versions(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    delete_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY)
    assert session.scalars(select(Plan)).unique().all() == []
    assert session.scalars(select(PlanVersion)).all() == []


def test_nobody_manages_plans_of_a_group_they_may_not_see(session: WorkSession, group: SystemGroup) -> None:
    plan = create(session)
    with pytest.raises(NotFoundError):
        disable_plan(session, plan.id, actor=PERSON, now=NOW, reason=WHY, group_ids=[])
    with pytest.raises(FormErrors):
        create_plan(session, VALUES, actor=PERSON, now=NOW, group_ids=[])


def test_pairs_name_the_plans_of_a_mode(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, mode="manual")
    make_plan(session, group, fixer_code="rechargeTimeoutFixServiceImpl", state="disabled", mode="manual")
    assert queries.pairs(session, None, mode="manual") == ((group.id, FIXER),)


def test_agents_say_which_fixers_they_offer(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group, codes=(FIXER, "ownFixer"))
    make_agent(session, group, codes=("otherFixer",), is_online=False)
    assert offer_counts(session, [group.id], NOW) == {(group.id, FIXER): 1, (group.id, "ownFixer"): 1}
    assert agents_offering(session, group.id, "ownFixer", NOW) == (agent.name,)
    assert agents_offering(session, group.id, "Fixer", NOW) == ()
    assert agents_offering(session, group.id, None, NOW) == ()
    agent.stopped_here = "查账"
    session.flush()
    assert agents_offering(session, group.id, "ownFixer", NOW) == (f"{agent.name}（本地已停止）",)
    assert fixer_choices(session) == [*KNOWN_FIXERS, "otherFixer", "ownFixer"]


def test_of_many_agents_that_offer_a_fixer_the_first_are_named(
    session: WorkSession, group: SystemGroup
) -> None:
    for number in range(7):
        make_agent(session, group, name=f"pbap-{number}")
    assert agents_offering(session, group.id, FIXER, NOW) == (*(f"pbap-{n}" for n in range(5)), "…")


def test_a_group_has_one_recurring_collection(session: WorkSession, group: SystemGroup) -> None:
    for hours in (24, 48):
        values = ScheduleValues(sys_code="PBAP", cron="0 0 * * * ?", window_hours=hours)
        schedule = set_schedule(session, values, actor=PERSON, now=NOW)
    assert (schedule.window_hours, schedule.next_due_at) == (48, NOW + timedelta(hours=1))
    off = replace(values, is_enabled=False)
    with pytest.raises(FormErrors, match="reason_required"):
        set_schedule(session, off, actor=PERSON, now=NOW)
    set_schedule(session, off, actor=PERSON, now=NOW, reason=WHY)
    assert schedule.next_due_at is None
    with pytest.raises(InvalidError, match="reason_required"):
        delete_schedule(session, group.id, actor=PERSON, now=NOW, reason="")
    delete_schedule(session, group.id, actor=PERSON, now=NOW, reason=WHY)
    assert find_schedule(session, group.id) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "nonsense"}, "cron"),
        ({"zone": "x"}, "zone"),
        ({"window_hours": 0}, "window_hours"),
        ({"fixer_codes": ("Wrong",)}, "codes"),
        ({"sys_code": "NONE"}, "sys_code"),
    ],
)
def test_a_wrong_schedule_names_its_field(
    session: WorkSession, group: SystemGroup, changes: dict[str, object], field: str
) -> None:
    values = replace(ScheduleValues(sys_code="PBAP", cron="0 0 * * * ?"), **changes)
    with pytest.raises(FormErrors) as refused:
        set_schedule(session, values, actor=PERSON, now=NOW)
    assert refused.value.field == field
    assert session.scalars(select(Command)).all() == []
