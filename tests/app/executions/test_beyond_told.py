"""What a click goes beyond is told beforehand and afterwards, with its trades and their amounts."""

import re

import pytest
from flask import Flask

from app.anomalies.models import Anomaly
from app.anomalies.states import hold_all
from app.audit.models import AuditEntry
from app.executions.bulk_models import BulkRepair
from app.extensions import db
from app.guards import breakers
from app.guards.verdicts import holds
from app.guards.words import beyond_words
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of
from tests.factories import FIXER, NOW, make_agent, make_anomaly, make_group, make_plan

pytestmark = pytest.mark.each_engine

FAILURES = {"failed": 10, "attempts": 12, "threshold": 10}
WHY = "已熔断：一小时内最后 12 次自动执行中，失败、待人工或结果未知 10 次，达到阈值 10 次"
OTHER = "interWithdrawFixServiceImpl"
EVIDENCE = re.compile(r'<div class="evidence (\w*)">.*?<b>(.*?)</b><p>(.*?)</p>', re.DOTALL)


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    """PBAP with a plan of no limits, and another that nothing is open of."""
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
        make_plan(session, group, fixer_code=OTHER)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(group: SystemGroup, **columns: object) -> int:
    with unit_of_work() as session:
        return make_anomaly(session, group, **columns).id


def trip(scope: str = "plan") -> int:
    """Trip the breaker of the first plan, or of the group; return its id."""
    with unit_of_work() as session:
        plan = session.scalars(db.select(Plan).where(Plan.fixer_code == FIXER)).unique().one()
        subject = breakers.subject_of_plan(plan) if scope == "plan" else breakers.subject_of_group(plan.group)
        breakers.trip(session, subject, "failures", FAILURES, NOW)
        return breakers.tripped_of(session, [subject])[0].id


def set_limit(amount_minor: int | None) -> None:
    with unit_of_work() as session:
        plan = session.scalars(db.select(Plan).where(Plan.fixer_code == FIXER)).unique().one()
        plan.limit_trade_minor = amount_minor


def told(visitor: Visitor, url: str) -> list[tuple[str, ...]]:
    """Return the colour, title and text of what a form has to say."""
    return EVIDENCE.findall(visitor.get(url, target="dialog").text)


def test_the_form_of_many_tells_in_red_what_each_breaker_stops(operator: Visitor, group: SystemGroup) -> None:
    for amount in (10_000, 20_000):
        plant(group, amount_minor=amount)
    plant(group, amount_minor=40_000, fixer_code=OTHER)
    plant(group, amount_minor=70_000, has_moved_money=True)
    of_plan, of_group = trip(), trip("group")
    found = told(operator, "/exceptions/repair?all=1")
    assert (
        "red",
        f"方案 {FIXER} {WHY}",
        f"其中 2 笔，¥300.00，不再自动开始；点击仍会执行，并以“越过熔断 #{of_plan}”记入审计。",
    ) in found
    assert (
        "red",
        f"系统组别 PBAP {WHY}",
        f"其中 3 笔，¥700.00，不再自动开始；点击仍会执行，并以“越过熔断 #{of_group}”记入审计。",
    ) in found


def test_the_form_of_one_tells_in_red_of_a_breaker(operator: Visitor, group: SystemGroup) -> None:
    identity, breaker_id = plant(group, amount_minor=20_000), trip()
    assert (
        "red",
        f"方案 {FIXER} {WHY}",
        f"这一笔 ¥200.00，不再自动开始；点击仍会执行，并以“越过熔断 #{breaker_id}”记入审计。",
    ) in told(operator, f"/anomalies/{identity}/repair")


@pytest.mark.parametrize("url", ["/anomalies/{}/repair", "/exceptions/repair?all=1"])
def test_what_has_moved_money_goes_beyond_no_breaker(operator: Visitor, group: SystemGroup, url: str) -> None:
    url = url.format(plant(group, has_moved_money=True))
    trip()
    assert "已熔断" not in operator.get(url, target="dialog").text
    assert operator.send(url, {"reason": "继续"}).status_code == 303
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    assert "breakers" not in entry.detail


