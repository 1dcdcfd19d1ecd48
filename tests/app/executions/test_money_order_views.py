"""Money orders as pages: offered on the anomaly, proposed, confirmed by another person, listed, limited."""

import inspect
import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from flask import Flask
from sqlalchemy import select

from agent import unpaid
from agent.facts import BankFact, BankState, Bookkeeping, LegFact, LegState, RequestFact
from app.agents import stops
from app.agents.models import Agent
from app.agents.stops import Target
from app.anomalies.states import RESOLUTION_CONFIRMED_FAILED, RESOLUTION_SUCCESS
from app.audit.models import AuditEntry
from app.clock import current_time
from app.doubts import NEXT_STEPS
from app.executions import order_limits
from app.executions.models import Execution
from app.executions.order_models import MoneyOrder, MoneyOrderLimit
from app.executions.order_queries import find_proposed
from app.extensions import db
from app.plans.models import Plan
from app.reasons import event_words
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup, User
from tests.app.executions.unpaid import (
    change,
    make_unpaid,
    make_world,
    plant,
    read_anomaly,
    read_order,
    unpaid_facts,
)
from tests.app.visitor import Visitor, hidden_fields, make_person, visitor_of
from tests.factories import NOW, PERSON, make_agent, make_group

LARGE = 250_000
NUMBER = "TX20260301000099"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


@pytest.fixture
def li_na(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


@pytest.fixture
def wang(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "wang.qiang", "operator", groups=["PBAP"])


def orders() -> list[MoneyOrder]:
    db.session.expire_all()
    return list(db.session.scalars(select(MoneyOrder)).all())


def propose(visitor: Visitor, anomaly_id: int, action: str = "pay_again") -> int:
    answer = visitor.send(f"/exceptions/orders/of/{anomaly_id}/{action}", {"reason": "与银行核对过"})
    assert answer.status_code == 303
    return orders()[-1].id


@pytest.mark.parametrize("action", ["pay_again", "reverse"])
@pytest.mark.parametrize(
    ("account", "shown"), [("6222021234567890123", "6222 **** 0123"), (None, "银行没有告知")]
)
def test_both_people_are_shown_the_payee_without_its_middle(
    li_na: Visitor, wang: Visitor, group: SystemGroup, action: str, account: str | None, shown: str
) -> None:
    request = RequestFact(f"{NUMBER}-0", 0, "failed", BankState.FAIL, "E1001", account=account)
    bank = BankFact(BankState.FAIL, (request,), is_explicit=True)
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, amount=LARGE, bank=bank))
    anomaly_id = plant(group, amount=LARGE, trade_no=NUMBER, facts=facts)
    first = li_na.get(f"/exceptions/orders/of/{anomaly_id}/{action}").text
    order_id = propose(li_na, anomaly_id, action)
    for form in (first, wang.get(f"/exceptions/orders/{order_id}/confirm").text):
        assert "收款账号" in form
        assert shown in form
        assert "6222021234567890123" not in form


def test_an_anomaly_offers_both_where_its_facts_allow_it(li_na: Visitor, group: SystemGroup) -> None:
    text = li_na.get(f"/anomalies/{plant(group)}").text
    assert "/pay_again" in text
    assert "/reverse" in text
    assert "¥1,000.00" in text


def test_what_a_person_decides_is_not_called_repairable(li_na: Visitor, group: SystemGroup) -> None:
    text = li_na.get(f"/anomalies/{plant(group, outcome='repair')}").text
    assert "判定：需人工" in text
    assert "判定：可修复" not in text


def test_it_says_why_not_and_what_to_do_next_where_they_do_not(li_na: Visitor, group: SystemGroup) -> None:
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, status="not_found"))
    text = li_na.get(f"/anomalies/{plant(group, trade_no=NUMBER, facts=facts)}").text
    assert "/pay_again" in text
    assert "/reverse" not in text
    assert "有银行没有明确拒绝的请求，可能仍会到达、付出。" in text
    assert "下一步：再付，按原请求号再发，银行会付出或明确失败；要冲正，先请银行作废这个请求号" in text


def test_where_the_bank_has_paid_nothing_says_that_it_has_not(li_na: Visitor, group: SystemGroup) -> None:
    paid = BankFact(BankState.SUCCESS, (RequestFact(f"{NUMBER}-0", 0, "success", BankState.SUCCESS),))
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, bank=paid))
    fields = {"trade_no": NUMBER, "facts": facts, "reason": "processing with a posted leg"}
    text = li_na.get(f"/anomalies/{plant(group, **fields)}").text
    assert text.count("不能：银行已经付出") == 1
    for untrue in ("银行没有付出", "现在还不能", "须由另一个人复核", "/pay_again"):
        assert untrue not in text


