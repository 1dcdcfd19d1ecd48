"""Repair plans as pages: shown to all, configured by operators, and a cron expression explained."""

import json
from datetime import timedelta

import pytest
from flask import Flask

from app.agents.models import Command
from app.audit.models import AuditEntry
from app.extensions import db
from app.guards import breakers
from app.plans.models import Plan, PlanVersion, Tick
from app.plans.product_setup import create_product_plans
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of
from tests.factories import FIXER, NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

VALUES = {
    "sys_code": "PBAP",
    "fixer_code": "rechargeTimeoutFixServiceImpl",
    "max_retries": "5",
    "retry_cron": "0 0/10 * * * ?",
    "mode": "auto",
    "state": "normal",
    "level": "2",
    "description": "充值处理中",
    "zone": "Asia/Shanghai",
    "reason": "上线",
}


@pytest.fixture
def plan_id(app: Flask) -> int:
    """A plan of PBAP that pbap-1 can carry out, one of PBMS that nobody can, and ZFIN without plans."""
    with unit_of_work() as session:
        group, other = make_group(session), make_group(session, "PBMS")
        make_agent(session, group, name="pbap-1", codes=(FIXER,))
        plan = make_plan(session, group, description="TEST")
        make_plan(session, other, mode="manual", level=0)
        make_group(session, "ZFIN")
    return plan.id


@pytest.fixture
def operator(app: Flask, plan_id: int) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP", "ZFIN"])


def plans() -> list[Plan]:
    db.session.expire_all()
    return list(db.session.scalars(db.select(Plan).order_by(Plan.id)).unique())


def stored(plan_id: int) -> Plan:
    return next(plan for plan in plans() if plan.id == plan_id)


# ---- the list


def test_a_viewer_sees_the_plans_of_their_groups_and_no_buttons(app: Flask, plan_id: int) -> None:
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    page = viewer.get("/plans").text
    assert f'id="plan-{plan_id}"' in page
    assert "每 2 分钟" in page
    assert page.count('id="plan-') == 1
    assert "/edit" not in page
    assert "/plans/new" not in page
    assert viewer.get(f"/plans/{plan_id + 1}").status_code == 404


@pytest.mark.parametrize("path", ["new", "1/edit", "1/copy", "1/disable", "1/delete"])
def test_a_viewer_configures_nothing(app: Flask, plan_id: int, path: str) -> None:
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert viewer.get(f"/plans/{path}").status_code == 403
    assert viewer.post("/plans/product", {"sys_code": "PBAP"}).status_code == 403


def test_plans_need_a_login(app: Flask) -> None:
    assert Visitor(app).get("/plans").status_code == 302
    assert Visitor(app).get("/plans/cron?expression=x").status_code == 302


def test_the_columns_stand_in_the_order_of_the_product_document(operator: Visitor) -> None:
    page = operator.get("/plans", target="plans-table").text
    names = ["系统组别", "修复代号", "最大重试次数", "重试间隔", "执行方式", "方案状态", "方案等级", "描述"]
    places = [page.index(f">{name}</th>") for name in names]
    assert places == sorted(places)


def test_the_fragment_is_the_table_of_the_page(operator: Visitor) -> None:
    fragment = operator.get("/plans?state=normal&group=PBAP", target="plans-table").text
    assert fragment.lstrip().startswith('<div id="plans-table"')
    assert "<html" not in fragment


@pytest.mark.parametrize("asked", ["mode=manual", "state=disabled", "level=0", "fixer=x"])
def test_filters_narrow_the_list(operator: Visitor, asked: str) -> None:
    assert "没有符合条件的方案" in operator.get(f"/plans?{asked}").text


def test_a_plan_whose_fixer_no_online_agent_offers_says_so(app: Flask, plan_id: int) -> None:
    admin = visitor_of(app, "boss", "admin")
    page = admin.get("/plans", target="plans-table").text
    assert page.count("没有在线客户端支持该修复代号") == 1
    assert "没有在线客户端支持该修复代号" in admin.get(f"/plans/{plan_id + 1}").text


