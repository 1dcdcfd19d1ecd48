"""Limits and breakers as pages: typed, shown, explained, filtered and reset, in both languages."""

import html
import re

import pytest
from flask import Flask

from app.agents import stops
from app.agents.models import Agent
from app.agents.stops import Target
from app.anomalies.models import Anomaly
from app.anomalies.states import Hold, hold_all
from app.audit.models import AuditEntry
from app.extensions import db
from app.guards import breakers
from app.guards.models import Breaker
from app.plans.models import Plan, PlanVersion
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.plans.test_plan_views import VALUES
from tests.app.visitor import Visitor, visitor_of
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

LIMITS = {
    "limit_trade_minor": "5,000",
    "limit_hour_minor": "20000.50",
    "limit_hour_count": "30",
    "limit_day_minor": "",
    "limit_day_count": "200",
    "breaker_failures": "5",
    "breaker_attempts": "",
    "breaker_returns": "0",
    "breaker_hour_minor": "100000",
}
FAILURES = {
    "failed": 10,
    "attempts": 12,
    "threshold": 10,
    "outcomes": {"failed": 4, "needs_human": 6},
    "trade_nos": ["T-broke"],
}


@pytest.fixture
def plan_id(app: Flask) -> int:
    """A plan of PBAP with an anomaly over its limit and one that is not; PBMS is another's."""
    with unit_of_work() as session:
        group = make_group(session)
        make_group(session, "PBMS")
        make_agent(session, group)
        plan = make_plan(session, group, limit_trade_minor=10_000)
        make_anomaly(session, group, trade_no="T-within")
        held = make_anomaly(session, group, trade_no="T-over", amount_minor=2_000_000)
        figures = {"limit": 10_000, "used": 0, "amount": 2_000_000, "currency": "CNY"}
        hold_all(session, [(held, Hold("limit_trade_minor", figures, "terms"))], NOW)
    return plan.id


@pytest.fixture
def operator(app: Flask, plan_id: int) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def trip(plan_id: int, scope: str = "plan", code: str = "failures") -> int:
    """Trip the breaker of the plan or its group; return its id."""
    with unit_of_work() as session:
        plan = session.get_one(Plan, plan_id)
        subject = breakers.subject_of_plan(plan) if scope == "plan" else breakers.subject_of_group(plan.group)
        figures = FAILURES if code == "failures" else {"count": 3, "threshold": 3, "trade_nos": ["T-again"]}
        breakers.trip(session, subject, code, figures, NOW)
    return breakers.list_tripped(db.session, None)[0].id


def stop(scope: str) -> None:
    """Stop everything, PBAP, or its only agent, by the page or on its host."""
    with unit_of_work() as session:
        agent = session.scalars(db.select(Agent)).one()
        if scope == "here":
            agent.stopped_here = "查账"
            return
        target = {"all": Target(), "group": Target(agent.group_id), "agent": Target(agent_id=agent.id)}[scope]
        stops.set_stop(session, target, reason="查账", actor=PERSON, group_ids=None, now=NOW)


def stored(plan_id: int) -> Plan:
    db.session.expire_all()
    return db.session.get_one(Plan, plan_id)


def held_id() -> int:
    return db.session.scalars(db.select(Anomaly.id).where(Anomaly.trade_no == "T-over")).one()


def in_english(visitor: Visitor) -> Visitor:
    visitor.post("/locale", {"locale": "en", "next": "/"})
    return visitor


# ---- what is typed


def test_limits_are_typed_in_yuan_kept_in_fen_and_shown_again(operator: Visitor, plan_id: int) -> None:
    answer = operator.post(
        f"/plans/{plan_id}/edit", {**VALUES, **LIMITS, "fixer_code": stored(plan_id).fixer_code}
    )
    assert answer.status_code == 303
    plan = stored(plan_id)
    assert (plan.limit_trade_minor, plan.limit_hour_minor, plan.limit_day_minor) == (500_000, 2_000_050, None)
    assert (plan.limit_hour_count, plan.limit_day_count) == (30, 200)
    assert (plan.breaker_failures, plan.breaker_attempts, plan.breaker_returns) == (5, None, 0)
    form = operator.get(f"/plans/{plan_id}/edit", target="dialog").text
    assert 'value="20000.50"' in form
    assert re.findall(r'<details class="more"( open)?><summary>(\w+)<', form) == [
        ("", "高级"),
        (" open", "自动执行限额"),
        (" open", "熔断"),
    ]


