"""Shadow as pages: the switch and its mark, a plan's results, one prediction, the dry run of an anomaly."""

import json
import re

import msgspec
import pytest
from flask import Flask

from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.extensions import db
from app.plans.models import Plan
from app.plans.prediction_models import Prediction
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.plans.test_plan_views import VALUES
from tests.app.visitor import Visitor, visitor_of
from tests.factories import FIXER, NOW, facts_of, make_agent, make_anomaly, make_group, make_plan, row_of

TABLE = "predictions-table"
VOUCHER = "GA260302040107000042"


def make_prediction(
    session: WorkSession, anomaly: Anomaly, plan: Plan | None, **columns: object
) -> Prediction:
    row = row_of(anomaly.trade_no, 1)
    values: dict[str, object] = {
        "trigger": "shadow",
        "actor_name": "piculus",
        "fixer_code": FIXER,
        "outcome": "repair",
        "steps": ["post_first", "write_row", "read_back"],
        "row": row,
        "row_hash": anomaly.row_hash,
        "after": row | {"ACC_TRD_STATUS": 1, "FAILED_MSG": "充值成功修复"},
        "digest": "d",
        "at": NOW,
        "looked_at": NOW,
        "plan_id": plan and plan.id,
        "plan_version": plan and plan.version,
    }
    made = Prediction(
        group_id=anomaly.group_id,
        anomaly_id=anomaly.id,
        trade_no=anomaly.trade_no,
        **(values | columns),
    )
    session.add(made)
    session.flush()
    return made


@pytest.fixture
def plan(app: Flask) -> Plan:
    """A plan of PBAP in shadow."""
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group, name="pbap-1")
        return make_plan(session, group, is_shadow=True)


@pytest.fixture
def operator(app: Flask, plan: Plan) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(plan: Plan, trade_no: str, **columns: object) -> int:
    """A prediction of a new anomaly of the plan."""
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.get_one(SystemGroup, plan.group_id), trade_no=trade_no)
        return make_prediction(session, anomaly, plan, **columns).id


def trades(text: str) -> list[str]:
    return re.findall(r'class="row-link mono"[^>]*>([^<]+)<', text)


def shadow_figure(text: str, outcome: str) -> str:
    matched = re.search(rf'outcome={outcome}">(.*?)</a>', text)
    assert matched
    return matched[1]


def test_the_form_puts_a_plan_into_shadow_and_takes_it_out(operator: Visitor, plan: Plan) -> None:
    page = operator.get(f"/plans/{plan.id}/edit").text
    assert re.search(r'name="is_shadow" checked', page)
    values = {
        "sys_code": "PBAP",
        "fixer_code": FIXER,
        "max_retries": "0",
        "retry_cron": "0 0/2 * * * ?",
        "mode": "auto",
        "state": "normal",
        "level": "3",
        "zone": "Asia/Shanghai",
        "reason": "看过了",
    }
    operator.post(f"/plans/{plan.id}/edit", values)
    db.session.expire_all()
    assert db.session.get_one(Plan, plan.id).is_shadow is False
    operator.post(f"/plans/{plan.id}/edit", {**values, "is_shadow": "on"})
    db.session.expire_all()
    assert db.session.get_one(Plan, plan.id).is_shadow is True
    assert "影子运行" in operator.get(f"/plans/{plan.id}").text


def test_a_plan_at_work_says_before_and_at_the_tick_that_it_cannot_be_put_into_shadow(
    operator: Visitor, plan: Plan
) -> None:
    with unit_of_work() as session:
        session.get_one(Plan, plan.id).is_shadow = False
        make_anomaly(session, session.get_one(SystemGroup, plan.group_id), state="waiting", attempts=1)
    url = f"/plans/{plan.id}/edit"
    assert (
        "还有 1 笔修复没有结束，现在不能改换系统组别、修复代号，也不能转为影子运行" in operator.get(url).text
    )
    refused = operator.post(url, {**VALUES, "fixer_code": FIXER, "is_shadow": "on"})
    assert refused.status_code == 409
    (tick,) = re.findall(r'<input[^>]* id="is_shadow"[^>]*>', refused.text)
    assert 'aria-invalid="true" aria-describedby="is_shadow-error"' in tick


def test_a_new_plan_is_not_in_shadow_unless_ticked(operator: Visitor, plan: Plan) -> None:
    page = operator.get("/plans/new").text
    assert re.search(r'id="is_shadow" name="is_shadow">', page)