def test_a_plan_tells_what_became_of_its_trades_in_a_day(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        group = stored(plan_id).group
        recent, old = {"closed_at": NOW - timedelta(hours=1)}, {"closed_at": NOW - timedelta(hours=30)}
        make_anomaly(session, group, state="repaired", resolution="success", **recent)
        make_anomaly(session, group, state="repaired", resolution="success", **old)
        make_anomaly(session, group, state="repaired", resolution="confirmed_failed", **recent)
        make_anomaly(session, group, state="exhausted")
    page = operator.get("/plans", target="plans-table").text
    for words in ("修复为成功 1", "确认失败 1", "未结 1", "待人工 1"):
        assert words in page


# ---- forms


def test_a_new_form_begins_with_the_defaults_of_the_product_document(operator: Visitor) -> None:
    page = operator.get("/plans/new").text
    assert 'name="max_retries" value="0"' in page
    assert 'value="0 0/2 * * * ?"' in page
    for name, value in (("mode", "auto"), ("state", "normal"), ("level", "3")):
        assert f'name="{name}" value="{value}" checked' in page
    assert "每 2 分钟" in page


def test_a_new_plan_is_timed_in_the_zone_of_its_group(operator: Visitor) -> None:
    with unit_of_work() as session:
        session.scalars(
            db.select(SystemGroup).where(SystemGroup.sys_code == "ZFIN")
        ).one().zone = "Asia/Tokyo"
    assert 'value="Asia/Tokyo"' in operator.get("/plans/new?group=ZFIN").text
    operator.post("/plans/new", {**VALUES, "sys_code": "ZFIN", "zone": ""})
    assert plans()[-1].zone == "Asia/Tokyo"


def test_the_eight_plans_of_a_group_are_timed_in_its_zone(session: WorkSession) -> None:
    make_group(session, zone="Asia/Tokyo")
    made = create_product_plans(session, "PBAP", actor=PERSON, now=NOW, group_ids=None)
    assert {plan.zone for plan in made} == {"Asia/Tokyo"}


def test_a_plan_is_created_with_its_version_and_due_time(operator: Visitor) -> None:
    answer = operator.post("/plans/new", VALUES)
    assert answer.status_code == 303
    plan = plans()[-1]
    assert (plan.fixer_code, plan.max_retries, plan.level) == ("rechargeTimeoutFixServiceImpl", 5, 2)
    assert plan.next_due_at == NOW + timedelta(minutes=10)
    version = db.session.scalars(db.select(PlanVersion)).one()
    assert (version.actor_name, version.reason, version.version) == ("li.na", "上线", 1)


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"sys_code": ""}, "sys_code", "必填"),
        ({"level": ""}, "level", "必填"),
        ({"mode": ""}, "mode", "必填"),
        ({"state": ""}, "state", "必填"),
        ({"sys_code": "PBMS"}, "sys_code", "没有这个系统组别"),
        ({"fixer_code": ""}, "fixer_code", "必填"),
        ({"fixer_code": "InterRecharge"}, "fixer_code", "首字符小写"),
        ({"fixer_code": FIXER}, "fixer_code", "已有方案"),
        ({"max_retries": "100"}, "max_retries", "0 到 99"),
        ({"max_retries": "-1"}, "max_retries", "0 到 99"),
        ({"max_retries": "many"}, "max_retries", "0 到 99"),
        ({"retry_cron": "0 61 * * * ?"}, "retry_cron", "分：61 不在 0 到 59 之间"),
        ({"retry_cron": "0 0 0 30 2 ?"}, "retry_cron", "不会再有触发时间"),
        ({"mode": "sometimes"}, "mode", "没有这个选项"),
        ({"state": "paused"}, "state", "没有这个选项"),
        ({"level": "9"}, "level", "没有这个选项"),
        ({"description": "x" * 501}, "description", "最多 500"),
        ({"zone": "Moon"}, "zone", "没有这个时区"),
        ({"reason": "x" * 501}, "reason", "最多 500"),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_kept(
    operator: Visitor, change: dict[str, str], field: str, words: str
) -> None:
    typed = {**VALUES, **change}
    answer = operator.post("/plans/new", typed)
    assert answer.status_code == 400
    assert words in answer.text.split(f'id="{field}-error"')[1].split("</p>")[0]
    assert len(plans()) == 2
    for name in ("fixer_code", "max_retries", "retry_cron", "zone"):
        assert f'value="{typed[name]}"' in answer.text
    assert typed["description"] in answer.text


def test_every_wrong_field_is_told_at_once(operator: Visitor) -> None:
    answer = operator.post("/plans/new", {**VALUES, "max_retries": "x", "retry_cron": "x", "zone": "x"})
    for field in ("max_retries", "retry_cron", "zone"):
        assert f'id="{field}-error"' in answer.text


def test_a_changed_plan_keeps_both_versions(operator: Visitor, plan_id: int) -> None:
    values = {**VALUES, "fixer_code": FIXER, "version": "1", "max_retries": "7", "reason": "银行变慢"}
    assert operator.post(f"/plans/{plan_id}/edit", values).status_code == 303
    operator.post(f"/plans/{plan_id}/edit", {**values, "version": "2", "max_retries": "9"})
    assert (stored(plan_id).version, stored(plan_id).max_retries) == (3, 9)
    page = operator.get(f"/plans/{plan_id}").text
    assert "<del>7</del>" in page
    assert "<ins>9</ins>" in page
    assert "银行变慢" in page