def test_without_a_number_it_is_closed_by_hand_and_no_verification_is_promised(
    li_na: Visitor, group: SystemGroup
) -> None:
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, bank=BankFact(BankState.FAIL)))
    fields = {"trade_no": NUMBER, "facts": facts, "reason": "processing, debited, bank failed"}
    text = li_na.get(f"/anomalies/{plant(group, **fields)}").text
    queue = li_na.get("/exceptions?tab=human").text
    for told in ("没有明确失败", "不能：", "然后“外部已处理，关闭”"):
        assert told in text
    for promised in (
        "客户已扣款，银行没有付出",
        "现在还不能",
        "/pay_again",
        "/reverse",
        "已扣款且确定没有付出",
    ):
        assert promised not in text
    for page in (text, queue):
        assert "无法查询" in page
        for unknown in ("银行失败", "银行没有付出"):
            assert unknown not in page
    assert "向银行查清后关闭" in queue
    assert "再付或冲正" not in queue


def test_every_obstacle_of_the_bank_or_the_ledger_has_its_next_step(li_na: Visitor) -> None:
    source = inspect.getsource(unpaid._of_ledger) + inspect.getsource(unpaid.find_bank_obstacle)
    obstacles = set(re.findall(r'return "([^"]+)"', source)) - {"not a withdrawal"}
    assert obstacles | {unpaid.NO_REQUEST} <= set(NEXT_STEPS)


@pytest.mark.parametrize("columns", [{"state": "open", "reason": "resume"}, {"kind": "recharge"}])
def test_other_anomalies_offer_nothing(li_na: Visitor, group: SystemGroup, columns: dict[str, str]) -> None:
    text = li_na.get(f"/anomalies/{plant(group, **columns)}").text
    assert "/exceptions/orders/of/" not in text


def test_a_viewer_sees_and_does_nothing(app: Flask, li_na: Visitor, group: SystemGroup) -> None:
    viewer = visitor_of(app, "auditor", "viewer", groups=["PBAP"])
    anomaly_id = plant(group, amount=LARGE)
    assert "/exceptions/orders/of/" not in viewer.get(f"/anomalies/{anomaly_id}").text
    assert viewer.get(f"/exceptions/orders/of/{anomaly_id}/pay_again").status_code == 403
    order_id = propose(li_na, anomaly_id)
    assert viewer.send(f"/exceptions/orders/{order_id}/confirm", {"reason": "x"}).status_code == 403
    assert "li.na" in viewer.get("/exceptions/orders").text
    assert read_order(order_id).state == "proposed"


@pytest.mark.parametrize("action", ["pay_again", "reverse"])
def test_the_dialog_tells_what_happens_and_on_what_it_stands(
    li_na: Visitor, group: SystemGroup, action: str
) -> None:
    anomaly_id = plant(group, amount=LARGE, trade_no=NUMBER)
    text = li_na.get(f"/exceptions/orders/of/{anomaly_id}/{action}").text
    for told in ("¥2,500.00", f"{NUMBER}-0", "E1001", "GA260302040107000042", "需要另一个人复核", "pbap-1"):
        assert told in text


@pytest.mark.parametrize("is_posted", [True, False])
def test_paying_again_says_of_the_second_leg_what_is_still_to_be_done(
    li_na: Visitor, wang: Visitor, group: SystemGroup, is_posted: bool
) -> None:
    second = LegFact(LegState.POSTED, "GA260302040107000043", LARGE) if is_posted else LegFact(LegState.NONE)
    facts = unpaid_facts(NUMBER, amount=LARGE, bookkeeping=Bookkeeping.TWO_STEP, second=second)
    anomaly_id = plant(group, amount=LARGE, trade_no=NUMBER, facts=msgspec.to_builtins(facts))
    new = li_na.get(f"/exceptions/orders/of/{anomaly_id}/pay_again").text
    order_id = propose(li_na, anomaly_id)
    for text in (new, wang.get(f"/exceptions/orders/{order_id}/confirm").text):
        assert ("付出后只把交易记录改为成功" in text) is is_posted
        assert ("补记第二段账" in text) is not is_posted


def test_a_limit_of_nothing_reads_as_each_one(li_na: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group)
    with unit_of_work() as session:
        session.add(
            MoneyOrderLimit(
                group_id=group.id, second_person_above_minor=0, changed_by="admin", changed_at=NOW
            )
        )
    dialog = li_na.get(f"/exceptions/orders/of/{anomaly_id}/pay_again").text
    assert "每一笔都须由另一个人复核" in li_na.get(f"/anomalies/{anomaly_id}").text
    assert "每一笔都须由另一个人复核" in dialog
    assert "每一笔" in li_na.get("/exceptions/orders").text
    assert "¥0.00" not in dialog + li_na.get(f"/anomalies/{anomaly_id}").text