def test_a_plan_in_shadow_is_marked_in_the_list_and_on_its_page(operator: Visitor, plan: Plan) -> None:
    for url in ("/plans", f"/plans/{plan.id}"):
        assert re.search(r'class="tag blue">.*?影子</span>', operator.get(url).text)
    assert "影子运行：只预测，不执行" in operator.get(f"/plans/{plan.id}").text


def test_the_plans_page_counts_what_was_foretold_and_what_then_happened(
    operator: Visitor, plan: Plan
) -> None:
    plant(plan, "CO1")
    plant(plan, "CO2", result="matched", differing=[], actual={}, actual_by="piculus")
    plant(plan, "CO3", outcome="wait", after=None)
    plant(plan, "CO4", is_newest=False)
    text = operator.get(f"/plans/{plan.id}").text
    figures = dict(re.findall(r'\?(\w+=\w+)"><b class="num \w*">(\d+)</b>', text))
    assert figures["outcome=repair"] == "2"
    assert (figures["outcome=wait"], figures["outcome=human"]) == ("1", "0")
    assert (figures["result=matched"], figures["result=differs"]) == ("1", "0")


def test_the_plans_page_sums_up_what_it_would_repair(operator: Visitor, plan: Plan) -> None:
    plant(plan, "CO1")
    plant(plan, "CO2")
    plant(plan, "CO3", outcome="wait", after=None)
    plant(plan, "CO4", is_newest=False)
    text = operator.get(f"/plans/{plan.id}").text
    assert "¥200.00" in shadow_figure(text, "repair")
    assert "<small>" not in shadow_figure(text, "wait")


def test_a_prediction_tells_the_amount_its_look_read(operator: Visitor, plan: Plan) -> None:
    facts = msgspec.to_builtins(facts_of("CO1"))
    prediction_id = plant(plan, "CO1", facts=facts | {"amount_minor": 12_345, "currency": "CNY"})
    for url in (f"/plans/{plan.id}/predictions", f"/anomalies/predictions/{prediction_id}"):
        assert "¥123.45" in operator.get(url).text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["CO2", "CO1"]),
        ("outcome=wait", ["CO2"]),
        ("result=differs", ["CO1"]),
        ("outcome=human", []),
    ],
)
def test_predictions_are_listed_and_narrowed(
    operator: Visitor, plan: Plan, query: str, found: list[str]
) -> None:
    plant(plan, "CO1", result="differs", differing=["FAILED_MSG"], actual={}, actual_by="outside")
    plant(plan, "CO2", outcome="wait", after=None, steps=[], reason="bank")
    text = operator.get(f"/plans/{plan.id}/predictions?{query}", target=TABLE).text
    assert trades(text) == found


def test_predictions_are_paged(operator: Visitor, plan: Plan) -> None:
    for number in range(60):
        plant(plan, f"CO{number:03d}")
    found, url = [], f"/plans/{plan.id}/predictions"
    while url:
        text = operator.get(url).text
        found += trades(text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        url = following.group(1).replace("&amp;", "&") if following else ""
    assert found == [f"CO{number:03d}" for number in reversed(range(60))]


def test_a_wrong_filter_is_told_at_its_field(operator: Visitor, plan: Plan) -> None:
    answer = operator.get(f"/plans/{plan.id}/predictions?result=perhaps")
    assert answer.status_code == 400
    assert 'id="result-error"' in answer.text


def test_a_prediction_shows_what_was_foretold_beside_what_happened(operator: Visitor, plan: Plan) -> None:
    actual = row_of("CO1", 1) | {"ACC_TRD_STATUS": 1, "ACC_TRD_NUM": VOUCHER, "FAILED_MSG": "人工补账"}
    identity = plant(
        plan,
        "CO1",
        result="differs",
        differing=["FAILED_MSG"],
        actual=actual,
        actual_by="outside",
        compared_at=NOW,
    )
    for url in (f"/anomalies/predictions/{identity}", f"/anomalies/{_anomaly_of(identity)}"):
        text = operator.get(url).text
        row = re.findall(r'data-column="FAILED_MSG".*?</tr>', text, re.DOTALL)[-1]
        assert "充值成功修复" in row
        assert re.search(r'<span class="red">.*?人工补账</span>', row, re.DOTALL)
        assert "记账时分配" in text
        assert "与预测不同" in text


@pytest.mark.parametrize(
    ("outcome", "ended", "words"),
    [
        ("repair", "needs_human", "预测“会修复”，结果“待人工”"),
        ("repair", "exhausted", "预测“会修复”，结果“重试耗尽”"),
        ("human", "repaired", "预测“会转人工”，结果“已修复”"),
    ],
)
def test_what_ended_otherwise_is_told_in_words_and_counted(
    operator: Visitor, plan: Plan, outcome: str, ended: str, words: str
) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.get_one(SystemGroup, plan.group_id), state=ended)
        after = {} if outcome == "repair" else {"after": None, "steps": []}
        told = {"result": "differs", "ended": ended, "compared_at": NOW}
        made = make_prediction(session, anomaly, plan, outcome=outcome, **told, **after)
    for url in (f"/anomalies/predictions/{made.id}", f"/anomalies/{anomaly.id}"):
        assert words in operator.get(url).text
    text = operator.get(f"/plans/{plan.id}/predictions?result=differs").text
    assert anomaly.trade_no in text
    assert words[-4:].strip("“”") in text.split(f'id="prediction-{made.id}"')[1].split("</tr>")[0]


