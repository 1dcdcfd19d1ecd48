"""A click goes beyond no limit and no breaker that its form did not show."""

from collections.abc import Callable

import pytest
from flask import Flask

from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.anomalies.states import hold_all
from app.audit.models import AuditEntry
from app.executions import results
from app.executions.bulk_models import BulkRepair
from app.executions.models import Execution
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.extensions import db
from app.guards import breakers
from app.guards.verdicts import holds
from app.plans.models import Plan
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import NOW, PERSON, finished, hand_to, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

FAILURES = {"failed": 10, "attempts": 12, "threshold": 10}
GREW = "没有执行：您打开之后，限额或熔断有了变化"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    """PBAP with a plan of no limits."""
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(group: SystemGroup, **columns: object) -> int:
    with unit_of_work() as session:
        return make_anomaly(session, group, **columns).id


def the_plan(session: WorkSession) -> Plan:
    return session.scalars(db.select(Plan)).unique().one()


def limit(amount_minor: int | None) -> None:
    """Change what a trade may move at most; no tick has come since."""
    with unit_of_work() as session:
        the_plan(session).limit_trade_minor = amount_minor


def limit_and_hold() -> None:
    """Lower the limit, and have a tick hold what is over it."""
    limit(1)
    with unit_of_work() as session:
        plan = the_plan(session)
        found = list(session.scalars(db.select(Anomaly)).unique())
        held = holds(session, plan, found, NOW)
        hold_all(session, [(one, held[one.id]) for one in found], NOW)


def limit_the_hour() -> None:
    with unit_of_work() as session:
        the_plan(session).limit_hour_minor = 1


def trip() -> None:
    with unit_of_work() as session:
        breakers.trip(session, breakers.subject_of_plan(the_plan(session)), "failures", FAILURES, NOW)


def trip_the_group() -> None:
    with unit_of_work() as session:
        subject = breakers.subject_of_group(the_plan(session).group)
        breakers.trip(session, subject, "failures", FAILURES, NOW)


UNSEEN = [
    pytest.param(lambda: limit(1), "超出限额", "over_limit", id="limit"),
    pytest.param(limit_the_hour, "超出限额", "over_limit", id="hour"),
    pytest.param(trip, "方案 interRechargeFixServiceImpl 已熔断", "breakers", id="breaker"),
    pytest.param(trip_the_group, "系统组别 PBAP 已熔断", "breakers", id="breaker of the group"),
]
"""What comes while a form lies open, how the form tells it, and what the audit trail calls it."""
HELD = pytest.param(limit_and_hold, "超出限额", "over_limit", id="held")


def states() -> set[str]:
    db.session.expire_all()
    return set(db.session.scalars(db.select(Anomaly.state)))


def audited(action: str) -> dict[str, object]:
    return db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == action)).one().detail


@pytest.mark.parametrize(("happens", "told", "name"), [*UNSEEN, HELD])
@pytest.mark.parametrize("action", ["repair", "retry"])
def test_a_repair_of_one_goes_beyond_only_what_its_form_showed(
    operator: Visitor, group: SystemGroup, happens: Callable[[], None], told: str, name: str, action: str
) -> None:
    url = f"/anomalies/{plant(group)}/{action}"
    opened = operator.hidden(url)
    happens()
    answer = operator.post(url, {**opened, "reason": "客户来电"}, target="dialog")
    assert (answer.status_code, states()) == (409, {"open"})
    assert GREW in answer.text
    assert told in answer.text
    assert operator.post(url, {**hidden_fields(answer.text), "reason": "已核对"}).status_code == 303
    assert audited("attempt.start" if action == "repair" else "attempt.retry")[name]