def test_above_the_limit_another_person_confirms(li_na: Visitor, wang: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    mine, theirs = (one.get(f"/anomalies/{anomaly_id}").text for one in (li_na, wang))
    confirm = f"/exceptions/orders/{order_id}/confirm"
    assert confirm not in mine
    assert f"/exceptions/orders/{order_id}/withdraw" in mine
    assert confirm in theirs
    assert "li.na" in wang.get(confirm).text
    answer = li_na.send(confirm, {"reason": "mine"})
    assert (answer.status_code, read_order(order_id).state) == (409, "proposed")
    assert "须由提交人以外的另一个人复核" in answer.text
    opened = li_na.get(confirm).text
    assert "须由提交人以外的另一个人复核" in opened
    assert 'name="reason"' not in opened
    assert wang.send(confirm, {"reason": "独立核对过"}).status_code == 303
    assert (read_order(order_id).state, read_order(order_id).confirmed_by) == ("issued", "wang.qiang")
    assert wang.send(confirm, {"reason": "again"}).status_code == 409


def test_who_may_not_confirm_is_told_why_before_and_offered_no_form(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    with unit_of_work() as session:
        ids = {one.username: one.id for one in session.scalars(select(User))}
        made = {"action": "user.create", "object_type": "user", "object_id": str(ids["wang.qiang"])}
        session.add(AuditEntry(at=current_time(), actor_id=ids["li.na"], actor_name="li.na", **made))
    url = f"/exceptions/orders/{order_id}"
    for page in (f"/anomalies/{anomaly_id}", "/exceptions?tab=human", "/exceptions/orders"):
        text = wang.get(page).text
        assert "您不能复核：li.na 在 7 天内新建" in text
        assert f"{url}/confirm" not in text
        mine = li_na.get(page).text
        assert "您不能复核" not in mine
        assert f"{url}/withdraw" in mine
    assert f"{url}/reject" in wang.get(f"/anomalies/{anomaly_id}").text
    assert wang.send(f"{url}/confirm", {"reason": "独立核对过"}).status_code == 409


def test_an_order_shows_what_each_of_its_two_people_said_and_when(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id, "reverse")
    assert "复核人" not in order_box(li_na, anomaly_id)
    wang.send(f"/exceptions/orders/{order_id}/confirm", {"reason": "回单已看"})
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.proposed_at, order.issued_at = NOW, NOW + timedelta(hours=3)
        order.state, order.outcome = "done", "repaired"
    box = re.sub(r"<[^>]+>", "", order_box(li_na, anomaly_id))
    proposed, confirmed = box.split("复核人")
    for told in ("已完成 · 已修复", "提交人 li.na · 2026-03-02 20:00", "与银行核对过"):
        assert told in proposed
    for told in ("wang.qiang · 2026-03-02 23:00", "回单已看"):
        assert told in confirmed


@pytest.mark.parametrize(
    ("action", "resolution", "told"),
    [
        ("reverse", RESOLUTION_CONFIRMED_FAILED, "账务已冲回，钱已退回客户账户，交易确认失败。"),
        ("pay_again", RESOLUTION_SUCCESS, "银行已付出，交易修复为成功。"),
    ],
)
def test_a_trade_whole_again_by_an_order_says_by_which(
    li_na: Visitor, wang: Visitor, group: SystemGroup, action: str, resolution: str, told: str
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id, action)
    wang.send(f"/exceptions/orders/{order_id}/confirm", {"reason": "回单已看"})
    assert told not in li_na.get(f"/anomalies/{anomaly_id}").text
    change(anomaly_id, state="repaired", resolution=resolution, closed_at=NOW)
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.state, order.outcome = "done", "repaired"
    assert f"{told}修复后回读：记录、账务、银行一致。" in li_na.get(f"/anomalies/{anomaly_id}").text


def test_the_page_of_its_execution_says_so_too(li_na: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group)
    order_id = propose(li_na, anomaly_id, "reverse")
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.state, order.outcome = "done", "repaired"
        execution_id = session.scalars(select(Execution.id).where(Execution.anomaly_id == anomaly_id)).one()
    change(anomaly_id, state="repaired", resolution=RESOLUTION_CONFIRMED_FAILED, closed_at=NOW)
    page = li_na.get(f"/executions/{execution_id}").text
    assert "账务已冲回，钱已退回客户账户，交易确认失败。" in page
    assert "银行确认没有成功，交易记录改为失败" not in page


def order_box(visitor: Visitor, anomaly_id: int) -> str:
    """What an anomaly's page shows of its newest order."""
    return visitor.get(f"/anomalies/{anomaly_id}").text.split("¥2,500.00</span></b>", 1)[1].split("</div>")[0]


@pytest.mark.parametrize(("action", "words"), [("pay_again", "再付"), ("reverse", "冲正")])
def test_history_and_audit_say_which_order_was_given(
    app: Flask, li_na: Visitor, wang: Visitor, group: SystemGroup, action: str, words: str
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    for what in ("withdraw", "reject", "confirm"):
        order_id = propose(li_na, anomaly_id, action)
        by = li_na if what == "withdraw" else wang
        assert by.send(f"/exceptions/orders/{order_id}/{what}", {"reason": "核对过"}).status_code == 303
    admin = visitor_of(app, "boss", "admin")
    history = li_na.get(f"/anomalies/{anomaly_id}").text.split('class="timeline"')[1]
    verbs = [f"{verb}{words}" for verb in ("提交", "撤回", "驳回", "复核", "发出")]
    for text in (history, admin.get("/audit").text.split("<tbody>")[1]):
        assert [verb for verb in verbs if verb not in text] == []
    entry = db.session.scalars(select(AuditEntry.id).where(AuditEntry.action == "order.confirm")).one()
    assert f"复核{words}" in admin.get(f"/audit/{entry}").text
    admin.post("/locale", {"locale": "en"})
    said = {"pay_again": "Pay again: confirmed", "reverse": "Reverse: confirmed"}[action]
    assert said in admin.get(f"/audit/{entry}").text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("order_done_reverse", "冲正结束"),
        ("order_expired_pay_again", "再付失效"),
        ("order_done", "资金指令结束"),
        ("order_without_effect", "资金指令没有执行，转待人工"),
    ],
)
def test_an_event_of_before_orders_were_named_still_reads(app: Flask, code: str, words: str) -> None:
    with app.test_request_context():
        assert event_words(code) == words


SUBMIT_DISABLED = re.compile(r'<button class="button primary danger" type="submit" disabled>')


def shut_plan(session: WorkSession, group: SystemGroup, how: str) -> None:
    """Take away what an order needs: the plan in force, or its group."""
    plan = session.scalars(select(Plan)).one()
    if how == "no_plan":
        session.delete(plan)
    elif how == "group_disabled":
        session.get_one(SystemGroup, group.id).is_enabled = False
    else:
        plan.state = "disabled" if how == "plan_disabled" else plan.state
        plan.is_shadow = how == "plan_shadow"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("plan_shadow", "方案在影子运行：只预测，不执行"),
        ("plan_disabled", "方案已失效，不能执行；请先启用方案"),
        ("no_plan", "没有匹配的方案，不能执行"),
        ("group_disabled", "系统组别 PBAP 已停用"),
    ],
)
def test_what_would_be_refused_is_not_offered_and_says_why(
    li_na: Visitor, wang: Visitor, group: SystemGroup, how: str, told: str
) -> None:
    anomaly_id, large = plant(group), plant(group, amount=LARGE)
    order_id = propose(li_na, large)
    with unit_of_work() as session:
        shut_plan(session, group, how)
    new, confirm = f"/exceptions/orders/of/{anomaly_id}/pay_again", f"/exceptions/orders/{order_id}/confirm"
    page, queue = (wang.get(one).text for one in (f"/anomalies/{anomaly_id}", "/exceptions?tab=human"))
    for text in (page, queue):
        assert f"现在不能再付或冲正：{told}" in text
    assert (new in page, confirm in queue) == (False, False)
    assert f"现在不能发出：{told}" in wang.get(f"/anomalies/{large}").text
    for url in (new, confirm):
        opened = wang.get(url).text
        assert told in opened
        assert SUBMIT_DISABLED.search(opened)
        assert wang.send(url, {"reason": "与银行核对过"}).status_code == 409


