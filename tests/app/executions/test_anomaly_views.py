"""Anomalies as pages: the list and its filters, the CSV, one anomaly, and what a person does with it."""

import csv
import io
import re
from datetime import timedelta

import msgspec
import pytest
from flask import Flask
from markupsafe import Markup

from app.agents import stops
from app.agents.models import Agent, Command
from app.agents.stops import Target
from app.anomalies.models import Anomaly, AnomalyEvent
from app.audit.models import AuditEntry
from app.executions import results
from app.executions.models import Attempt, Step
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import change, unpaid_facts
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    facts_of,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    row_of,
)

TABLE = "anomalies-table"
OTHER_FIXER = "withdrawOkFixServiceImpl"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    with unit_of_work() as session:
        group = make_group(session)
        make_group(session, "PBMS", trade_table="TPBMS_TRD_ACC_TRADE")
        make_agent(session, group, name="pbap-1")
        make_plan(session, group, max_retries=5)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(group: SystemGroup, **columns: object) -> int:
    with unit_of_work() as session:
        return make_anomaly(session, group, **columns).id


def plant_elsewhere(**columns: object) -> int:
    with unit_of_work() as session:
        return make_anomaly(session, other_group(session), **columns).id


def other_group(session: WorkSession) -> SystemGroup:
    return session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBMS")).one()


def read(anomaly_id: int) -> Anomaly:
    db.session.expire_all()
    return db.session.get_one(Anomaly, anomaly_id)


def trades(text: str) -> list[str]:
    return re.findall(r'class="row-link mono"[^>]*>([^<]+)<', text)


def test_a_row_without_a_trade_number_still_has_a_link(operator: Visitor, group: SystemGroup) -> None:
    plant(group, trade_no="")
    text = operator.get("/anomalies", target=TABLE).text
    assert trades(text) == ["（空）"]
    assert "data-copy" not in text


def test_a_list_says_how_a_repair_ended_and_nothing_beside(operator: Visitor, group: SystemGroup) -> None:
    plant(group, state="repaired", resolution="success")
    rows = operator.get("/anomalies", target=TABLE).text.partition("<tbody>")[2]
    assert "修复为成功" in rows
    assert "已修复" not in rows


def test_a_row_without_a_number_is_looked_up_by_its_id(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, trade_no="TRD_ID 7", trade_id=7, row=row_of("", 7) | {"TRD_NUM": None})
    text = operator.get(f"/anomalies/{identity}").text
    statement = Markup(text.partition('id="anomaly-sql"')[2].partition("</pre>")[0]).striptags()
    assert statement.endswith("FROM TPBAP_TRD_ACC_TRADE WHERE TRD_ID=7;")


def test_anomalies_are_for_people_logged_in(app: Flask, group: SystemGroup) -> None:
    identity = plant(group)
    stranger = Visitor(app)
    for url in (
        "/anomalies",
        "/anomalies/export.csv",
        f"/anomalies/{identity}",
        f"/anomalies/{identity}/repair",
    ):
        assert "/login" in stranger.get(url).headers["Location"]


def test_only_groups_a_person_may_see_are_shown(operator: Visitor, group: SystemGroup) -> None:
    plant(group, trade_no="CO-OURS")
    theirs = plant_elsewhere(trade_no="CO-THEIRS")
    assert trades(operator.get("/anomalies").text) == ["CO-OURS"]
    assert "CO-THEIRS" not in operator.get("/anomalies/export.csv").text
    assert operator.get(f"/anomalies/{theirs}").status_code == 404
    assert operator.get(f"/anomalies/{theirs}/ignore").status_code == 404
    assert operator.post(f"/anomalies/{theirs}/ignore", {"reason": "x"}).status_code == 404
    assert operator.get("/anomalies?group=PBMS").status_code == 400
    assert read(theirs).state == "open"


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        ("", ["3", "1"]),
        ("group=PBMS", ["1", "0"]),
        ("group=PBMS&state=open", ["1", "0"]),
        ("group=PBMS&kind=withdraw", []),
        ("trade_no=CO", []),
    ],
)
def test_states_are_counted_as_their_lists_are_narrowed_or_not_at_all(
    app: Flask, group: SystemGroup, asked: str, counts: list[str]
) -> None:
    for state in ("open", "open", "needs_human"):
        plant(group, state=state)
    plant_elsewhere(state="open")
    page = visitor_of(app, "boss", "admin").get(f"/anomalies?{asked}", target="anomalies-table").text
    found = dict(re.findall(r'state=(\w+)"[^>]*>[^<]*<em class="num">([\d,]+)<', page))
    assert [found[state] for state in ("open", "needs_human") if state in found] == counts