def test_what_changed_of_the_limits_stands_in_versions_and_audit(operator: Visitor, plan_id: int) -> None:
    values = {**VALUES, "fixer_code": stored(plan_id).fixer_code}
    operator.post(f"/plans/{plan_id}/edit", {**values, **LIMITS})
    operator.post(f"/plans/{plan_id}/edit", {**values, **LIMITS, "limit_trade_minor": "6000"})
    version = db.session.scalars(db.select(PlanVersion).where(PlanVersion.version == 3)).one()
    assert version.values["limit_trade_minor"] == 600_000
    entries = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "plan.update")).all()
    assert entries[-1].detail["changed"] == {"limit_trade_minor": [500_000, 600_000]}
    page = operator.get(f"/plans/{plan_id}").text
    assert "<del>5,000.00</del>" in page
    assert "<ins>6,000.00</ins>" in page


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("limit_trade_minor", "0", "大于 0 的金额"),
        ("limit_hour_minor", "12.345", "大于 0 的金额"),
        ("limit_day_minor", "viel", "大于 0 的金额"),
        ("limit_hour_count", "0", "须为 1 到 1000000"),
        ("limit_day_count", "-3", "须为 1 到 1000000"),
        ("breaker_failures", "1001", "须为 0 到 1000"),
        ("breaker_attempts", "9", "须为 10 到 1000"),
        ("breaker_returns", "x", "须为 0 到 1000"),
        ("breaker_hour_minor", "-1", "大于 0 的金额"),
    ],
)
def test_a_wrong_limit_is_told_at_its_field_and_changes_nothing(
    operator: Visitor, plan_id: int, field: str, typed: str, words: str
) -> None:
    values = {**VALUES, "fixer_code": stored(plan_id).fixer_code, field: typed}
    answer = operator.post(f"/plans/{plan_id}/edit", values, target="dialog")
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert words in answer.text
    assert f'value="{typed}"' in answer.text
    assert stored(plan_id).version == 1


def test_the_plan_says_what_limits_it(operator: Visitor, plan_id: int) -> None:
    page = operator.get(f"/plans/{plan_id}").text
    assert "单笔金额上限" in page
    assert "一小时内最后 20 次中失败 10 次" in page
    assert "Amount a trade at most" in in_english(operator).get(f"/plans/{plan_id}").text


def test_a_group_keeps_thresholds_of_its_own(app: Flask, plan_id: int) -> None:
    admin = visitor_of(app, "boss", "admin")
    group = db.session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBAP")).one()
    values = {"name": "收单", "zone": "UTC", "trade_table": "T", "is_enabled": "on", "breaker_failures": "40"}
    assert admin.send(f"/users/groups/{group.id}", values).status_code == 303
    db.session.expire_all()
    assert (group.breaker_failures, group.breaker_returns) == (40, None)
    wrong = admin.send(f"/users/groups/{group.id}", {**values, "breaker_attempts": "39"}, target="dialog")
    assert wrong.status_code == 400
    assert "须为 40 到 1000" in wrong.text
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "group.update")).one()
    assert entry.detail["breaker_failures"] == [None, 40]


# ---- what is held


def test_a_held_anomaly_says_so_in_both_lists_and_in_full_on_its_page(
    operator: Visitor, plan_id: int
) -> None:
    why = "单笔金额上限 ¥100.00，这一笔 ¥20,000.00"
    for page in ("/anomalies", "/exceptions"):
        assert operator.get(page).text.count(why) == 1, page
    page = operator.get(f"/anomalies/{held_id()}").text
    assert "超出限额，待人工执行" in page
    assert f"{why}。自动方案不再执行这一笔" in page
    english = in_english(operator).get(f"/anomalies/{held_id()}").text
    assert "Over a limit: waits for a person&#39;s click" in english
    assert "At most ¥100.00 a trade, this one is ¥20,000.00. The automatic plan" in english


def test_what_is_held_is_found_by_a_filter_and_stands_first(operator: Visitor, plan_id: int) -> None:
    for page in ("/anomalies?held=yes", "/exceptions?held=yes"):
        text = operator.get(page).text
        assert "T-over" in text
        assert "T-within" not in text
    assert operator.get("/anomalies?held=maybe").status_code == 400
    with unit_of_work() as session:
        make_anomaly(session, session.get_one(Plan, plan_id).group, trade_no="T-newest")
    text = operator.get("/exceptions").text
    assert text.index("T-over") < text.index("T-newest") < text.index("T-within")