def test_what_differs_is_told_in_the_words_of_its_columns(operator: Visitor, plan: Plan) -> None:
    differing = ["TRD_STATUS", "FAILED_MSG"]
    made = plant(plan, "CO1", result="differs", differing=differing, actual={}, actual_by="outside")
    row = operator.get(f"/plans/{plan.id}/predictions").text.split(f'id="prediction-{made}"')[1]
    assert "交易状态、失败信息" in row.split("</tr>")[0]
    page = operator.get(f"/anomalies/predictions/{made}").text
    assert "<p>交易状态、失败信息</p>" in page
    assert FIXER in page


def test_a_prediction_shows_row_ledger_and_bank_as_they_were_read(operator: Visitor, plan: Plan) -> None:
    facts = json.loads(msgspec.json.encode(facts_of("CO1")))
    url = f"/anomalies/predictions/{plant(plan, 'CO1', facts=facts)}"
    card = operator.get(url).text.partition('class="three-way"')[2]
    assert [re.sub("<.*?>", "", title) for title in re.findall(r"<h3>(.*?)</h3>", card)] == [
        "交易记录",
        "账务",
        "银行银行成功",
    ]


def _anomaly_of(prediction_id: int) -> int:
    return db.session.get_one(Prediction, prediction_id).anomaly_id


def test_what_is_foretold_is_of_the_groups_a_person_may_see(app: Flask, plan: Plan) -> None:
    identity = plant(plan, "CO1")
    with unit_of_work() as session:
        make_group(session, "PBMS")
    stranger = visitor_of(app, "wang.wu", "viewer", groups=["PBMS"])
    assert stranger.get(f"/plans/{plan.id}/predictions").status_code == 404
    assert stranger.get(f"/anomalies/predictions/{identity}").status_code == 404
    assert stranger.get("/anomalies/predictions/99").status_code == 404


def test_a_person_tries_an_anomaly(operator: Visitor, plan: Plan) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.get_one(SystemGroup, plan.group_id))
    url = f"/anomalies/{anomaly.id}/dry-run"
    assert url in operator.get(f"/anomalies/{anomaly.id}").text
    assert url in operator.get("/exceptions").text
    assert "不记账、不出款、不改数据" in operator.get(url, target="dialog").text
    assert operator.post(url, {"reason": ""}, target="dialog").status_code == 204
    assert db.session.scalars(db.select(Command.type)).all() == ["Verify"]
    refused = operator.post(url, {"reason": ""}, target="dialog")
    assert refused.status_code == 409
    assert "正有命令在执行；等它结束再试" in refused.text


def test_a_click_on_a_plan_in_shadow_is_refused_in_words(operator: Visitor, plan: Plan) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.get_one(SystemGroup, plan.group_id))
    assert f"/anomalies/{anomaly.id}/repair" not in operator.get("/exceptions").text
    answer = operator.send(f"/anomalies/{anomaly.id}/repair", {"reason": "修"})
    assert answer.status_code == 409
    assert "方案在影子运行：只预测，不执行" in answer.text
    assert db.session.scalars(db.select(Command)).all() == []


def test_a_viewer_tries_nothing_and_an_unknown_anomaly_is_no_page(
    app: Flask, plan: Plan, operator: Visitor
) -> None:
    with unit_of_work() as session:
        anomaly = make_anomaly(session, session.get_one(SystemGroup, plan.group_id))
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert "/dry-run" not in viewer.get(f"/anomalies/{anomaly.id}").text
    assert viewer.post(f"/anomalies/{anomaly.id}/dry-run", {"reason": ""}).status_code == 403
    assert operator.post("/anomalies/99/dry-run", {"reason": ""}).status_code == 404
    too_long = operator.post(f"/anomalies/{anomaly.id}/dry-run", {"reason": "长" * 501})
    assert (too_long.status_code, 'id="reason-error"' in too_long.text) == (400, True)