def test_a_bulk_repair_tells_of_the_breaker_it_went_beyond(operator: Visitor, group: SystemGroup) -> None:
    for amount in (10_000, 20_000):
        plant(group, amount_minor=amount)
    breaker_id = trip()
    assert operator.send("/exceptions/repair?all=1", {"reason": "恢复生产"}).status_code == 303
    bulk_id = db.session.scalars(db.select(BulkRepair.id)).one()
    for url in (f"/exceptions/bulk/{bulk_id}", "/audit?action=bulk.beyond"):
        text = operator.get(url).text
        assert f"越过熔断 #{breaker_id}：1 笔，¥100.00" in text
        assert "超限" not in text
    assert "批量修复越过限额或熔断" in operator.get(f"/exceptions/bulk/{bulk_id}").text


def test_a_click_beyond_both_tells_of_both(operator: Visitor, group: SystemGroup) -> None:
    identity, breaker_id = plant(group, amount_minor=20_000), trip()
    set_limit(10_000)
    assert operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"}).status_code == 303
    words = f"越过熔断 #{breaker_id}：1 笔，¥200.00 · 超出限额：1 笔，¥200.00"
    assert words in operator.get("/audit?action=attempt.start").text
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    assert words in operator.get(f"/audit/{entry.id}").text


def test_what_was_audited_before_amounts_were_kept_has_words_too(app: Flask) -> None:
    with app.test_request_context():
        assert beyond_words({"breakers": [1, 2], "over_limit": 3}) == "越过熔断 #1, #2 · 超出限额：3 笔"
        assert beyond_words({"total": 3}) == ""


def test_amounts_that_nobody_can_read_are_no_amount(operator: Visitor, group: SystemGroup) -> None:
    plant(group, amount_minor=None)
    plant(group, amount_minor=0)
    plant(group, amount_minor=300, currency="USD")
    trip()
    ((_color, _title, text),) = [
        one for one in told(operator, "/exceptions/repair?all=1") if "熔断" in one[1]
    ]
    assert text.startswith("其中 3 笔，¥0.00 + USD 3.00，")


def test_limits_that_were_removed_hold_nothing_while_a_breaker_stands(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, amount_minor=20_000)
    set_limit(10_000)
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, identity)
        plan = session.scalars(db.select(Plan).where(Plan.fixer_code == FIXER)).unique().one()
        hold_all(session, [(anomaly, holds(session, plan, [anomaly], NOW)[identity])], NOW)
    assert "其中 1 笔超出限额" in operator.get("/exceptions/repair?all=1", target="dialog").text
    trip()
    set_limit(None)
    for url in (
        "/exceptions/repair?all=1",
        f"/exceptions/repair?ids={identity}",
        f"/anomalies/{identity}/repair",
    ):
        text = operator.get(url, target="dialog").text
        assert "已熔断" in text
        assert "超出限额" not in text


def test_going_on_with_a_bulk_repair_tells_of_it_too(operator: Visitor, group: SystemGroup) -> None:
    for amount in (10_000, 20_000, 30_000):
        plant(group, amount_minor=amount)
    assert operator.send("/exceptions/repair?all=1", {"reason": "恢复生产"}).status_code == 303
    url = f"/exceptions/bulk/{db.session.scalars(db.select(BulkRepair.id)).one()}"
    assert operator.send(f"{url}/pause", {"reason": "先看看"}).status_code == 303
    paused = told(operator, f"{url}/resume")
    assert [(one[0], one[1]) for one in paused] == [("amber", "已暂停：由 li.na 暂停")]
    breaker_id = trip()
    set_limit(25_000)
    assert told(operator, f"{url}/resume") == [
        *paused,
        (
            "red",
            f"方案 {FIXER} {WHY}",
            f"其中 2 笔，¥500.00，不再自动开始；点击仍会执行，并以“越过熔断 #{breaker_id}”记入审计。",
        ),
        ("amber", "其中 1 笔超出限额", "共 ¥300.00。点击执行会记为超限执行。"),
    ]
    assert told(operator, f"{url}/stop") == paused