def test_a_click_on_what_is_held_says_that_it_goes_beyond_the_limit(operator: Visitor, plan_id: int) -> None:
    dialog = operator.get(f"/anomalies/{held_id()}/repair", target="dialog").text
    assert "执行会记为超限执行" in dialog
    assert "其中 1 笔超出限额" in operator.get("/exceptions/repair?all=1", target="dialog").text
    answer = operator.send(f"/anomalies/{held_id()}/repair", {"reason": "客户来电催办"})
    assert answer.status_code == 303
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "attempt.start")).one()
    assert (entry.actor_name, entry.detail["over_limit"]) == ("li.na", 1)


def test_home_counts_what_a_limit_leaves_to_a_click(operator: Visitor, plan_id: int) -> None:
    home = operator.get("/").text
    assert (
        '<a href="/exceptions?held=yes"><span>超出限额待执行</span><span class="tag amber num">1</span>'
        in home
    )
    assert "需人处理 1" in home


# ---- breakers


def test_a_tripped_breaker_is_explained_on_plan_list_and_home(operator: Visitor, plan_id: int) -> None:
    breaker_id = trip(plan_id)
    why = "一小时内最后 12 次自动执行中，失败、待人工或结果未知 10 次，达到阈值 10 次"
    for page in ("/", f"/plans/{plan_id}", f"/breakers/{breaker_id}"):
        text = operator.get(page).text
        assert "已熔断" in text, page
        assert why in text, page
    assert f'href="/breakers/{breaker_id}"' in operator.get("/plans").text
    english = in_english(operator).get(f"/breakers/{breaker_id}").text
    assert "Of the last 12 automatic attempts within an hour 10 failed" in english


def test_home_tells_of_several_breakers_in_one_box(operator: Visitor, plan_id: int) -> None:
    ids = [trip(plan_id), trip(plan_id, "group", "returns")]
    box = operator.get("/home/breakers").text
    assert box.count('class="evidence red"') == 1
    assert "2 处熔断，不再自动开始新的修复，等人复位" in box
    assert [one for one in ids if f'<a href="/breakers/{one}"' not in box] == []


def test_a_groups_breaker_is_told_at_each_of_its_plans_and_at_the_group(app: Flask, plan_id: int) -> None:
    breaker_id = trip(plan_id, "group", "returns")
    admin = visitor_of(app, "boss", "admin")
    group = stored(plan_id).group
    for page in (f"/plans/{plan_id}", f"/users/groups/{group.id}", "/"):
        text = admin.get(page).text
        assert "系统组别 PBAP 已熔断" in text, page
        assert "24 小时内有 3 笔已修复的交易再次异常" in text, page
    assert f'href="/breakers/{breaker_id}"' in admin.get("/users/groups").text
    page = admin.get(f"/breakers/{breaker_id}").text
    assert ("trade_no=T-again" in page, "再次异常的交易" in page) == (True, True)


def test_the_page_of_a_breaker_names_the_trades_that_failed(app: Flask, plan_id: int) -> None:
    admin = visitor_of(app, "boss", "admin")
    page = admin.get(f"/breakers/{trip(plan_id)}").text
    assert ("trade_no=T-broke" in page, "失败的交易" in page) == (True, True)


def test_an_operator_resets_it_with_a_reason(operator: Visitor, plan_id: int) -> None:
    breaker_id = trip(plan_id)
    refused = operator.post(f"/breakers/{breaker_id}/reset", {"reason": " "}, target="dialog")
    assert refused.status_code == 400
    assert "请写明原因" in refused.text
    assert operator.post(f"/breakers/{breaker_id}/reset", {"reason": "银行已恢复"}).status_code == 303
    db.session.expire_all()
    breaker = db.session.get_one(Breaker, breaker_id)
    assert (breaker.reset_by, breaker.reset_reason) == ("li.na", "银行已恢复")
    for page in ("/", f"/plans/{plan_id}", "/plans"):
        assert "已熔断" not in operator.get(page).text, page
    assert "银行已恢复" in operator.get(f"/breakers/{breaker_id}").text
    again = operator.post(f"/breakers/{breaker_id}/reset", {"reason": "再次"}, target="dialog")
    assert again.status_code == 409
    assert "li.na 已经复位过了" in again.text
    assert "复位熔断" in operator.get("/audit").text