def test_the_fragment_is_the_part_of_the_page(operator: Visitor, group: SystemGroup) -> None:
    plant(group)
    page, fragment = operator.get("/anomalies").text, operator.get("/anomalies", target=TABLE).text
    assert fragment.lstrip().startswith(f'<div id="{TABLE}"')
    assert fragment.strip() in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=waiting", ["WD1"]),
        ("state=open&state=waiting", ["WD1", "CO1"]),
        ("kind=withdraw", ["WD1"]),
        (f"fixer={FIXER}", ["CO1"]),
        ("trade_no=CO", ["CO2", "CO1"]),
        ("cause=malformed", ["CO2"]),
        ("outcome=human", ["CO2"]),
        ("amount_from=90.50&amount_to=1,000", ["CO1"]),
        ("start=2026-03-02T21:00", ["CO2"]),
        ("end=2026-03-02T21:00", ["WD1", "CO1"]),
        ("plan=none", ["CO2", "WD1"]),
        ("plan=auto", ["CO1"]),
        ("plan=manual", []),
        ("level=3", ["CO1"]),
        ("level=0", []),
        ("run=%237", ["CO1"]),
        ("group=PBAP", ["CO2", "WD1", "CO1"]),
        ("sort=amount&by=asc", ["WD1", "CO1", "CO2"]),
    ],
)
def test_the_list_narrows_and_sorts(
    operator: Visitor, group: SystemGroup, query: str, found: list[str]
) -> None:
    plant(group, trade_no="CO1", amount_minor=9_050, last_run_id=7)
    plant(group, trade_no="WD1", amount_minor=900, kind="withdraw", state="waiting", fixer_code="otherFixer")
    later = NOW + timedelta(hours=2)
    bad = {"fixer_code": None, "outcome": "human", "state": "needs_human", "reason": "malformed"}
    plant(group, trade_no="CO2", amount_minor=900_000, first_seen_at=later, **bad)
    assert trades(operator.get(f"/anomalies?{query}", target=TABLE).text) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("amount_from=many", "amount_from"),
        ("amount_to=1.234", "amount_to"),
        ("start=yesterday", "start"),
        ("run=last", "run"),
        ("state=broken", "state"),
        ("group=NOPE", "group"),
        ("level=9", "level"),
    ],
)
def test_a_wrong_filter_is_told_at_its_field(
    operator: Visitor, group: SystemGroup, query: str, field: str
) -> None:
    plant(group)
    answer = operator.get(f"/anomalies?{query}")
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert operator.get(f"/anomalies/export.csv?{query}").status_code == 302


def test_an_unknown_sort_and_a_bad_cursor_are_refused(operator: Visitor, group: SystemGroup) -> None:
    assert operator.get("/anomalies?sort=colour").status_code == 400
    assert operator.get("/anomalies?after=nowhere").status_code == 400


def test_an_empty_list_says_what_to_do_next(operator: Visitor, group: SystemGroup) -> None:
    assert "/collections/new" in operator.get("/anomalies").text
    assert "没有符合条件的异常" in operator.get("/anomalies?state=open").text


def test_the_csv_holds_every_row_of_the_filter_and_no_formula(operator: Visitor, group: SystemGroup) -> None:
    trap = '=HYPERLINK("http://x")'
    plant(group, trade_no="CO1", amount_minor=-123_456, row=row_of("CO1", 1) | {"FAILED_MSG": "@SUM(1)"})
    plant(group, trade_no=trap, channel="+1", state="needs_human")
    plant(group, trade_no="CO2", state="healed")
    answer = operator.get("/anomalies/export.csv?state=open&state=needs_human")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [row["交易号"] for row in rows] == ["'" + trap, "CO1"]
    assert (rows[1]["金额（元）"], rows[1]["FAILED_MSG"], rows[0]["渠道"]) == ("-1234.56", "'@SUM(1)", "+1")


def test_an_anomaly_is_shown_with_its_evidence(operator: Visitor, group: SystemGroup) -> None:
    row = row_of("CO'1", 1)
    after = row | {"ACC_TRD_STATUS": 1, "FAILED_MSG": "充值成功修复"}
    facts = msgspec.to_builtins(facts_of("CO'1"))
    identity = plant(group, trade_no="CO'1", row=row, after=after, facts=facts)
    text = operator.get(f"/anomalies/{identity}").text
    statement = Markup(text.partition('id="anomaly-sql"')[2].partition("</pre>")[0]).striptags()
    assert statement.endswith("FROM TPBAP_TRD_ACC_TRADE WHERE TRD_NUM='CO''1';")
    assert "<ins>充值成功修复</ins>" in text
    assert "<ins>记账时分配</ins>" in text
    assert "银行成功" in text