def test_a_plan_changed_by_another_meanwhile_is_not_overwritten(operator: Visitor, plan_id: int) -> None:
    values = {**VALUES, "fixer_code": FIXER, "version": "1"}
    operator.post(f"/plans/{plan_id}/edit", values)
    answer = operator.post(f"/plans/{plan_id}/edit", {**values, "max_retries": "42"})
    assert answer.status_code == 409
    assert "li.na 已改过这个方案" in answer.text
    assert 'value="42"' in answer.text
    assert stored(plan_id).max_retries == 5


def test_a_copy_begins_with_the_values_of_the_other(operator: Visitor, plan_id: int) -> None:
    page = operator.get(f"/plans/{plan_id}/copy").text
    assert 'action="/plans/new"' in page
    assert f'value="{FIXER}"' in page
    assert ">TEST</textarea>" in page


# ---- one plan


def test_disabling_takes_a_reason_and_stops_the_ticks(operator: Visitor, plan_id: int) -> None:
    url = f"/plans/{plan_id}/disable"
    answer = operator.post(url, {"reason": " "})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert operator.post(url, {"reason": "月末停用"}).status_code == 303
    assert (stored(plan_id).state, stored(plan_id).next_due_at) == ("disabled", None)
    operator.post(f"/plans/{plan_id}/enable", {"reason": "恢复"})
    assert stored(plan_id).state == "normal"
    entries = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "plan.update")).all()
    assert [entry.reason for entry in entries] == ["月末停用", "恢复"]


@pytest.mark.parametrize(("state", "action"), [("normal", "enable"), ("disabled", "disable")])
def test_a_plan_that_is_so_already_is_told_so(
    operator: Visitor, plan_id: int, state: str, action: str
) -> None:
    if state == "disabled":
        operator.post(f"/plans/{plan_id}/disable", {"reason": "月末停用"})
    answer = operator.post(f"/plans/{plan_id}/{action}", {"reason": "恢复"})
    assert answer.status_code == 409
    assert "已经是这个状态" in answer.text
    assert stored(plan_id).state == state


def test_a_plan_in_use_is_not_deleted(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, stored(plan_id).group, state="repairing", attempts=1)
    answer = operator.post(f"/plans/{plan_id}/delete", {"reason": "不用了"})
    assert answer.status_code == 409
    for page in (answer.text, operator.get(f"/plans/{plan_id}/delete").text):
        assert "还有 1 笔修复没有结束，不能删除" in page
        assert "outcome=unended" in page
        assert f"/plans/{plan_id}/disable" in page
    with unit_of_work() as session:
        session.get_one(type(anomaly), anomaly.id).state = "repaired"
    assert operator.post(f"/plans/{plan_id}/delete", {"reason": "不用了"}).status_code == 303
    assert [plan.id for plan in plans()] == [plan_id + 1]
    assert db.session.scalars(db.select(Command)).all() == []


def test_a_tripped_breaker_is_said_before_anything_is_typed(operator: Visitor, plan_id: int) -> None:
    assert "已熔断" not in operator.get(f"/plans/{plan_id}/edit").text
    with unit_of_work() as session:
        breakers.trip(session, breakers.subject_of_plan(stored(plan_id)), "failures", {}, NOW)
        breaker_id = breakers.list_tripped(session, None)[0].id
        make_anomaly(session, stored(plan_id).group, state="repairing", attempts=1)
    dialog = operator.get(f"/plans/{plan_id}/delete").text
    assert ("方案已熔断，不能删除" in dialog, 'name="reason"' in dialog) == (True, False)
    form = operator.get(f"/plans/{plan_id}/edit").text
    assert "方案已熔断，现在不能改换系统组别或修复代号" in form
    assert "还有 1 笔修复没有结束，现在不能改换系统组别、修复代号，也不能转为影子运行" in form
    for page in (dialog, form):
        assert f'href="/breakers/{breaker_id}"' in page
        assert "outcome=unended" in page
    assert "已熔断" not in operator.get(f"/plans/{plan_id}/copy").text