def test_who_looked_into_an_hours_amount_does_not_reset_the_failures_that_came_since(
    operator: Visitor, plan_id: int
) -> None:
    breaker_id = trip(plan_id, code="amount")
    url = f"/breakers/{breaker_id}/reset"
    opened = operator.hidden(url)
    assert trip(plan_id) == breaker_id
    refused = operator.post(url, {**opened, "reason": "金额已核对"}, target="dialog")
    assert refused.status_code == 409
    assert "又因另一个原因熔断" in refused.text
    assert "失败、待人工或结果未知" in refused.text
    assert operator.send(url, {"reason": "银行已恢复"}).status_code == 303


def test_earlier_trips_are_listed(operator: Visitor, plan_id: int) -> None:
    first = trip(plan_id)
    operator.post(f"/breakers/{first}/reset", {"reason": "银行已恢复"})
    second = trip(plan_id, code="returns")
    page = operator.get(f"/breakers/{second}").text
    assert "以前的熔断" in page
    assert f'href="/breakers/{first}"' in page


@pytest.mark.parametrize("scope", ["plan", "group"])
@pytest.mark.parametrize("code", ["amount", "failures"])
@pytest.mark.parametrize("stopped", ["all", "group", "agent", "here"])
def test_under_a_stop_its_page_promises_no_click_and_its_reset_no_repair(
    operator: Visitor, plan_id: int, scope: str, code: str, stopped: str
) -> None:
    url = f"/breakers/{trip(plan_id, scope, code)}"
    assert "点击仍可执行" in operator.get(url).text
    assert "恢复自动执行" in operator.get(f"{url}/reset").text
    stop(stopped)
    page = operator.get(url).text
    assert "点击仍可执行" not in page
    assert "点击也不执行" in page
    form = operator.get(f"{url}/reset", target="dialog").text
    for text in (page, form):
        assert "紧急停止中，不开始任何修复" in text
        assert "查账" in text
        assert 'href="/stops"' in text
    assert "另外的停止解除之前，仍不自动开始" in form
    assert "恢复自动执行" not in form
    assert operator.send(f"{url}/reset", {"reason": "银行已恢复"}).status_code == 303
    after = operator.get(url).text
    assert "现在仍不自动开始" in after
    assert "恢复自动执行" not in after


@pytest.mark.parametrize(
    ("columns", "why"),
    [({"is_shadow": True}, "方案为影子运行，只预测"), ({"state": "disabled"}, "方案已失效")],
)
def test_the_breaker_of_a_plan_that_repairs_nothing_promises_no_click_and_no_repair(
    operator: Visitor, plan_id: int, columns: dict[str, object], why: str
) -> None:
    url = f"/breakers/{trip(plan_id)}"
    with unit_of_work() as session:
        plan = session.get_one(Plan, plan_id)
        for name, value in columns.items():
            setattr(plan, name, value)
    assert "点击仍可执行" not in operator.get(f"/plans/{plan_id}").text
    page, form = operator.get(url).text, operator.get(f"{url}/reset", target="dialog").text
    assert (why in page, "点击仍可执行" in page) == (True, False)
    assert (why in form, "恢复自动执行" in form) == (True, False)
    assert operator.send(f"{url}/reset", {"reason": "银行已恢复"}).status_code == 303
    assert "恢复自动执行" not in operator.get(url).text


def test_the_page_and_reset_of_a_plans_breaker_tell_of_its_groups(operator: Visitor, plan_id: int) -> None:
    group_breaker = trip(plan_id, "group")
    with unit_of_work() as session:
        subject = breakers.subject_of_plan(session.get_one(Plan, plan_id))
        breakers.trip(session, subject, "failures", FAILURES, NOW)
    own = db.session.scalars(db.select(Breaker.id).where(Breaker.scope == "plan")).one()
    for page in (f"/breakers/{own}", f"/breakers/{own}/reset"):
        text = operator.get(page).text
        assert f'href="/breakers/{group_breaker}"' in text
        assert "系统组别 PBAP 已熔断" in text
    assert "另外的停止解除之前，仍不自动开始" in operator.get(f"/breakers/{own}/reset").text
    assert f'href="/breakers/{own}"' not in operator.get(f"/breakers/{group_breaker}/reset").text


def test_a_viewer_reads_and_may_not_reset(app: Flask, plan_id: int) -> None:
    breaker_id = trip(plan_id)
    viewer = visitor_of(app, "wang.fang", "viewer", groups=["PBAP"])
    page = viewer.get(f"/breakers/{breaker_id}")
    assert page.status_code == 200
    assert f"/breakers/{breaker_id}/reset" not in page.text
    assert viewer.post(f"/breakers/{breaker_id}/reset", {"reason": "恢复"}).status_code == 403