def test_a_stop_is_told_before_anyone_types_and_refuses_proposals_too(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    small, large = plant(group), plant(group, amount=LARGE)
    order_id = propose(li_na, large)
    other = plant(group, amount=LARGE)
    with unit_of_work() as session:
        stops.set_stop(session, Target(), reason="对账中", actor=PERSON, group_ids=None, now=NOW)
    told = "已紧急停止全部修复：对账中。解除之后才能执行。"
    confirm = f"/exceptions/orders/{order_id}/confirm"
    for url in (*(f"/exceptions/orders/of/{one}/pay_again" for one in (small, other)), confirm):
        opened = wang.get(url).text
        assert told in opened
        assert SUBMIT_DISABLED.search(opened)
        answer = wang.send(url, {"reason": "独立核对过"})
        assert (answer.status_code, told in answer.text) == (409, True)
    assert [one.state for one in orders()] == ["proposed"]
    assert told not in wang.get(f"/exceptions/orders/{order_id}/reject").text


def test_a_form_marks_the_agent_that_its_host_has_stopped(li_na: Visitor, group: SystemGroup) -> None:
    with unit_of_work() as session:
        session.scalars(select(Agent).where(Agent.name == "pbap-1")).one().stopped_here = "查账"
        seen_at = NOW + timedelta(days=9)
        make_agent(session, group, name="pbap-2", seen_at=seen_at, features=["pay_again", "reverse"])
    text = li_na.get(f"/exceptions/orders/of/{plant(group)}/pay_again").text
    assert "pbap-1（本地已停止）、pbap-2" in text


def test_what_ends_a_stale_order_is_not_refused_by_a_stop(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    change(anomaly_id, row_hash="hash-2")
    with unit_of_work() as session:
        stops.set_stop(session, Target(), reason="对账中", actor=PERSON, group_ids=None, now=NOW)
    confirm = f"/exceptions/orders/{order_id}/confirm"
    assert not SUBMIT_DISABLED.search(wang.get(confirm).text)
    assert wang.send(confirm, {"reason": "x"}).status_code == 303
    assert read_order(order_id).state == "expired"


def test_facts_that_changed_are_told_before_and_after(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    change(anomaly_id, row_hash="hash-2")
    assert "提交之后情况已变" in wang.get(f"/exceptions/orders/{order_id}/confirm").text
    answer = wang.send(f"/exceptions/orders/{order_id}/confirm", {"reason": "x"})
    assert (answer.status_code, read_order(order_id).state) == (303, "expired")


def read_anew(anomaly_id: int, amount: int) -> None:
    """What a verification would have found of it meanwhile: another row, with another amount."""
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, amount=amount, row_hash="hash-2"))
    change(anomaly_id, facts=facts, amount_minor=amount, row_hash="hash-2")


@pytest.mark.parametrize("action", ["pay_again", "reverse"])
def test_an_order_is_given_on_what_its_form_showed_only(
    li_na: Visitor, group: SystemGroup, action: str
) -> None:
    anomaly_id = plant(group, amount=100, trade_no=NUMBER)
    url = f"/exceptions/orders/of/{anomaly_id}/{action}"
    opened = li_na.hidden(url)
    read_anew(anomaly_id, 99_900)
    answer = li_na.post(url, {**opened, "reason": "与银行核对过"}, target="dialog")
    assert (answer.status_code, orders()) == (409, [])
    for told in (f"没有执行：您打开之后，交易 {NUMBER} 有了变化", "¥999.00", "与银行核对过"):
        assert told in answer.text
    shown = hidden_fields(answer.text)
    assert li_na.post(url, {**shown, "reason": "与银行核对过"}).status_code == 303
    assert [(one.state, one.amount_minor) for one in orders()] == [("issued", 99_900)]


@pytest.mark.parametrize(
    "columns",
    [
        {"row_hash": "hash-2"},
        {"amount_minor": 9_999},
        {"currency": "USD"},
        {"facts": msgspec.to_builtins(unpaid_facts(NUMBER, is_e_acc=True, is_acc=True))},
        {"state": "exhausted"},
    ],
)
def test_each_part_of_what_a_form_showed_counts(
    li_na: Visitor, group: SystemGroup, columns: dict[str, Any]
) -> None:
    anomaly_id = plant(group, trade_no=NUMBER)
    url = f"/exceptions/orders/of/{anomaly_id}/pay_again"
    opened = li_na.hidden(url)
    change(anomaly_id, **columns)
    assert li_na.post(url, {**opened, "reason": "x"}).status_code == 409
    assert li_na.post(url, {"reason": "sent by no form"}).status_code == 409
    assert orders() == []


def test_the_same_facts_read_once_more_are_what_the_form_showed(li_na: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group, trade_no=NUMBER)
    url = f"/exceptions/orders/of/{anomaly_id}/pay_again"
    opened = li_na.hidden(url)
    later = msgspec.to_builtins(unpaid_facts(NUMBER, read_at="2026-03-02T05:00:00Z"))
    change(anomaly_id, facts=later, last_seen_at=NOW + timedelta(hours=1), times_seen=7)
    assert li_na.post(url, {**opened, "reason": "x"}).status_code == 303


def test_a_form_that_asked_for_a_second_person_issues_nothing_by_one(
    li_na: Visitor, group: SystemGroup
) -> None:
    url = f"/exceptions/orders/of/{plant(group, amount=LARGE)}/pay_again"
    opened = li_na.hidden(url)
    with unit_of_work() as session:
        limit = {"second_person_above_minor": LARGE, "changed_by": "boss", "changed_at": NOW}
        session.add(MoneyOrderLimit(group_id=group.id, **limit))
    answer = li_na.post(url, {**opened, "reason": "x"}, target="dialog")
    assert (answer.status_code, orders()) == (409, [])
    assert "金额不超过复核限额，提交后立即发出" in answer.text


def test_a_second_person_issues_what_their_form_showed_only(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE, trade_no=NUMBER)
    url = f"/exceptions/orders/{propose(li_na, anomaly_id)}/confirm"
    read_anew(anomaly_id, LARGE + 1)
    opened = wang.hidden(url)
    # Read as it was: the form still says that confirming issues nothing.
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, amount=LARGE))
    change(anomaly_id, facts=facts, amount_minor=LARGE, row_hash="hash-1")
    answer = wang.post(url, {**opened, "reason": "独立核对过"}, target="dialog")
    assert (answer.status_code, orders()[0].state) == (409, "proposed")
    assert "没有执行：您打开之后" in answer.text
    assert "确认并发出" in answer.text
    assert wang.send(url, {"reason": "独立核对过"}).status_code == 303
    assert orders()[0].state == "issued"