def test_a_row_that_makes_no_sense_is_shown_without_facts(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(
        group, fixer_code=None, kind=None, amount_minor=None, state="needs_human", reason="out_of_range"
    )
    text = operator.get(f"/anomalies/{identity}").text
    assert "越界" in text
    assert "没有查询：这一行数据不合法。" in text
    assert f"/anomalies/{identity}/repair" not in text
    assert f"/anomalies/{identity}/verify" in text


def test_the_drawer_shows_what_the_page_shows(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    drawer = operator.get(f"/anomalies/{identity}", target="drawer").text
    assert drawer.lstrip().startswith('<div class="drawer-frame"')
    assert "<html" not in drawer
    assert "三方核对" in drawer


def test_the_history_leads_to_executions_and_conversations(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"})
    attempt = db.session.scalars(db.select(Attempt)).unique().one()
    text = operator.get(f"/anomalies/{identity}").text
    assert f'href="/executions/{attempt.execution_id}"' in text
    assert "客户来电" in text
    assert "第 1 次执行进行中" in text


def test_a_repair_by_click_commands_one_attempt(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    answer = operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"})
    assert answer.location == f"/anomalies/{identity}"
    attempt = db.session.scalars(db.select(Attempt)).unique().one()
    assert (attempt.trigger, attempt.actor_name, attempt.reason) == ("click", "li.na", "客户来电")
    assert db.session.scalars(db.select(Command.type)).all() == ["Repair"]
    assert read(identity).state == "repairing"


def test_htmx_gets_a_toast_and_a_closed_dialog(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    answer = operator.send(f"/anomalies/{identity}/ignore", {"reason": "已手工处理"}, target="dialog")
    assert answer.status_code == 204
    assert "closeDialog" in answer.headers["HX-Trigger"]


def test_a_retry_is_one_further_attempt_whatever_the_count(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, state="needs_human", failed_attempts=6, attempts=6)
    assert operator.send(f"/anomalies/{identity}/retry", {"reason": "银行已恢复"}).status_code == 303
    attempt = db.session.scalars(db.select(Attempt)).unique().one()
    assert (attempt.number, read(identity).state) == (7, "repairing")


def test_what_waits_for_a_person_is_verified_first_and_retried_second(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, state="needs_human")
    for page in (operator.get(f"/anomalies/{identity}").text, operator.get("/exceptions?tab=human").text):
        styles = {
            action: page.split(f'href="/anomalies/{identity}/{action}"')[0].rsplit('class="', 1)[1]
            for action in ("verify", "retry")
        }
        assert "primary" in styles["verify"]
        assert "primary" not in styles["retry"]


def test_a_verification_reads_only(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, state="needs_human")
    assert operator.post(f"/anomalies/{identity}/verify", {"reason": "已冲正"}).status_code == 303
    assert db.session.scalars(db.select(Command.type)).all() == ["Verify"]
    event = db.session.scalars(db.select(AnomalyEvent)).one()
    assert (event.code, event.reason, read(identity).state) == ("verify_ordered", "已冲正", "needs_human")
    assert "正在核实" in operator.get(f"/anomalies/{identity}").text


def test_ignoring_closes_for_a_reason_and_is_audited(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    assert operator.send(f"/anomalies/{identity}/ignore", {"reason": "测试交易"}).status_code == 303
    assert read(identity).state == "ignored"
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "anomaly.ignore")).one()
    assert (entry.reason, entry.actor_name) == ("测试交易", "li.na")


UNPAID = unpaid_facts("TX20260301000099", amount=500_000)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "needs_human", "has_moved_money": True, "facts": msgspec.to_builtins(UNPAID)},
        {"facts": msgspec.to_builtins(UNPAID)},
        {"state": "needs_human"},
        {"reason": "mismatch"},
        {"row_hash": "hash-2"},
        {"amount_minor": 500_001},
        {"currency": "USD"},
    ],
)
def test_nobody_ignores_what_their_form_did_not_show(
    operator: Visitor, group: SystemGroup, columns: dict[str, object]
) -> None:
    waiting = {"kind": "withdraw", "amount_minor": 500_000, "state": "waiting", "row_hash": "hash-1"}
    identity = plant(group, trade_no=UNPAID.trade_no, **waiting)
    url = f"/anomalies/{identity}/ignore"
    opened = operator.hidden(url)
    change(identity, **columns)
    answer = operator.post(url, {**opened, "reason": "重复"}, target="dialog")
    assert (answer.status_code, read(identity).closed_at) == (409, None)
    assert f"没有执行：您打开之后，交易 {UNPAID.trade_no} 有了变化" in answer.text
    assert "重复" in answer.text
    assert ("客户已扣款、未付出" in answer.text) is ("facts" in columns)
    assert operator.post(url, {**hidden_fields(answer.text), "reason": "已退款"}).status_code == 303
    assert read(identity).state == "ignored"


def test_nobody_ignores_without_a_form_and_one_more_reading_changes_none(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, kind="withdraw", facts=msgspec.to_builtins(UNPAID))
    url = f"/anomalies/{identity}/ignore"
    assert operator.post(url, {"reason": "sent by no form"}).status_code == 409
    opened = operator.hidden(url)
    again = msgspec.structs.replace(UNPAID, read_at="2026-03-02T05:00:00Z")
    change(identity, facts=msgspec.to_builtins(again), last_seen_at=NOW + timedelta(hours=1), times_seen=7)
    assert operator.post(url, {**opened, "reason": "已退款"}).status_code == 303


@pytest.mark.parametrize("action", ["repair", "retry"])
@pytest.mark.parametrize("columns", [{"amount_minor": 99_900}, {"fixer_code": OTHER_FIXER}])
def test_nobody_repairs_what_their_form_did_not_show(
    operator: Visitor, group: SystemGroup, action: str, columns: dict[str, object]
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        make_plan(session, session.merge(group), fixer_code=OTHER_FIXER)
    url = f"/anomalies/{identity}/{action}"
    opened = operator.hidden(url)
    change(identity, **columns)
    answer = operator.post(url, {**opened, "reason": "客户来电"}, target="dialog")
    assert (answer.status_code, read(identity).state) == (409, "open")
    assert "没有执行：您打开之后" in answer.text
    assert operator.post(url, {**hidden_fields(answer.text), "reason": "已核对"}).status_code == 303
    assert read(identity).state == "repairing"


@pytest.mark.parametrize("action", ["repair", "retry"])
def test_a_form_that_is_sent_twice_makes_one_attempt_though_that_has_failed_meanwhile(
    operator: Visitor, group: SystemGroup, action: str
) -> None:
    identity = plant(group, trade_no="CO-TWICE", facts=msgspec.to_builtins(facts_of("CO-TWICE")))
    url = f"/anomalies/{identity}/{action}"
    sent = {**operator.hidden(url), "reason": "客户来电"}
    assert operator.post(url, sent).status_code == 303
    with unit_of_work() as session:
        agent, command = session.scalars(db.select(Agent)).one(), session.scalars(db.select(Command)).one()
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, "failed", row_hash="hash-1"), NOW)
    answer = operator.post(url, sent, target="dialog")
    assert (answer.status_code, read(identity).state, read(identity).attempts) == (409, "open", 1)