def test_who_may_not_see_the_group_sees_no_breaker(app: Flask, plan_id: int) -> None:
    breaker_id = trip(plan_id)
    other = visitor_of(app, "zhao.min", "operator", groups=["PBMS"])
    assert other.get(f"/breakers/{breaker_id}").status_code == 404
    assert other.post(f"/breakers/{breaker_id}/reset", {"reason": "恢复"}).status_code == 404
    assert "已熔断" not in other.get("/").text


# ---- the list


def listed(page: str) -> list[str]:
    """The ids of the breakers of a page, in order."""
    return re.findall(r'id="breaker-(\d+)"', page)


def reset(breaker_id: int) -> None:
    with unit_of_work() as session:
        values = {"reason": "已查清", "actor": PERSON, "group_ids": None, "now": NOW}
        breakers.reset(session, breaker_id, **values)  # type: ignore[arg-type]


def test_the_list_shows_what_is_tripped_first_and_offers_its_reset(operator: Visitor, plan_id: int) -> None:
    of_group = trip(plan_id, "group", "returns")
    of_plan = trip(plan_id)
    reset(of_plan)
    page = operator.get("/breakers").text
    assert listed(page) == [str(of_group), str(of_plan)]
    assert "已修复的交易再次异常" in page
    assert f"{PERSON.name} · " in page
    assert "已查清" in page
    assert f"/breakers/{of_group}/reset" in page
    assert f"/breakers/{of_plan}/reset" not in page
    assert 'href="/breakers" aria-current="page"' in page
    assert 'href="/breakers"' in operator.get("/plans").text


def test_the_list_is_narrowed_to_what_is_tripped_and_to_a_group(operator: Visitor, plan_id: int) -> None:
    of_plan = trip(plan_id)
    reset(of_plan)
    of_group = trip(plan_id, "group", "returns")
    assert listed(operator.get("/breakers?state=tripped").text) == [str(of_group)]
    assert listed(operator.get("/breakers?state=reset", target="breakers-table").text) == [str(of_plan)]
    assert listed(operator.get("/breakers?group=PBAP").text) == [str(of_group), str(of_plan)]
    assert operator.get("/breakers?state=nonsense").status_code == 400


def test_the_breaker_of_a_deleted_plan_asks_for_no_reset(operator: Visitor, plan_id: int) -> None:
    breaker_id = trip(plan_id)
    with unit_of_work() as session:
        session.execute(db.delete(PlanVersion))
        session.delete(session.get_one(Plan, plan_id))
    page = operator.get("/breakers").text
    assert "方案已删除" in page
    assert "/reset" not in page
    assert "/reset" not in operator.get(f"/breakers/{breaker_id}").text
    assert listed(operator.get("/breakers?state=tripped").text) == []


def test_the_list_is_paged_and_hides_other_groups(app: Flask, operator: Visitor, plan_id: int) -> None:
    of_group = trip(plan_id, "group", "returns")
    for _ in range(60):
        reset(trip(plan_id))
    page = operator.get("/breakers").text
    assert len(listed(page)) == 50
    assert listed(page)[0] == str(of_group)
    after = re.search(r'rel="next" href="([^"]+)"', page)
    assert after is not None
    assert len(listed(operator.get(html.unescape(after.group(1))).text)) == 11
    stranger = visitor_of(app, "wang.wu", "operator", groups=["PBMS"])
    assert listed(stranger.get("/breakers").text) == []
    assert "No circuit breaker has tripped" in in_english(stranger).get("/breakers").text


def test_a_tripped_plan_is_not_deleted_and_says_why(operator: Visitor, plan_id: int) -> None:
    trip(plan_id)
    answer = operator.post(f"/plans/{plan_id}/delete", {"reason": "重新来"})
    assert answer.status_code == 409
    assert "方案已熔断，不能删除" in answer.text
    answer = in_english(operator).post(f"/plans/{plan_id}/delete", {"reason": "重新来"})
    assert "Cannot be deleted: the plan's breaker has tripped" in html.unescape(answer.text)
    assert stored(plan_id).id == plan_id


@pytest.mark.parametrize("url", ["/exceptions", "/anomalies"])
def test_a_row_that_is_held_shows_its_figures_without_a_pointer(
    operator: Visitor, plan_id: int, url: str
) -> None:
    text = re.sub(r'<[^>]*class="visually-hidden"[^>]*>[^<]*<', "<", operator.get(url).text)
    shown = html.unescape(re.sub(r"<[^>]+>", " ", text))
    assert "单笔金额上限 ¥100.00，这一笔 ¥20,000.00" in shown