def queue_row(visitor: Visitor, anomaly_id: int) -> str:
    """The row of the trade in the queue."""
    text = visitor.get("/exceptions?tab=human").text
    found = re.search(rf'<tr id="exception-{anomaly_id}".*?</tr>', text, re.DOTALL)
    assert found
    return found.group()


def test_the_queue_shows_an_order_that_waits_and_its_second_person_confirms_there(
    app: Flask, li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    assert "再付或冲正</b>" in queue_row(wang, anomaly_id)
    url = f"/exceptions/orders/{propose(li_na, anomaly_id)}"
    mine, theirs = queue_row(li_na, anomaly_id), queue_row(wang, anomaly_id)
    for row in (mine, theirs):
        assert "li.na 提交了再付" in row
        assert "待复核</b>" in row
        assert "再付或冲正</b>" not in row
        assert f'href="/anomalies/{anomaly_id}" hx-get' not in row.split("queue-actions")[1]
    assert f"{url}/withdraw" in mine
    assert f"{url}/confirm" not in mine
    assert f"{url}/confirm" in theirs
    assert f"{url}/reject" in theirs
    viewer = visitor_of(app, "auditor", "viewer", groups=["PBAP"])
    assert "li.na 提交了再付" in queue_row(viewer, anomaly_id)
    assert url not in queue_row(viewer, anomaly_id)


def test_an_order_of_another_group_is_not_taken_for_it(li_na: Visitor, group: SystemGroup) -> None:
    propose(li_na, plant(group, amount=LARGE, trade_no=NUMBER))
    with unit_of_work() as session:
        other = make_group(session, "PBMS")
        theirs = make_unpaid(session, other, trade_no=NUMBER)
        assert find_proposed(session, [(other.id, theirs.trade_no)]) == {}


def primary(page: str, anomaly_id: int) -> set[str]:
    """What the page's buttons call for most, of the anomaly's own actions."""
    buttons = re.findall(r'<a class="button ([^"]*)" href="([^"]+)"', page)
    return {
        url.rsplit("/", 1)[1] for style, url in buttons if "primary" in style and f"/{anomaly_id}/" in url
    }


def test_the_page_advises_what_the_queue_proposes(li_na: Visitor, group: SystemGroup) -> None:
    reason = "both legs on row, status or bank disagrees"
    anomaly_id = plant(group, amount=LARGE, reason=reason, has_moved_money=False)
    page = li_na.get(f"/anomalies/{anomaly_id}").text
    assert "再付或冲正</b>" in queue_row(li_na, anomaly_id)
    assert "再付或冲正</b>" in page
    assert "已扣款且确定没有付出：再付一次，或冲正、退回客户账户。" in page
    assert primary(page, anomaly_id) == set()
    assert f'class="button quiet danger" href="/anomalies/{anomaly_id}/ignore"' in page
    propose(li_na, anomaly_id)
    page = li_na.get(f"/anomalies/{anomaly_id}").text
    assert "再付或冲正已提交：由另一个人复核或驳回" in page
    assert "已扣款且确定没有付出" not in page


def test_a_page_that_offers_no_order_still_calls_for_a_look(li_na: Visitor, group: SystemGroup) -> None:
    paid = BankFact(BankState.SUCCESS, (RequestFact(f"{NUMBER}-0", 0, "success", BankState.SUCCESS),))
    facts = msgspec.to_builtins(unpaid_facts(NUMBER, bank=paid))
    anomaly_id = plant(group, trade_no=NUMBER, facts=facts)
    page = li_na.get(f"/anomalies/{anomaly_id}").text
    assert "已扣款且确定没有付出" not in page
    assert "不能：银行已经付出" in page
    assert primary(page, anomaly_id) == {"verify"}


def test_while_an_order_stands_no_page_offers_what_it_refuses(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    refused = [f"/anomalies/{anomaly_id}/{action}" for action in ("repair", "retry", "ignore")]
    assert refused[2] in queue_row(wang, anomaly_id)
    order_id = propose(li_na, anomaly_id)
    for page in (queue_row(wang, anomaly_id), wang.get(f"/anomalies/{anomaly_id}").text):
        assert [url for url in refused if url in page] == []
        assert f"/anomalies/{anomaly_id}/outside" in page
    wang.send(f"/exceptions/orders/{order_id}/reject", {"reason": "not yet"})
    for page in (queue_row(wang, anomaly_id), wang.get(f"/anomalies/{anomaly_id}").text):
        assert refused[2] in page


def test_nobody_ignores_a_trade_while_its_order_waits(li_na: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    url = f"/anomalies/{anomaly_id}/ignore"
    dialog = li_na.get(url, target="dialog").text
    for told in ("结束之前不能修复、重试或忽略", "由另一个人驳回", "disabled"):
        assert told in dialog
    assert 'name="reason"' not in dialog
    answer = li_na.send(url, {"reason": "不处理了"})
    assert (answer.status_code, read_order(order_id).state) == (409, "proposed")
    li_na.send(f"/exceptions/orders/{order_id}/withdraw", {"reason": "改主意了"})
    assert li_na.send(url, {"reason": "不处理了"}).status_code == 303


@pytest.mark.parametrize("state", ["proposed", "issued"])
def test_nor_among_many(li_na: Visitor, group: SystemGroup, state: str) -> None:
    anomaly_id = plant(group, amount=LARGE, has_moved_money=False, facts=None)
    change(anomaly_id, facts=msgspec.to_builtins(unpaid_facts(NUMBER, amount=LARGE)))
    order_id = propose(li_na, anomaly_id)
    # Read anew since: the bank says nothing now, and the order stands all the same.
    change(anomaly_id, facts=None, state="needs_human" if state == "proposed" else "waiting")
    confirmed_by = None if state == "proposed" else make_person("wang.wu").id
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.state, order.confirmed_by_id = state, confirmed_by
    ticked = li_na.hidden(f"/exceptions/queue/ignore?ids={anomaly_id}")
    li_na.post("/exceptions/queue/ignore", {**ticked, "reason": "x"})
    assert read_anomaly(anomaly_id).closed_at is None
    assert "跳过 1 笔：有资金指令等待复核或正在执行。" in li_na.get("/exceptions?tab=human").text


@pytest.mark.parametrize("action", ["confirm", "reject", "withdraw"])
def test_a_decision_needs_a_reason(li_na: Visitor, wang: Visitor, group: SystemGroup, action: str) -> None:
    order_id = propose(li_na, plant(group, amount=LARGE))
    answer = (li_na if action == "withdraw" else wang).send(
        f"/exceptions/orders/{order_id}/{action}", {"reason": " "}
    )
    assert (answer.status_code, read_order(order_id).state) == (400, "proposed")
    assert "请写明原因" in answer.text


@pytest.mark.parametrize(("action", "state"), [("reject", "rejected"), ("withdraw", "withdrawn")])
def test_an_order_is_taken_back_or_refused(
    li_na: Visitor, wang: Visitor, group: SystemGroup, action: str, state: str
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(li_na, anomaly_id)
    who = wang if action == "reject" else li_na
    assert who.send(f"/exceptions/orders/{order_id}/{action}", {"reason": "有疑问"}).status_code == 303
    assert (read_order(order_id).state, read_order(order_id).closed_reason) == (state, "有疑问")
    text = li_na.get(f"/anomalies/{anomaly_id}").text
    assert "有疑问" in text
    assert "/pay_again" in text


def test_those_that_wait_are_listed_and_counted_beside_exceptions(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    waiting = read_order(propose(li_na, plant(group, amount=LARGE))).trade_no
    issued = read_order(propose(li_na, plant(group))).trade_no
    listed = wang.get("/exceptions/orders?state=proposed").text
    assert waiting in listed
    assert issued not in listed
    assert issued in wang.get("/exceptions/orders").text
    assert "/exceptions/orders?state=proposed" in wang.get("/exceptions").text
    assert wang.get("/exceptions/orders?state=nonsense").status_code == 400


def test_only_groups_a_person_may_see_have_orders(app: Flask, li_na: Visitor, group: SystemGroup) -> None:
    stranger = visitor_of(app, "chen", "operator")
    order_id = propose(li_na, plant(group, amount=LARGE))
    number = read_order(order_id).trade_no
    assert number not in stranger.get("/exceptions/orders").text
    for url in (f"/exceptions/orders/{order_id}/confirm", f"/exceptions/orders/of/{plant(group)}/reverse"):
        assert stranger.get(url).status_code == 404
        assert stranger.post(url, {"reason": "x"}).status_code == 404


@pytest.mark.parametrize("is_ordered", [True, False])
def test_the_page_says_why_there_is_no_retry(li_na: Visitor, group: SystemGroup, is_ordered: bool) -> None:
    anomaly_id = plant(group, amount=LARGE)
    if is_ordered:
        propose(li_na, anomaly_id)
    words = "这笔交易有一笔资金指令等待复核或正在执行" if is_ordered else "再次出款只能用“再付”"
    text = li_na.get(f"/anomalies/{anomaly_id}").text
    retry = f"/anomalies/{anomaly_id}/retry"
    assert words in text
    assert retry not in text + li_na.get("/exceptions?tab=human").text
    assert words in li_na.get(retry, target="dialog").text
    answer = li_na.send(retry, {"reason": "再试一次"})
    assert (answer.status_code, words in answer.text) == (409, True)


@pytest.mark.parametrize("tab", ["executable", "human"])
def test_the_lists_of_exceptions_offer_no_retry_either(li_na: Visitor, group: SystemGroup, tab: str) -> None:
    state = "exhausted" if tab == "executable" else "needs_human"
    anomaly_id = plant(group, amount=LARGE, trade_no=NUMBER, state=state)
    propose(li_na, anomaly_id)
    text = li_na.get(f"/exceptions?tab={tab}").text
    assert NUMBER in text
    assert f"/anomalies/{anomaly_id}/retry" not in text
    told = "待资金指令结束" if tab == "executable" else "之前不能修复、重试或忽略"
    assert told in text


def test_who_made_the_account_is_told_so_before_a_reason_is_typed(
    app: Flask, li_na: Visitor, group: SystemGroup
) -> None:
    order_id = propose(li_na, plant(group, amount=LARGE))
    admin = visitor_of(app, "boss", "admin")
    li_na_id = db.session.scalars(select(User.id).where(User.username == "li.na")).one()
    admin.post(f"/users/{li_na_id}/reset", {"reason": "忘记密码"})
    opened = admin.get(f"/exceptions/orders/{order_id}/confirm").text
    assert "boss 在 7 天内新建、启用过账号" in opened
    assert "不能互相复核，请另找一个人" in opened
    assert 'name="reason"' not in opened
    assert 'name="reason"' in admin.get(f"/exceptions/orders/{order_id}/reject").text
    admin.post("/locale", {"locale": "en"})
    assert "boss may hold both accounts" in admin.get(f"/exceptions/orders/{order_id}/confirm").text


def test_one_admin_does_not_order_and_confirm_through_two_accounts(
    app: Flask, li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    admin = visitor_of(app, "boss", "admin")
    order_id = propose(li_na, plant(group, amount=LARGE))
    for identity in db.session.scalars(select(User.id).where(User.username.in_(("li.na", "wang.qiang")))):
        with unit_of_work() as session:
            of = {"action": "user.enable", "object_type": "user", "object_id": str(identity)}
            boss = session.scalars(select(User).where(User.username == "boss")).one()
            session.add(AuditEntry(at=NOW, actor_id=boss.id, actor_name="boss", **of))
    answer = wang.send(f"/exceptions/orders/{order_id}/confirm", {"reason": "核对过"})
    assert answer.status_code == 409
    assert "boss 在 7 天内" in answer.text
    assert 'name="reason"' not in admin.get(f"/exceptions/orders/{order_id}/confirm").text


def test_a_limit_that_was_saved_stands_on_the_page_at_once(app: Flask, group: SystemGroup) -> None:
    admin = visitor_of(app, "boss", "admin")
    url = f"/exceptions/orders/limits/{group.id}"
    answer = admin.send(url, {"limit": "50.00", "reason": "一律复核"}, target="dialog")
    assert answer.headers["HX-Redirect"] == "/exceptions/orders"


def test_an_administrator_sets_the_limit(app: Flask, li_na: Visitor, group: SystemGroup) -> None:
    url = f"/exceptions/orders/limits/{group.id}"
    admin = visitor_of(app, "boss", "admin")
    assert li_na.post(url, {"limit": "9", "reason": "x"}).status_code == 403
    for limit, status in (("abc", 400), ("", 400), ("50.00", 303)):
        assert admin.send(url, {"limit": limit, "reason": "一律复核"}).status_code == status
    assert "¥50.00" in admin.get("/exceptions/orders").text
    assert 'value="50.00"' in admin.get(url).text
    assert read_order(propose(li_na, plant(group, amount=5_001))).state == "proposed"


def test_no_older_form_saves_over_a_limit_set_since(app: Flask, group: SystemGroup) -> None:
    url = f"/exceptions/orders/limits/{group.id}"
    boss, other = visitor_of(app, "boss", "admin"), visitor_of(app, "other", "admin")
    opened = boss.hidden(url)
    assert other.send(url, {"limit": "0", "reason": "两个人"}).status_code == 303
    wanting = boss.post(url, {**opened, "limit": "2000", "reason": ""}, target="dialog")
    again = {**hidden_fields(wanting.text), "limit": "2000", "reason": "放宽"}
    answer = boss.post(url, again, target="dialog")
    db.session.expire_all()
    assert (answer.status_code, order_limits.limit_of(db.session, group.id)) == (409, 0)
    assert '<dt>现在的复核限额</dt><dd><span class="num">¥0.00</span>' in answer.text
    assert 'value="2000"' in answer.text
    seen = {**hidden_fields(answer.text), "limit": "2000", "reason": "核对过"}
    assert boss.post(url, seen).status_code == 303


def test_the_dialog_says_why_a_second_person_is_needed(
    app: Flask, li_na: Visitor, group: SystemGroup
) -> None:
    dialog = f"/exceptions/orders/of/{plant(group, amount=LARGE)}/pay_again"
    assert "金额超过复核限额 ¥1,000.00。" in li_na.get(dialog).text
    admin = visitor_of(app, "boss", "admin")
    limit = {"limit": "9000", "reason": "放宽"}
    assert admin.send(f"/exceptions/orders/limits/{group.id}", limit).status_code == 303
    told = admin.get(dialog).text
    assert "复核限额由您改为 ¥9,000.00，没有别人改过；您自己提交的仍按改动前的 ¥1,000.00。" in told
    assert "需要另一个人复核" not in li_na.get(dialog).text


def test_it_reads_in_english_too(app: Flask, li_na: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group, amount=LARGE)
    propose(li_na, anomaly_id)
    li_na.post("/locale", {"locale": "en"})
    text = li_na.get("/exceptions/orders").text
    for told in ("Pay again", "Awaiting second person"):
        assert told in text


def test_a_trade_of_which_people_have_ordered_says_that_only_an_order_pays_it(
    li_na: Visitor, wang: Visitor, group: SystemGroup
) -> None:
    anomaly_id = plant(group, amount=LARGE, reason="people have ordered of this trade before")
    order_id = propose(li_na, anomaly_id)
    wang.send(f"/exceptions/orders/{order_id}/reject", {"reason": "已另行处理"})
    text = li_na.get(f"/anomalies/{anomaly_id}").text
    for told in ("有人下过资金指令；再出款只能由人再下指令", "有人对这笔交易下过资金指令", "/pay_again"):
        assert told in text
    assert f"/anomalies/{anomaly_id}/retry" not in text
    assert "再付或冲正" in li_na.get("/exceptions?tab=human").text
    change(anomaly_id, facts=None, has_moved_money=False)
    assert "有人对它下过资金指令；再出一次款，只能由人再下指令" in li_na.get(f"/anomalies/{anomaly_id}").text
    li_na.post("/locale", {"locale": "en"})
    text = li_na.get(f"/anomalies/{anomaly_id}").text
    assert "only another order of people pays it" in text
    assert "paying once more takes another order" in text