def test_a_refused_move_links_what_is_in_its_way(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        make_anomaly(session, stored(plan_id).group, state="repairing", attempts=1)
    moved = {**VALUES, "fixer_code": "rechargeTimeoutFixServiceImpl", "version": "1"}
    answer = operator.post(f"/plans/{plan_id}/edit", moved)
    assert (answer.status_code, "outcome=unended" in answer.text) == (409, True)


def test_deleting_says_how_many_anomalies_lose_their_plan(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        for _each in range(2):
            make_anomaly(session, stored(plan_id).group)
    assert "2 笔异常将没有方案" in operator.get(f"/plans/{plan_id}/delete").text
    assert operator.post(f"/plans/{plan_id}/delete", {"reason": "不用了"}).status_code == 303
    assert [plan.id for plan in plans()] == [plan_id + 1]


def test_the_page_shows_ticks_and_those_missed(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        for minutes, missed in ((4, 0), (2, 3)):
            due_at = NOW - timedelta(minutes=minutes)
            session.add(
                Tick(subject="plan", subject_id=plan_id, due_at=due_at, at=due_at, missed=missed, commands=6)
            )
    page = operator.get(f"/plans/{plan_id}").text
    assert page.count('id="tick-') == 2
    assert "错过 3 次" in page


def test_the_drawer_shows_what_the_page_shows(operator: Visitor, plan_id: int) -> None:
    page = operator.get(f"/plans/{plan_id}").text
    drawer = operator.get(f"/plans/{plan_id}", target="drawer").text
    assert "<html" not in drawer
    for words in ("版本历史", "触发记录", "接下来 5 次", FIXER):
        assert words in drawer
        assert words in page


def test_the_page_of_a_plan_that_goes_by_no_cron_promises_no_times(operator: Visitor, plan_id: int) -> None:
    with unit_of_work() as session:
        plan = session.get_one(Plan, plan_id)
        plan.mode, plan.next_due_at = "manual", None
    page = operator.get(f"/plans/{plan_id}").text
    assert "cron-said" in page
    assert "接下来" not in page


# ---- the document's plans, and cron


def test_a_group_without_plans_gets_those_of_the_document_by_one_click(operator: Visitor) -> None:
    assert "为 ZFIN 建立产品文档的八个方案" in operator.get("/plans").text
    assert operator.post("/plans/product", {"sys_code": "ZFIN"}).status_code == 303
    made = [plan for plan in plans() if plan.group.sys_code == "ZFIN"]
    assert len(made) == 8
    values = {(plan.max_retries, plan.retry_cron, plan.mode) for plan in made}
    assert values == {(5, "0 0/10 * * * ?", "auto")}
    assert operator.post("/plans/product", {"sys_code": "ZFIN"}).status_code == 409
    assert operator.post("/plans/product", {"sys_code": "PBMS"}).status_code == 404


def test_a_cron_is_explained_with_its_next_five_times(operator: Visitor) -> None:
    url = "/plans/cron?retry_cron=0+0+9+?+*+MON&zone=Asia/Shanghai"
    answer = operator.get(url, target="")
    assert answer.text.count("<li>") == 5
    assert "2026-03-09 09:00:00" in answer.text
    assert "周一" in answer.text


def test_a_cron_without_a_zone_is_explained_in_that_of_its_group(operator: Visitor) -> None:
    with unit_of_work() as session:
        make_group(session, "PBJP", zone="Asia/Tokyo")
    answer = operator.get("/plans/cron?retry_cron=0+0+9+*+*+?&sys_code=PBJP", target="")
    assert "Asia/Tokyo" in answer.text
    answer = operator.get("/plans/cron?retry_cron=0+0+9+*+*+?&sys_code=PBJP&zone=Europe/London", target="")
    assert "Europe/London" in answer.text


@pytest.mark.parametrize("name", ["expression", "cron", "retry_cron"])
def test_a_wrong_cron_says_which_field_and_why(operator: Visitor, name: str) -> None:
    answer = operator.get(f"/plans/cron?{name}=0+0+25+*+*+?")
    assert answer.status_code == 400
    assert "时：25 不在 0 到 23 之间" in answer.text
    assert operator.get(f"/plans/cron?{name}=0+0+25+*+*+?", target="").status_code == 200


def test_nothing_typed_has_nothing_to_say(operator: Visitor) -> None:
    assert operator.get("/plans/cron", target="").text.strip() == ""


def test_a_limit_that_a_lower_one_leaves_without_effect_is_told_once_saved(
    operator: Visitor, plan_id: int
) -> None:
    limits = {"limit_trade_minor": "5000", "limit_hour_minor": "2000", "limit_day_minor": "9000"}
    url, values = f"/plans/{plan_id}/edit", {**VALUES, "fixer_code": FIXER, "reason": "先限住"}
    answer = operator.send(url, {**values, **limits}, target="dialog")
    toast = json.loads(answer.headers["HX-Trigger"])["toast"]
    assert toast["level"] == "warning"
    assert toast["text"].endswith("已保存；单笔金额上限高于每小时金额上限，不起作用")
    assert "高于每小时金额上限，不起作用" in operator.get(f"/plans/{plan_id}").text
    answer = operator.send(url, {**values, **limits, "limit_hour_minor": "5000"}, target="dialog")
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["level"] == "success"
    assert "不起作用" not in operator.get(f"/plans/{plan_id}").text