@pytest.mark.parametrize(("happens", "told", "name"), UNSEEN)
def test_a_retry_of_an_execution_goes_beyond_only_what_its_form_showed(
    operator: Visitor, group: SystemGroup, happens: Callable[[], None], told: str, name: str
) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.merge(group))
        attempt_one(session, anomaly.id, Order("click", PERSON, "客户来电", NOW), group_ids=None)
        command = session.scalars(db.select(Command)).one()
        agent = make_agent(session, session.merge(group))
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, "needs_human"), NOW)
    url = f"/executions/{db.session.scalars(db.select(Execution.id)).one()}/retry"
    opened = operator.hidden(url)
    happens()
    answer = operator.post(url, {**opened, "reason": "客户来电"}, target="dialog")
    assert (answer.status_code, states()) == (409, {"needs_human"})
    assert GREW in answer.text
    assert told in answer.text
    assert operator.post(url, {**hidden_fields(answer.text), "reason": "已核对"}).status_code == 303
    assert audited("attempt.retry")[name]


@pytest.mark.parametrize(("happens", "told", "name"), [*UNSEEN, HELD])
@pytest.mark.parametrize("how", ["ticked", "all", "one ticked"])
def test_a_repair_of_many_goes_beyond_only_what_its_form_showed(
    operator: Visitor, group: SystemGroup, happens: Callable[[], None], told: str, name: str, how: str
) -> None:
    ids = [plant(group, trade_no=f"CO{number}") for number in range(1 if how == "one ticked" else 3)]
    url = "/exceptions/repair?" + ("all=1" if how == "all" else "&".join(f"ids={one}" for one in ids))
    opened = operator.hidden(url)
    happens()
    # What it showed stays what was decided on, whatever is shown beside a wanting reason.
    wanting = operator.post("/exceptions/repair", {**opened, "reason": ""}, target="dialog")
    assert wanting.status_code == 400
    again = {**hidden_fields(wanting.text), "reason": "恢复生产"}
    answer = operator.post("/exceptions/repair", again, target="dialog")
    assert (answer.status_code, states()) == (409, {"open"})
    assert GREW in answer.text
    assert told in answer.text
    seen = {**hidden_fields(answer.text), "reason": "已核对"}
    assert operator.post("/exceptions/repair", seen).status_code == 303
    assert audited("attempt.start" if how == "one ticked" else "bulk.beyond")[name]


@pytest.mark.parametrize(
    "url", ["/anomalies/{}/repair", "/exceptions/repair?ids={}", "/exceptions/repair?all=1"]
)
def test_less_than_the_form_showed_to_go_beyond_is_sent(
    operator: Visitor, group: SystemGroup, url: str
) -> None:
    identity = plant(group)
    limit_and_hold()
    trip()
    opened = operator.hidden(url.format(identity))
    limit(None)
    with unit_of_work() as session:
        (breaker,) = breakers.list_tripped(session, None)
        breakers.reset(session, breaker.id, reason="已查明", actor=PERSON, group_ids=None, now=NOW)
    sent = operator.post(url.format(identity).partition("?")[0], {**opened, "reason": "客户来电"})
    assert (sent.status_code, states()) == (303, {"repairing"})


def test_the_form_of_all_counts_what_is_over_a_limit_together(operator: Visitor, group: SystemGroup) -> None:
    for number in range(4):
        plant(group, trade_no=f"CO{number}", amount_minor=10_000)
    plant(group, trade_no="GOES-ON", amount_minor=10_000, has_moved_money=True)
    with unit_of_work() as session:
        the_plan(session).limit_hour_minor = 20_000
    assert "其中 2 笔超出限额" in operator.get("/exceptions/repair?all=1", target="dialog").text
    assert operator.send("/exceptions/repair?all=1", {"reason": "恢复生产"}).status_code == 303
    assert db.session.scalars(db.select(BulkRepair.total)).all() == [5]


def test_a_retry_of_what_waits_for_a_person_tells_of_the_limit(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, state="needs_human", amount_minor=20_000)
    limit(10_000)
    text = operator.get(f"/anomalies/{identity}/retry", target="dialog").text
    assert "单笔金额上限 ¥100.00，这一笔 ¥200.00。执行会记为超限执行。" in text


def test_a_form_that_showed_one_limit_is_not_taken_for_another(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    limit(1)
    opened = operator.hidden(f"/anomalies/{identity}/repair")
    limit(None)
    limit_the_hour()
    answer = operator.post(f"/anomalies/{identity}/repair", {**opened, "reason": "客户来电"})
    assert (answer.status_code, states()) == (409, {"open"})
