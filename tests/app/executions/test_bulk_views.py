"""批量修复 as pages: the list, one with its stages and trades, and pausing, resuming and stopping it."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from app.agents import stops
from app.agents.models import Agent, Command
from app.agents.stops import Target
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter
from app.audit.service import SYSTEM, Actor
from app.executions import bulk, bulk_course, results
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.bulk_states import change
from app.executions.starting import Order
from app.extensions import db
from app.guards import breakers
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup, User
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    make_user,
)

TABLE = "bulk-table"
OTHER = "rechargeTimeoutFixServiceImpl"
PAGE = "/exceptions/bulk"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    with unit_of_work() as session:
        make_user(session)
        group = make_group(session)
        make_agent(session, group)
        make_plan(session, group)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(group: SystemGroup, count: int = 3) -> int:
    """A running bulk repair of so many new trades."""
    with unit_of_work() as session:
        ids = tuple(make_anomaly(session, group).id for _each in range(count))
        order = Order("click", PERSON, "日终处理", NOW)
        return bulk.begin(session, AnomalyFilter(ids=ids), order).bulks[0].id


def stored(bulk_id: int) -> BulkRepair:
    db.session.expire_all()
    return db.session.get_one(BulkRepair, bulk_id)


def listed(text: str) -> list[str]:
    return re.findall(r'id="bulk-(\d+)"', text)


def test_bulk_repairs_are_listed_newest_first_and_narrowed(operator: Visitor, group: SystemGroup) -> None:
    first, second = plant(group), plant(group)
    operator.post(f"{PAGE}/{first}/stop", {"reason": "范围选错了"})
    assert listed(operator.get(PAGE).text) == [str(second), str(first)]
    assert listed(operator.get(f"{PAGE}?state=stopped", target=TABLE).text) == [str(first)]
    assert "没有符合条件的批量修复" in operator.get(f"{PAGE}?state=finished").text
    wrong = operator.get(f"{PAGE}?state=perhaps")
    assert (wrong.status_code, 'id="state-error"' in wrong.text) == (400, True)


def test_an_empty_list_says_where_to_begin(operator: Visitor) -> None:
    text = operator.get(PAGE).text
    assert "还没有批量修复" in text
    assert 'href="/exceptions"' in text


def test_one_shows_its_stages_its_counts_and_its_trades(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    text = operator.get(f"{PAGE}/{identity}").text
    for words in (
        "先修复 1 笔",
        "再修复 10 笔",
        "修复其余",
        "日终处理",
        "进行中 1",
        "未开始 2",
        "开始批量修复",
    ):
        assert words in text
    trades = db.session.scalars(db.select(BulkItem.trade_no).order_by(BulkItem.id)).all()
    assert re.findall(r'class="mono" href="/anomalies/\d+">(\w+)<', text) == list(trades)
    some = operator.get(f"{PAGE}/{identity}?state=pending").text
    assert re.findall(r'class="mono" href="/anomalies/\d+">(\w+)<', some) == list(trades[1:])


def test_its_trades_are_paged(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, 60)
    found, url = [], f"{PAGE}/{identity}"
    while url:
        text = operator.get(url).text
        found += re.findall(r'id="item-(\d+)"', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        url = following.group(1).replace("&amp;", "&") if following else ""
    assert len(found) == len(set(found)) == 60


def test_a_paused_one_says_why_and_offers_to_go_on(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        one = session.get_one(BulkRepair, identity)
        change(
            session,
            one,
            "paused",
            SYSTEM,
            "",
            NOW,
            code="needs_human",
            detail="insufficient balance",
            trade_no="CO1",
        )
    text = operator.get(f"{PAGE}/{identity}").text
    for words in ("已暂停：待人工", "CO1", "账户余额不足，未扣款"):
        assert words in text
    assert f"{PAGE}/{identity}/resume" in text
    assert f"{PAGE}/{identity}/pause" not in text


def test_one_paused_for_a_trade_that_waits_for_the_bank_says_so(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        one = session.get_one(BulkRepair, identity)
        change(session, one, "paused", SYSTEM, "", NOW, code="wait", detail="bank", trade_no="CO1")
    assert "已暂停：等待银行" in operator.get(f"{PAGE}/{identity}").text
    dialog = operator.get(f"{PAGE}/{identity}/resume", target="dialog").text
    for words in ("已暂停：等待银行", "CO1", "银行尚未给出确定结果"):
        assert words in dialog


def test_a_person_pauses_resumes_and_stops_for_a_reason(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    refused = operator.post(f"{PAGE}/{identity}/pause", {"reason": ""})
    assert (refused.status_code, 'id="reason-error"' in refused.text) == (400, True)
    assert stored(identity).state == "running"
    for action, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        dialog = operator.get(f"{PAGE}/{identity}/{action}", target="dialog").text
        assert ("已暂停：由 li.na 暂停" in dialog) == (action == "resume")
        answer = operator.send(f"{PAGE}/{identity}/{action}", {"reason": "先看一看"}, target="dialog")
        assert (answer.status_code, stored(identity).state) == (204, state)
    late = operator.post(f"{PAGE}/{identity}/resume", {"reason": "先看一看"}, target="dialog")
    assert late.status_code == 409
    assert "不在可以这样做的状态" in late.text


def test_it_says_which_person_paused_or_stopped_it_and_when(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    text = operator.get(f"{PAGE}/{identity}").text
    assert "已暂停：由 li.na 暂停" in text
    assert "20:00:00" in text
    assert "先看一看" in text
    assert "由 li.na 暂停" in operator.get(PAGE, target=TABLE).text
    operator.post(f"{PAGE}/{identity}/stop", {"reason": "不再需要"})
    assert "由 li.na 停止" in operator.get(f"{PAGE}/{identity}").text


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("all", "boss 紧急停止了全部修复"),
        ("group", "boss 紧急停止了系统组别 PBAP"),
        ("agent", "boss 紧急停止了客户端 pbap-1"),
    ],
)
def test_it_says_which_stop_paused_it(operator: Visitor, group: SystemGroup, scope: str, words: str) -> None:
    with unit_of_work() as session:
        agent = session.scalars(db.select(Agent)).unique().one()
        agent.name = "pbap-1"
        target = {"all": Target(), "group": Target(group_id=group.id), "agent": Target(agent_id=agent.id)}[
            scope
        ]
        ids = tuple(make_anomaly(session, group).id for _each in range(3))
        (one,) = bulk.begin(session, AnomalyFilter(ids=ids), Order("click", PERSON, "日终处理", NOW)).bulks
        boss = Actor(id=None, name="boss")
        stops.set_stop(session, target, reason="先看一看", actor=boss, group_ids=None, now=NOW)
        bulk_course.tend(session, one.id, NOW)
        first = (one.pause_code, one.pause_detail)
        bulk.resume(session, one.id, reason="再试", actor=PERSON, group_ids=None, now=NOW)
    assert first == ("cancelled", "cancelled: stopped by boss: 先看一看")
    text = operator.get(f"{PAGE}/{one.id}").text
    assert f"已暂停：{words}" in text
    assert "boss 紧急停止：先看一看" in text


def test_a_trade_that_a_stop_cancelled_pauses_it_in_words(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        stopped = {"code": "cancelled", "detail": "cancelled: stopped by boss: 先看一看", "trade_no": "CO1"}
        change(session, session.get_one(BulkRepair, identity), "paused", SYSTEM, "", NOW, **stopped)  # type: ignore[arg-type]
    text = operator.get(f"{PAGE}/{identity}").text
    assert "已暂停：紧急停止取消了这一笔" in text
    assert "boss 紧急停止：先看一看" in text
    assert "stopped by" not in text


def test_bulk_repairs_are_of_the_groups_a_person_may_see_and_viewers_change_nothing(
    app: Flask, group: SystemGroup
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        make_group(session, "PBMS")
    stranger = visitor_of(app, "zhao.liu", "operator", groups=["PBMS"])
    assert listed(stranger.get(PAGE).text) == []
    assert stranger.get(f"{PAGE}/{identity}").status_code == 404
    assert stranger.post(f"{PAGE}/{identity}/stop", {"reason": "x"}).status_code == 404
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert f"{PAGE}/{identity}/stop" not in viewer.get(f"{PAGE}/{identity}").text
    assert viewer.post(f"{PAGE}/{identity}/stop", {"reason": "x"}).status_code == 403
    assert stored(identity).state == "running"


def test_exceptions_tell_of_those_that_run(operator: Visitor, group: SystemGroup) -> None:
    plant(group)
    assert "批量修复 1 个" in operator.get("/exceptions").text


def test_exceptions_and_home_tell_of_those_that_are_paused(
    app: Flask, operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    text = operator.get("/exceptions").text
    assert 'class="state amber" href="/exceptions/bulk?state=paused"' in text
    assert "已暂停的批量 1 个" in text
    assert "批量修复 1 个" not in text
    urgent = operator.get("/home/urgent").text
    assert re.search(
        r'href="/exceptions/bulk\?state=paused"><span>[^<]+</span><span class="tag amber num">1<', urgent
    )
    with unit_of_work() as session:
        make_group(session, "PBMS")
    stranger = visitor_of(app, "zhao.liu", "operator", groups=["PBMS"])
    assert "已暂停的批量 1 个" not in stranger.get("/exceptions").text
    assert 'amber num">1<' not in stranger.get("/home/urgent").text


def test_what_a_bulk_repair_has_not_begun_is_told_before_it_is_repaired_by_another(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, 5)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    assert "其中 4 笔在还没有结束的批量修复中" in operator.get("/exceptions/repair?all=1").text
    operator.post(f"{PAGE}/{identity}/stop", {"reason": "不再需要"})
    assert "还没有结束的批量修复" not in operator.get("/exceptions/repair?all=1").text


def test_a_drawer_asks_again_for_what_it_shows(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    for query in ("", "?state=pending"):
        shown = operator.get(f"{PAGE}/{identity}{query}", target="drawer").text
        again = re.search(r'id="drawer-frame"[^>]* hx-get="([^"]+)"', shown)
        assert again is not None
        assert again.group(1) == f"{PAGE}/{identity}{query}"
        assert operator.get(again.group(1), target="drawer").status_code == 200


@pytest.mark.parametrize(
    ("change", "words", "english"),
    [
        ({"is_enabled": False}, "已暂停：li.na 已停用", "Paused: li.na is disabled"),
        (
            {"sees_all_groups": False},
            "已暂停：li.na 不再能操作这个系统组别",
            "Paused: li.na can no longer act in this group",
        ),
        ({"role": "viewer"}, "已暂停：li.na 不再有修复的权限", "Paused: li.na may no longer repair"),
    ],
)
def test_whose_person_may_repair_no_longer_says_why_and_another_goes_on(
    app: Flask, operator: Visitor, group: SystemGroup, change: dict[str, object], words: str, english: str
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        person = session.get_one(User, PERSON.id)
        for name, value in change.items():
            setattr(person, name, value)
        bulk_course.tend(session, identity, NOW)
    shown, dialog = operator.get(f"{PAGE}/{identity}").text, operator.get(f"{PAGE}/{identity}/resume").text
    assert words in shown
    assert words.removeprefix("已暂停：") in operator.get(PAGE).text
    for text in (shown, dialog):
        assert "由另一个人点击“继续”，之后以这个人的名义进行" in text
        assert "没有修好的一笔" not in text
    assert "以您的名义" in dialog
    auditor = visitor_of(app, "auditor", "operator", groups=["PBAP"])
    auditor.post("/locale", {"locale": "en"})
    assert english in auditor.get(f"{PAGE}/{identity}").text
    assert "in your name" in auditor.get(f"{PAGE}/{identity}/resume").text
    answer = auditor.send(f"{PAGE}/{identity}/resume", {"reason": "接手"}, target="dialog")
    assert (answer.status_code, stored(identity).state) == (204, "running")
    assert stored(identity).actor_name == "auditor"


def fail_what_is_under_way(bulk_id: int) -> None:
    with unit_of_work() as session:
        agent = session.scalars(db.select(Agent)).unique().one()
        for command in session.scalars(db.select(Command).where(Command.state == "pending")).all():
            hand_to(session, command, agent)
            results.record_result(session, agent, finished(command, "failed"), NOW)
        bulk_course.tend(session, bulk_id, NOW)


def trip_the_breaker(_bulk_id: int) -> None:
    with unit_of_work() as session:
        plan = session.scalars(db.select(Plan)).unique().one()
        figures = {"failed": 10, "attempts": 12, "threshold": 10}
        breakers.trip(session, breakers.subject_of_plan(plan), "failures", figures, NOW)


def go_on_and_fail(bulk_id: int) -> None:
    with unit_of_work() as session:
        bulk.resume(session, bulk_id, reason="继续", actor=PERSON, group_ids=None, now=NOW)
    fail_what_is_under_way(bulk_id)


@pytest.mark.parametrize(
    ("happens", "refused", "told"),
    [
        (fail_what_is_under_way, "又有交易没有修好", "<dt>没有修好</dt><dd>1 笔"),
        (go_on_and_fail, "因另一个原因暂停", "失败"),
        (trip_the_breaker, "限额或熔断有了变化", "已熔断"),
    ],
)
def test_it_goes_on_only_as_the_form_showed_it(
    operator: Visitor, group: SystemGroup, happens: Callable[[int], None], refused: str, told: str
) -> None:
    identity = plant(group)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    opened = operator.hidden(f"{PAGE}/{identity}/resume")
    happens(identity)
    # What it showed stays what was decided on, whatever is shown beside a wanting reason.
    wanting = operator.post(f"{PAGE}/{identity}/resume", {**opened, "reason": ""}, target="dialog")
    again = {**hidden_fields(wanting.text), "reason": "看完了"}
    answer = operator.post(f"{PAGE}/{identity}/resume", again, target="dialog")
    assert (answer.status_code, stored(identity).state) == (409, "paused")
    assert refused in answer.text
    assert told in answer.text
    seen = {**hidden_fields(answer.text), "reason": "看完了"}
    assert operator.post(f"{PAGE}/{identity}/resume", seen, target="dialog").status_code == 204
    assert stored(identity).state == "running"


def test_its_history_keeps_why_it_was_paused_and_who_began_it(
    app: Flask, operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        session.get_one(User, PERSON.id).is_enabled = False
        bulk_course.tend(session, identity, NOW)
    wang = visitor_of(app, "wang.qiang", "operator", groups=["PBAP"])
    wang.send(f"{PAGE}/{identity}/resume", {"reason": "接手"})
    with unit_of_work() as session:
        one = session.get_one(BulkRepair, identity)
        change(session, one, "paused", SYSTEM, "", NOW, code="needs_human", detail="insufficient balance")
    wang.send(f"{PAGE}/{identity}/resume", {"reason": "核查完毕"})
    text = wang.get(f"{PAGE}/{identity}").text
    head, history = text.split("drawer-head")[1].split("drawer-body")[0], text.split('class="timeline"')[1]
    assert "<span>li.na</span>" in head
    assert "wang.qiang" not in head
    for words in ("li.na 已停用", "此前以 li.na 的名义进行", ">待人工<"):
        assert words in history
    assert "以其名义" in text


def test_each_trade_tells_its_fixer_and_its_amount(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    row = operator.get(f"{PAGE}/{identity}").text.split('id="item-')[1]
    assert f'title="{FIXER}"' in row
    assert "¥100.00" in row


@pytest.mark.parametrize(
    ("chosen", "columns", "words", "english"),
    [
        (
            {},
            {"amount_minor": 10_001},
            "金额是 ¥100.00，之后变了",
            "Was ¥100.00 when chosen, and has changed",
        ),
        ({}, {"amount_minor": None}, "金额是 ¥100.00，之后读不出", "¥100.00 when chosen, and cannot be"),
        ({"amount_minor": None}, {}, "选择时读不出金额，之后读出来了", "could not be read when chosen"),
        ({"currency": ""}, {}, "选择时读不出金额，之后读出来了", "could not be read when chosen"),
        ({}, {"fixer_code": OTHER}, "选择时的修复是“", "has another fixer now"),
    ],
)
def test_a_trade_that_is_no_longer_what_was_chosen_says_so(
    app: Flask,
    operator: Visitor,
    group: SystemGroup,
    chosen: dict[str, object],
    columns: dict[str, object],
    words: str,
    english: str,
) -> None:
    identity = plant(group, 2)
    with unit_of_work() as session:
        make_plan(session, group, fixer_code=OTHER)
        first, second = session.scalars(db.select(BulkItem).order_by(BulkItem.id))
        first.state, first.stage = "done", 1
        for column, value in chosen.items():
            setattr(second, column, value)
        for column, value in columns.items():
            setattr(session.get_one(Anomaly, second.anomaly_id), column, value)
        session.flush()
        bulk_course.tend(session, identity, NOW)
    row = operator.get(f"{PAGE}/{identity}?state=skipped").text.split('id="item-')[1]
    assert words in row
    assert "请重新选择" in row
    operator.post("/locale", {"locale": "en"})
    row = operator.get(f"{PAGE}/{identity}?state=skipped").text.split('id="item-')[1]
    assert english in row


def test_what_waits_for_the_bank_is_not_told_as_gone_wrong(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        items = session.scalars(db.select(BulkItem).order_by(BulkItem.id)).all()
        for item, outcome in zip(items, ("wait", "unknown", "failed"), strict=True):
            item.state, item.stage, item.outcome = "failed", 1, outcome
        bulk_course.tend(session, identity, NOW)
    text = operator.get(f"{PAGE}/{identity}").text
    for words in ("已结束，有 1 笔没有修好", "等待银行 2", "没有修好 1", "等待银行 <span"):
        assert words in text
    shown = operator.get(f"{PAGE}/{identity}?state=waiting").text
    assert shown.count('id="item-') == 2
    assert "没有修好</span>" not in shown.split('id="item-', 1)[1]
    listed_row = operator.get(PAGE, target=TABLE).text
    assert '<b class="red">1</b><br><small><span class="amber">等待银行 2</span>' in listed_row


def test_skipped_trades_are_told_with_their_amount_where_it_ended(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, 4)
    with unit_of_work() as session:
        items = session.scalars(db.select(BulkItem).order_by(BulkItem.id)).all()
        ends = (("done", ""), ("skipped", "trade_busy"), ("skipped", "no_plan"), ("skipped", "closed"))
        for item, (state, outcome) in zip(items, ends, strict=True):
            item.state, item.stage, item.outcome = state, 1, outcome
        bulk_course.tend(session, identity, NOW)
    text = operator.get(f"{PAGE}/{identity}").text
    said = text.split("已结束，1 笔修好，2 笔跳过、仍需修复")[1].split("</p>")[0]
    assert "¥200.00" in said
    assert "¥400.00" in text
    row = operator.get(PAGE, target=TABLE).text
    assert 'data-label="跳过"><b class="amber">3</b>' in row
    assert "¥400.00" in row


def end_items(bulk_id: int, *ends: tuple[str, str, str, int]) -> None:
    """End the trades of a bulk repair, each as its state, outcome, currency and amount say."""
    with unit_of_work() as session:
        items = session.scalars(db.select(BulkItem).order_by(BulkItem.id)).all()
        for item, (state, outcome, currency, amount) in zip(items, ends, strict=True):
            item.state, item.stage, item.outcome = state, 1, outcome
            item.currency, item.amount_minor = currency, amount
        bulk_course.tend(session, bulk_id, NOW)


def sums_shown(visitor: Visitor, bulk_id: int) -> list[str]:
    """What a page says beside 金额合计: the total, then its parts."""
    cell = visitor.get(f"{PAGE}/{bulk_id}").text.split("<dt>金额合计</dt><dd>")[1].split("</dd>")[0]
    return [" ".join(re.sub(r"<[^>]+>", "", line).split()) for line in cell.split("<br>")]


def test_the_sums_of_repaired_waiting_and_skipped_trades_add_up(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, 7)
    end_items(
        identity,
        ("done", "", "CNY", 10_000),
        ("done", "", "USD", 700),
        ("failed", "unknown", "CNY", 2_000),
        ("failed", "failed", "CNY", 300),
        ("skipped", "already_consistent", "CNY", 40),
        ("skipped", "closed", "CNY", 2),
        ("skipped", "trade_busy", "CNY", 8),
    )
    assert sums_shown(operator, identity) == [
        "¥123.50",
        "USD 7.00",
        "已修好 ¥100.00 + USD 7.00",
        "等待银行 ¥20.00",
        "没有修好 ¥3.00",
        "已跳过 ¥0.50（其中 1 笔仍需修复，¥0.08）",
    ]


def test_trades_skipped_since_nothing_was_left_to_repair_are_told_with_their_amount(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, 2)
    end_items(identity, ("done", "", "CNY", 10_000), ("skipped", "already_consistent", "CNY", 40))
    assert sums_shown(operator, identity)[-1] == "已跳过 ¥0.40（都已无需修复）"
    operator.post("/locale", {"locale": "en"})
    assert "Skipped ¥0.40 (nothing left to repair)" in " ".join(
        re.sub(r"<[^>]+>", "", operator.get(f"{PAGE}/{identity}").text).split()
    )


def test_trades_under_way_can_be_looked_at_alone(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    text = operator.get(f"{PAGE}/{identity}").text
    assert f'href="{PAGE}/{identity}?state=repairing"' in text
    assert operator.get(f"{PAGE}/{identity}?state=repairing").text.count('id="item-') == 1


def test_no_stage_is_told_as_going_on_after_the_end(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    assert 'class="here"' in operator.get(f"{PAGE}/{identity}").text
    operator.post(f"{PAGE}/{identity}/stop", {"reason": "范围选错了"})
    text = operator.get(f"{PAGE}/{identity}").text
    assert 'class="here"' not in text
    assert "aria-current" not in text.split("bulk-stages")[1].split("</ol>")[0]


def test_where_all_have_begun_no_pause_is_offered_and_none_is_told(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        for item in session.scalars(db.select(BulkItem).where(BulkItem.state == "pending")):
            item.state, item.stage = "verifying", 1
        bulk_course.tend(session, identity, NOW)
    text = operator.get(f"{PAGE}/{identity}").text
    assert "全部交易已经开始" in text
    assert f"{PAGE}/{identity}/pause" not in text
    answer = operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"}, target="dialog")
    assert (answer.status_code, stored(identity).state) == (409, "running")
    assert "没有可以暂停或停止的" in answer.text


def test_a_paused_one_tells_what_is_still_under_way(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    text = operator.get(f"{PAGE}/{identity}").text
    assert "进行中的 1 笔会自己结束" in text
    assert "接着修复没有开始的交易" in text


def test_going_on_tells_the_amount_of_what_has_not_begun(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, 4)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    dialog = operator.get(f"{PAGE}/{identity}/resume").text
    assert "<dt>未开始</dt><dd>3 笔</dd>" in dialog
    assert '<dt>未开始的金额</dt><dd><span class="num">¥300.00</span></dd>' in dialog


def test_going_on_tells_of_a_stop_and_is_disabled_where_it_holds_all(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    operator.post(f"{PAGE}/{identity}/pause", {"reason": "先看一看"})
    url, disabled = f"{PAGE}/{identity}/resume", 'type="submit" disabled'
    assert disabled not in operator.get(url).text
    with unit_of_work() as session:
        stops.set_stop(session, Target(), reason="对账中", actor=PERSON, group_ids=None, now=NOW)
    dialog = operator.get(url).text
    assert "已紧急停止全部修复：对账中。解除之后才能执行。" in dialog
    assert disabled in dialog
