"""Attempts by a person: one, many, all of a filter, and cancelling them."""

import pytest
from sqlalchemy import select

from app.agents import commands
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.audit.models import AuditEntry
from app.errors import ConflictError, InvalidError, NotFoundError
from app.executions import selection
from app.executions.models import Attempt, Step
from app.executions.queries import ExecutionFilter, anomaly_detail, get_execution, list_executions
from app.executions.service import attempt_one, cancel_attempt
from app.executions.starting import Order
from app.keyset import Cut
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import NOW, PERSON, hand_to, make_agent, make_anomaly, make_plan

CLICK = Order("click", PERSON, "the customer called", NOW)


def test_a_click_attempts_and_is_audited(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, mode="manual")
    anomaly = make_anomaly(session, group)
    attempt = attempt_one(session, anomaly.id, CLICK, group_ids=[group.id])
    session.flush()
    entry = session.scalars(select(AuditEntry)).one()
    assert (attempt.trigger, attempt.reason, anomaly.state) == ("click", CLICK.reason, "repairing")
    assert (entry.action, entry.actor_name, entry.reason) == ("attempt.start", "li.na", CLICK.reason)


@pytest.mark.parametrize(
    ("plan_columns", "columns", "code"),
    [
        (None, {}, "no_plan"),
        ({"state": "disabled"}, {}, "plan_disabled"),
        ({}, {"fixer_code": None}, "no_fixer"),
        ({}, {"state": "needs_human"}, "needs_human"),
        ({}, {"state": "repairing"}, "repairing"),
        ({}, {"state": "healed"}, "closed"),
    ],
)
def test_a_click_is_refused_with_the_reason(
    session: WorkSession,
    group: SystemGroup,
    plan_columns: dict[str, str] | None,
    columns: dict[str, str],
    code: str,
) -> None:
    if plan_columns is not None:
        make_plan(session, group, **plan_columns)
    anomaly = make_anomaly(session, group, **columns)
    with pytest.raises(ConflictError) as refused:
        attempt_one(session, anomaly.id, CLICK, group_ids=None)
    assert refused.value.code == code
    assert session.scalars(select(Attempt)).unique().all() == []


def test_a_click_needs_a_reason(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    with pytest.raises(InvalidError) as refused:
        attempt_one(session, anomaly.id, Order("click", PERSON, "  ", NOW), group_ids=None)
    assert (refused.value.code, refused.value.field) == ("reason_required", "reason")


def test_nobody_repairs_in_a_group_they_may_not_see(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    with pytest.raises(NotFoundError):
        attempt_one(session, anomaly.id, CLICK, group_ids=[group.id + 1])


def plant_selection(session: WorkSession, group: SystemGroup) -> None:
    make_plan(session, group, mode="manual")
    for _each in range(4):
        make_anomaly(session, group, amount_minor=2_500)
    make_anomaly(session, group, state="needs_human")
    make_anomaly(session, group, fixer_code="withdrawTimeoutFixServiceImpl")


def test_the_preview_says_what_would_be_sent_and_what_skipped(
    session: WorkSession, group: SystemGroup
) -> None:
    plant_selection(session, group)
    preview = selection.preview(session, AnomalyFilter(), NOW)
    assert (preview.count, preview.amounts) == (4, {"CNY": 10_000})
    assert [(skip.code, skip.count) for skip in preview.skipped] == [("needs_human", 1), ("no_plan", 1)]


def test_amounts_of_several_currencies_are_not_added(session: WorkSession, group: SystemGroup) -> None:
    plant_selection(session, group)
    make_anomaly(session, group, amount_minor=1_200, currency="USD")
    preview = selection.preview(session, AnomalyFilter(), NOW)
    assert preview.amounts == {"CNY": 10_000, "USD": 1_200}
    assert [share.amounts for share in preview.by_plan] == [preview.amounts]


def test_all_of_a_filter_is_chosen_page_by_page(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "PAGE", 3)
    plant_selection(session, group)
    whole = selection.choose(session, AnomalyFilter(), 10, NOW)
    ids = session.scalars(select(Anomaly.id).order_by(Anomaly.id)).all()
    assert ([one.anomaly_id for one in whole.chosen], whole.skipped) == (list(ids[:4]), 2)
    assert whole.is_all
    part = selection.choose(session, AnomalyFilter(), 2, NOW)
    assert (len(part.chosen), part.is_all) == (2, False)


def start(session: WorkSession, group: SystemGroup) -> Attempt:
    make_plan(session, group)
    return attempt_one(session, make_anomaly(session, group).id, CLICK, group_ids=None)


def test_an_attempt_not_yet_sent_is_cancelled_at_once(session: WorkSession, group: SystemGroup) -> None:
    attempt = start(session, group)
    cancel_attempt(session, attempt.id, reason="wrong one", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    session.expire_all()
    anomaly = session.get_one(Anomaly, attempt.anomaly_id)
    assert (attempt.outcome, anomaly.state) == ("cancelled", "open")


def test_a_running_attempt_is_asked_to_stop(session: WorkSession, group: SystemGroup) -> None:
    attempt = start(session, group)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    hand_to(session, command, make_agent(session, group))
    cancel_attempt(session, attempt.id, reason="wrong one", actor=PERSON, group_ids=None, now=NOW)
    assert (command.state, command.cancel_requested_at, attempt.outcome) == ("running", NOW, None)


def test_an_attempt_is_not_cancelled_once_money_has_begun_to_move(
    session: WorkSession, group: SystemGroup
) -> None:
    attempt = start(session, group)
    session.add(
        Step(
            attempt_id=attempt.id,
            seq=1,
            name="pay",
            key="k",
            state="intended",
            moves_money=True,
            started_at=NOW,
        )
    )
    session.flush()
    with pytest.raises(ConflictError) as refused:
        cancel_attempt(session, attempt.id, reason="stop", actor=PERSON, group_ids=None, now=NOW)
    assert refused.value.code == "money_moved"


def test_executions_are_listed_and_opened_with_their_attempts(
    session: WorkSession, group: SystemGroup
) -> None:
    attempt = start(session, group)
    session.expire_all()
    page = list_executions(session, ExecutionFilter(group_ids=[group.id], states=("repairing",)), Cut())
    assert [row.id for row in page.rows] == [attempt.execution_id]
    assert list_executions(session, ExecutionFilter(outcome="failed"), Cut()).rows == []
    assert get_execution(session, attempt.execution_id, None).attempts == [attempt]
    detail = anomaly_detail(session, attempt.anomaly_id, None)
    assert detail.execution is not None
    assert detail.plan is not None
    assert [event.code for event in detail.events] == ["attempt_click"]