def test_a_running_repair_is_cancelled_before_money_moves(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"})
    assert "至今没有收到资金移动的记录，可以取消" in operator.get(f"/anomalies/{identity}/cancel").text
    assert operator.post(f"/anomalies/{identity}/cancel", {"reason": "点错了"}).status_code == 303
    assert db.session.scalars(db.select(Attempt.outcome)).all() == ["cancelled"]
    assert read(identity).state == "open"


def test_a_repair_that_moves_money_says_that_it_cannot_be_cancelled(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group)
    operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"})
    with unit_of_work() as session:
        attempt = session.scalars(db.select(Attempt)).unique().one()
        session.add(
            Step(
                attempt_id=attempt.id,
                seq=1,
                name="pay",
                key="PCL:PBAP:T:pay",
                state="intended",
                moves_money=True,
                started_at=NOW,
            )
        )
    page = operator.get(f"/anomalies/{identity}").text
    assert "资金已经移动，不能取消" in page
    assert f"/anomalies/{identity}/cancel" not in page
    answer = operator.post(f"/anomalies/{identity}/cancel", {"reason": "点错了"})
    assert answer.status_code == 409
    assert "资金已经移动" in answer.text
    assert db.session.scalars(db.select(Attempt.outcome)).all() == [None]


@pytest.mark.parametrize("action", ["repair", "retry"])
def test_a_dialog_tells_of_a_stop_before_a_reason_is_typed(
    operator: Visitor, group: SystemGroup, action: str
) -> None:
    identity = plant(group)
    with unit_of_work() as session:
        target = Target(group_id=group.id)
        stops.set_stop(session, target, reason="对账中", actor=PERSON, group_ids=None, now=NOW)
    told = "已紧急停止系统组别 PBAP：对账中。解除之后才能执行。"
    assert told in operator.get(f"/anomalies/{identity}/{action}", target="dialog").text
    assert told in operator.send(f"/anomalies/{identity}/{action}", {"reason": "客户来电"}).text
    assert told not in operator.get(f"/anomalies/{identity}/verify", target="dialog").text


@pytest.mark.parametrize("action", ["repair", "retry", "verify", "ignore", "cancel"])
@pytest.mark.parametrize("reason", ["", "   ", "长" * 501])
def test_every_action_wants_a_reason_and_keeps_what_was_typed(
    operator: Visitor, group: SystemGroup, action: str, reason: str
) -> None:
    identity = plant(group)
    if action == "cancel":
        operator.send(f"/anomalies/{identity}/repair", {"reason": "客户来电"})
    before = read(identity).state
    answer = operator.send(f"/anomalies/{identity}/{action}", {"reason": reason})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert reason.strip() in answer.text
    assert read(identity).state == before


@pytest.mark.parametrize(
    ("columns", "action", "words"),
    [
        ({"state": "needs_human"}, "repair", "待人工核查"),
        ({"state": "repaired"}, "retry", "已经结束"),
        ({"state": "healed"}, "ignore", "状态不允许"),
        ({"state": "waiting", "has_moved_money": True}, "ignore", "已经移动资金"),
        ({"fixer_code": "otherFixer"}, "repair", "没有匹配的方案"),
        ({"fixer_code": None}, "retry", "没有修复代号"),
        ({}, "cancel", "命令已经结束"),
    ],
)
def test_what_the_state_forbids_is_refused_in_words(
    operator: Visitor, group: SystemGroup, columns: dict[str, object], action: str, words: str
) -> None:
    identity = plant(group, **columns)
    answer = operator.send(f"/anomalies/{identity}/{action}", {"reason": "试一下"})
    assert answer.status_code == 409
    assert words in answer.text
    assert "试一下" in answer.text
    assert db.session.scalars(db.select(Command)).all() == []


def test_what_is_under_way_with_money_is_not_offered_to_be_ignored(
    operator: Visitor, group: SystemGroup
) -> None:
    moving = plant(group, state="waiting", has_moved_money=True)
    handed = plant(group, state="needs_human", has_moved_money=True)
    assert f"/anomalies/{moving}/ignore" not in operator.get(f"/anomalies/{moving}").text
    assert f"/anomalies/{handed}/ignore" in operator.get(f"/anomalies/{handed}").text


def test_a_viewer_looks_and_changes_nothing(app: Flask, operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group)
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert f"/anomalies/{identity}/repair" not in viewer.get(f"/anomalies/{identity}").text
    assert viewer.get(f"/anomalies/{identity}/repair").status_code == 403
    assert viewer.post(f"/anomalies/{identity}/repair", {"reason": "x"}).status_code == 403
    assert read(identity).state == "open"


def test_a_plan_in_force_is_named_and_a_missing_one_offered(operator: Visitor, group: SystemGroup) -> None:
    covered, bare = plant(group), plant(group, fixer_code="interWithdrawFixServiceImpl")
    assert "/plans/new" not in operator.get(f"/anomalies/{covered}").text
    assert "/plans/new?group=PBAP&amp;fixer=interWithdrawFixServiceImpl" in (
        operator.get(f"/anomalies/{bare}").text
    )


def test_a_person_is_told_that_no_agent_is_there(app: Flask, operator: Visitor) -> None:
    identity = plant_elsewhere()
    with unit_of_work() as session:
        make_plan(session, other_group(session))
    admin = visitor_of(app, "root", "admin")
    assert "没有在线客户端支持该修复代号" in admin.get(f"/anomalies/{identity}/repair").text


def test_a_long_history_is_read_part_by_part(operator: Visitor, group: SystemGroup) -> None:
    anomaly_id = plant(group)
    with unit_of_work() as session:
        told = {"at": NOW, "to_state": "open", "code": "seen", "actor_name": "piculus"}
        for number in range(130):
            session.add(AnomalyEvent(anomaly_id=anomaly_id, reason=f"reason-{number:03d}", **told))
    first = operator.get(f"/anomalies/{anomaly_id}").text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = operator.get(following[1]).text
    assert re.findall(r"reason-(\d{3})", first) == [f"{number:03d}" for number in range(129, 29, -1)]
    assert re.findall(r"reason-(\d{3})", second) == [f"{number:03d}" for number in range(29, -1, -1)]
    assert 'rel="next"' not in second
